"""`kefu import-rasa`: look through a Rasa project, bring its conversations along. Thin: `bot.rasa` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

out = Console()


def import_rasa(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The Rasa project; it is only read.")],
    tracker_store: Annotated[
        str | None,
        typer.Option(
            "--tracker-store",
            metavar="URL",
            help="Import the conversations of this SQL tracker store too (SQLAlchemy URL). Run it again at any time: "
            "nothing comes in twice.",
        ),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write kefu.yml and report.json into this folder.")
    ] = None,
    write_config: Annotated[
        bool, typer.Option("--write-config", help="Write the proposed kefu.yml into the project itself.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what of a Rasa project runs here unchanged, what is mapped, what differs; import its conversations.

    Exits with 1 where the project does not run yet.
    """
    import asyncio
    import json

    from bot.rasa.importing import bring_history, write_proposal
    from bot.rasa.project import examine_project
    from bot.rasa.project_view import history_lines, show_report
    from bot.settings import environment, load_settings

    root = folder.expanduser().absolute()
    report = examine_project(root, environment())
    found = report.as_json()
    if not as_json:
        show_report(report, out)
    for written in write_proposal(report, target, into_project=write_config):
        Console(stderr=True).print(Text(f"wrote {written}"), soft_wrap=True)
    if tracker_store is not None:
        history = asyncio.run(bring_history(load_settings(), root, environment(), tracker_store))
        found["history"] = history.as_json()
        for line in () if as_json else history_lines(history):
            out.print(line, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    if report.errors:
        raise typer.Exit(1)
