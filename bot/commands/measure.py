"""`kefu evaluate` and `kefu explain`: how good the models are, and why they say what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bot.commands.console import Folder, ModelFolder, chosen_folder, err, out, progress_bar
from bot.errors import KefuError
from bot.settings import environment, load_settings


def evaluate(
    folder: Folder = None,
    task: Annotated[str, typer.Option(help="What is measured on files: intent or sentiment.")] = "intent",
    train_file: Annotated[
        Path | None, typer.Option("--train", help="csv, tsv, jsonl, Rasa NLU yml, or CLINC's json with all splits.")
    ] = None,
    test_file: Annotated[Path | None, typer.Option("--test", help="Test file, read once.")] = None,
    oos: Annotated[Path | None, typer.Option("--oos", help="Out-of-scope messages, for the AUROC.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: hub id, folder or known name.")] = None,
    recipe: Annotated[str, typer.Option(help="Training recipe.")] = "quick",
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help="Seeds of splits and fits: 0,1,2.")] = "0",
    shots: Annotated[int | None, typer.Option(help="Learn from so many examples of each label.", min=2)] = None,
    draws: Annotated[int, typer.Option(help="Draw them so many times.", min=1)] = 3,
    folds: Annotated[int | None, typer.Option(help="Cross-validate the training file.", min=2)] = None,
    baseline: Annotated[str | None, typer.Option(help="tfidf: character n-grams alone beside, as the floor.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write everything here too.")] = None,
) -> None:
    """Measure: the serving model on the assistant's own tests, or (--train) a recipe on any data set."""
    if train_file is None and (test_file or oos or shots or folds or baseline):
        raise KefuError(
            "--test, --oos, --shots, --folds and --baseline belong to --train FILE; without it, the serving model is "
            "tested on the assistant's own files"
        )
    if task not in ("intent", "sentiment"):
        raise KefuError(f"--task {task}: intent or sentiment can be measured")
    if baseline not in (None, "tfidf"):
        raise KefuError(f"--baseline {baseline}: only tfidf is there")
    if not all(part.strip().isdecimal() for part in seeds.split(",")):
        raise KefuError(f"--seeds {seeds}: whole numbers joined by commas, such as 0,1,2")
    from bot import evaluation

    settings = load_settings()
    if train_file is None:
        from bot.assistant.loader import load_assistant

        assistant = load_assistant(chosen_folder(settings, folder), environment())
        with progress_bar() as progress:
            report = evaluation.evaluate_assistant(settings, assistant, progress=progress, console=out)
        shown, found = evaluation.assistant_tables(report), report.as_json()
    else:
        from training.experiment import Plan

        plan = Plan(
            task="sentiment" if task == "sentiment" else "intent",
            seeds=tuple(int(part) for part in seeds.split(",")),
            shots=shots,
            draws=draws,
            folds=folds,
            baseline=baseline is not None,
        )
        with progress_bar() as progress:
            experiment = evaluation.evaluate_files(
                settings,
                train_file,
                test_file,
                oos=oos,
                base=base or evaluation.BASE,
                recipe=recipe,
                plan=plan,
                progress=progress,
            )
        shown, found = evaluation.experiment_tables(experiment), experiment.as_json()
    for part in shown:
        out.print(part)
    if json_out:
        evaluation.write_json(json_out, found)


def explain(
    text: Annotated[str, typer.Argument(help="What a customer wrote.")],
    folder: ModelFolder = None,
    sentiment: Annotated[bool, typer.Option("--sentiment", help="Explain the mood too.")] = False,
    method: Annotated[
        str, typer.Option(help="occlusion (words left out, quick) or gradients (needs kefu[train]).")
    ] = "occlusion",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write it as a web page too.")] = None,
) -> None:
    """Show which words drove the serving model's answer, and why the assistant acts on it or falls back."""
    if method not in ("occlusion", "gradients"):
        raise KefuError(f"--method {method}: occlusion or gradients")
    if not text.strip():
        raise KefuError('nothing to explain: give a message, such as kefu explain "where is my order?"')
    from bot import explaining
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    assistant = load_assistant(chosen_folder(settings, folder), environment())
    explanation = explaining.explain(
        settings,
        assistant,
        text,
        method="gradients" if method == "gradients" else "occlusion",
        sentiment=sentiment,
    )
    if as_json:
        import json

        typer.echo(json.dumps(explanation.as_json(), ensure_ascii=False, indent=1))
    else:
        out.print(explaining.explanation_view(explanation))
    if page:
        explaining.write_page(explanation, page)
        err.print(Text(f"wrote {page}"), soft_wrap=True)
