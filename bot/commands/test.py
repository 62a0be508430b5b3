"""`kefu test`: as `rasa test`, with its report files. Thin: `bot.testing` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bot.commands.console import chosen_folder, out, progress_bar


def run_test(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Assistant folder, as for the other commands."),
    ] = None,
    only: Annotated[
        Literal["all", "stories", "nlu", "conversations"],
        typer.Option(help="Run a part alone: test stories, labelled messages, or tests/conversations.yml."),
    ] = "all",
    stories: Annotated[
        Path | None, typer.Option(help="Test stories: a file, or a folder with test_*.yml. Default: DIR/tests.")
    ] = None,
    nlu: Annotated[
        Path | None,
        typer.Option(help="Labelled messages: a file or folder. Default: those in DIR/tests, else the training data."),
    ] = None,
    results: Annotated[Path, typer.Option("--out", help="Folder for the reports.")] = Path("results"),
    cross_validation: Annotated[
        bool, typer.Option("--cross-validation", help="Train and test on parts of the training data instead.")
    ] = False,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")] = 5,
    successes: Annotated[bool, typer.Option("--successes", help="Write what was right, too.")] = False,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Draw no pictures.")] = False,
    fail_on_prediction_errors: Annotated[
        bool,
        typer.Option("--fail-on-prediction-errors", help="Exit with 1 where a story or conversation went another way."),
    ] = False,
) -> None:
    """Test the version that serves on Rasa test stories, labelled messages and test conversations."""
    from bot.settings import load_settings
    from bot.testing.run import TestPlan, run_tests
    from bot.testing.view import outcome_view

    settings = load_settings()
    plan = TestPlan(
        out=results,
        parts=frozenset({"nlu", "stories", "conversations"} if only == "all" else {only}),
        stories=stories.expanduser().absolute() if stories else None,
        nlu=nlu.expanduser().absolute() if nlu else None,
        folds=folds if cross_validation else None,
        successes=successes,
        pictures=not no_plot,
    )
    with progress_bar() as progress:
        outcome = run_tests(settings, chosen_folder(settings, folder), plan, progress)
    for part in outcome_view(outcome):
        out.print(part, soft_wrap=True, highlight=False)
    if fail_on_prediction_errors and outcome.has_failed:
        raise typer.Exit(1)
