"""What all commands share: the two consoles, the progress bar, the arguments that name a folder, the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from bot.settings import STARTER, Settings, assistant_folder, environment, load_settings

out = Console()
err = Console(stderr=True)

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="Assistant folder. Default: KEFU_ASSISTANT, the current folder if it is one, else the starter."
    ),
]
ModelFolder = Annotated[Path | None, typer.Option("--assistant", help="Assistant folder, as for the other commands.")]


def chosen_folder(settings: Settings, given: Path | None) -> Path:
    """The assistant's folder; says so where nobody chose one and the starter is taken."""
    folder = assistant_folder(settings, given)
    if given is None and settings.assistant is None and folder == STARTER:
        err.print("note: no assistant in this folder, so Kefu's own starter is taken", style="dim", soft_wrap=True)
    return folder


def good(what: str, rest: str = "") -> None:
    """Print that something went well; neither part is read as markup."""
    out.print(Text.assemble((what, "bold green"), rest), soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(step, done, total)` drawn as one bar a step (total 0: a spinner)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total or None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield report


def with_database(folder: Path | None, work: Callable[[Any, Settings, Any, Any], Any]) -> None:
    """Run an async step of the learning loop over the assistant and its database."""
    from bot import learning
    from bot.assistant.loader import load_assistant
    from bot.storage.database import Database

    settings = load_settings()
    assistant = load_assistant(chosen_folder(settings, folder), environment())

    async def run() -> None:
        db = Database.open(settings.database)
        try:
            await asyncio.to_thread(db.upgrade)
            await work(learning, settings, assistant, db)
        finally:
            await db.close()

    asyncio.run(run())


def registry_of(folder: Path | None) -> Any:
    """The versions of the assistant in the folder."""
    from bot.assistant.loader import load_assistant
    from models.registry import Registry

    settings = load_settings()
    assistant = load_assistant(chosen_folder(settings, folder), environment())
    return Registry(settings.models_dir, assistant.assistant_id)
