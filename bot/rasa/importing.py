"""What `kefu import-rasa` leaves behind: the proposed files, and the conversations in Kefu's database.

Invariant: no file that exists is overwritten.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bot.assistant.loader import load_assistant
from bot.errors import ConfigurationError
from bot.rasa.history import HistoryReport, import_history
from bot.rasa.project import ProjectReport
from bot.settings import Settings
from bot.storage.database import Database


def write_proposal(report: ProjectReport, target: Path | None, *, into_project: bool) -> Iterator[Path]:
    """Write kefu.yml (and report.json) where asked for; the paths written.

    Raises:
        ConfigurationError: there is a kefu.yml already.
    """
    files: dict[Path, str] = {}
    if target is not None:
        files[target / "kefu.yml"] = report.kefu_yml
        files[target / "report.json"] = json.dumps(report.as_json(), ensure_ascii=False, indent=1) + "\n"
    if into_project:
        files[report.root / "kefu.yml"] = report.kefu_yml
    for path, text in files.items():
        if path.name == "kefu.yml" and path.exists() and path.read_text(encoding="utf-8") != text:
            raise ConfigurationError(f"{path} exists and says something else; take it away first, nothing was written")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield path


async def bring_history(settings: Settings, root: Path, variables: Mapping[str, str], url: str) -> HistoryReport:
    """Import the tracker store at `url` for the assistant in `root`; its database is brought up to date first.

    Raises:
        AssistantError: the project does not load, so nobody could fold its conversations.
        ConfigurationError: the tracker store cannot be read.
    """
    assistant = load_assistant(root, variables)
    db = Database.open(settings.database)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        await asyncio.to_thread(db.upgrade)
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("conversations", total=None)

            def show(step: str, done: int, total: int) -> None:
                bar.update(task, description=step, completed=done, total=total)

            return await import_history(db, assistant.assistant_id, url, show)
    finally:
        await db.close()
