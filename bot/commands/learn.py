"""`kefu train`, `kefu retrain` and `kefu review …`: the learning loop. Thin: `bot.learning` does the work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from bot.commands.console import Folder, ModelFolder, chosen_folder, err, good, out, progress_bar, with_database
from bot.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.storage.predictions import LabelledText

review = typer.Typer(help="Look at what the bot was unsure of, and teach it.", no_args_is_help=True)


def train(
    folder: Folder = None,
    force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Base model: hub id, folder or known name; default: kefu.yml.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="quick (seconds), full (minutes, better), small (as full, faster to serve), few-shot or lora. "
            "Default: kefu.yml."
        ),
    ] = None,
) -> None:
    """Train from the files and the labels reviewed so far; serve the result if it is not worse than today's."""
    from bot import learning
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    with progress_bar() as progress:
        assistant = load_assistant(chosen_folder(settings, folder), environment(), progress)
        labels = _labels(settings, assistant)
        outcome = learning.train(
            settings, assistant, labels=labels, force=force, base=base, recipe=recipe, progress=progress, console=out
        )
    _print_outcome(outcome)


def _labels(settings: Settings, assistant: Assistant) -> Sequence[LabelledText]:
    """The reviewed labels, so that `train` never unlearns what `retrain` learned; none before there is a database."""
    from bot.storage import predictions
    from bot.storage.database import Database

    db = Database.open(settings.database)
    if db.dialect == "sqlite" and not Path(db.place).exists():
        db.dispose()
        return []

    async def read() -> Sequence[LabelledText]:
        try:
            await asyncio.to_thread(db.upgrade)
            return await db.read(lambda c: predictions.labels(c, assistant.assistant_id))
        finally:
            await db.close()

    return asyncio.run(read())


def _print_outcome(outcome: Any) -> None:
    if outcome.skipped:
        out.print(
            f"nothing changed since version [bold]{outcome.version}[/]; it keeps serving (train anyway: --force)",
            highlight=False,
        )
    elif outcome.promoted:
        good(f"version {outcome.version} serves now")
    else:
        kept = (f"version {outcome.version} is kept but does not serve", "bold yellow")
        remedy = f"\n  serve it all the same: kefu models promote {outcome.version}"
        out.print(Text.assemble(kept, f": {outcome.reason}{remedy}"), soft_wrap=True)


@review.command("export")
def review_export(
    folder: Folder = None,
    file: Annotated[Path | None, typer.Option("--out", help="JSONL file; default: standard output.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="How many, at most.", min=1)] = 200,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only messages from this day (UTC) on."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random part.")] = 0,
) -> None:
    """Write the uncertain, the fallen-back and some random messages as JSONL; fill in `label` and import them."""
    with_database(
        folder,
        lambda learning, settings, assistant, db: learning.export_review(
            db, assistant.assistant_id, file, n=n, since=since and since.replace(tzinfo=UTC), seed=seed, console=err
        ),
    )


@review.command("import")
def review_import(
    file: Annotated[Path, typer.Argument(help="JSONL with `label` filled in: an intent's name, or skip.")],
    folder: ModelFolder = None,
) -> None:
    """Take labels back. All lines or none: an error names file and line."""

    async def take(learning: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        counts = await learning.import_review(db, assistant, file)
        out.print(counts)

    with_database(folder, take)


def retrain(
    folder: Folder = None, force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False
) -> None:
    """Train from the files and the reviewed log; serve the result only if it is not worse than today's."""

    async def run(learning: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        with progress_bar() as progress:
            outcome = await learning.retrain(settings, assistant, db, force=force, progress=progress, console=out)
        _print_outcome(outcome)

    with_database(folder, run)
