"""`kefu brand …`: whether the bot sounds like the company. Thin: `bot.brand_check` does the work."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from bot.commands.console import Folder, chosen_folder, out, with_database
from bot.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.brand_check import BrandReport, Checked

brand = typer.Typer(help="The brand: whether the bot sounds as brand.yml says.", no_args_is_help=True)
LAST = 1000
SHOWN_CHARS = 100
_COLOURS = {"error": "red", "warning": "yellow"}


@brand.callback()
def _group() -> None:
    """Keeps `check` a command of its own: a group of one would take its place."""


@brand.command("check")
def brand_check(
    folder: Folder = None,
    log: Annotated[bool, typer.Option("--log", help=f"Also the bot's last {LAST} logged replies.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="Also its last N logged replies.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Hold every response and the texts of brand.yml to its `voice:`; exit code 1 where one must not be said.

    For example, with `voice: {forbid: [cheap], formality: {zh: formal}}` in brand.yml:

    `kefu brand check` names file and line of each response with "cheap" or 你; `kefu brand check --last 200` also what
    the bot really said, each text once with its count.
    """
    from bot.assistant.loader import load_assistant
    from bot.brand_check import check_brand

    if log or last is not None:
        report = _with_log(folder, last or LAST)
    else:
        report = check_brand(load_assistant(chosen_folder(load_settings(), folder), environment()))
    if as_json:
        typer.echo(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    else:
        _print(report)
    if report.errors:
        raise typer.Exit(1)


def _with_log(folder: Path | None, last: int) -> BrandReport:
    from bot.brand_check import check_brand
    from bot.storage import conversations

    reports: list[BrandReport] = []

    async def check(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        replies = await db.read(lambda c: conversations.replies(c, assistant.assistant_id, last))
        reports.append(check_brand(assistant, replies))

    with_database(folder, check)
    return reports[0]


def _print(report: BrandReport) -> None:
    for each in report.found:
        _print_findings(each)
    table = Table("language", "texts", "errors", "warnings", "score")
    for language, one in report.scores().items():
        table.add_row(language, *map(str, (one.texts, one.errors, one.warnings)), f"{one.score:.3f}")
    out.print(table)


def _print_findings(each: Checked) -> None:
    wording = each.wording
    said = f", said {wording.count} times" if wording.count > 1 else ""
    text = textwrap.shorten(wording.text, SHOWN_CHARS, placeholder=" …")
    place = Text.assemble((wording.place, "bold"), f"{said} [{wording.language}]: ", (text, "dim"))
    out.print(place, soft_wrap=True)
    for found in each.findings:
        level = (f"  {found.severity:<8}", _COLOURS[found.severity])
        out.print(Text.assemble(level, f"{found.rule:<12}{found.message}"), soft_wrap=True)
