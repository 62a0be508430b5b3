"""How `kefu import-rasa` shows what it found: for a terminal, for a pipe, as JSON. What is found is `project`'s.

Invariant: piped output is one finding a line, with file and line in front, so that editors and grep can use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Column, Table
from rich.text import Text

from bot.errors import Where
from bot.rasa.history import HistoryReport
from bot.rasa.project import Finding, ProjectReport

# In the order in which a reader cares; each with how it is told.
_SECTIONS = (
    ("error", "does not load", "bold red"),
    ("unsupported", "not supported", "red"),
    ("differs", "differs", "yellow"),
    ("mapped", "mapped", "cyan"),
    ("supported", "supported", "green"),
    ("ignored", "not needed", "dim"),
)


def show_report(report: ProjectReport, console: Console) -> None:
    """Print it: tables and a panel for a person, lines for a pipe."""
    parts = _panels(report) if console.is_terminal else _lines(report)
    for part in parts:
        console.print(part, soft_wrap=not console.is_terminal, highlight=False)


def _panels(report: ProjectReport) -> Iterator[RenderableType]:
    if report.sizes:
        yield Text(", ".join(f"{n} {what}" for what, n in report.sizes.items()))
    for verdict, title, style in _SECTIONS:
        found = [finding for finding in report.findings if finding.verdict == verdict]
        if found:
            yield _table(report.root, title, style, found)
    yield Panel(Syntax(report.kefu_yml.rstrip(), "yaml", word_wrap=True), title="proposed kefu.yml", title_align="left")
    style = "red" if report.errors else "yellow" if report.to_look_at else "green"
    yield Panel(Text(report.verdict, style=f"bold {style}"), border_style=style)


def _table(root: Path, title: str, style: str, found: list[Finding]) -> Table:
    table = Table(
        Column("what", overflow="fold", ratio=2),
        Column("where", overflow="fold", ratio=2),
        Column("what happens, and what to do", overflow="fold", ratio=5),
        title=Text(f"{title} ({len(found)})", style=style),
        title_justify="left",
        expand=True,
    )
    for finding in found:
        told = Text(finding.message)
        if finding.remedy:
            told.append(f"\n{finding.remedy}", style="italic")
        table.add_row(Text(finding.subject), Text(_place(root, finding.where)), told)
    return table


def _lines(report: ProjectReport) -> Iterator[Text]:
    for verdict, title, _ in _SECTIONS:
        for finding in report.findings:
            if finding.verdict == verdict:
                remedy = f" {finding.remedy}" if finding.remedy else ""
                place = _place(report.root, finding.where)
                yield Text(f"{place}: {title}: {finding.subject}: {_sentence(finding.message)}{remedy}")
    yield Text(f"{report.root}: {report.verdict}")


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _place(root: Path, where: Where | None) -> str:
    """The place as a person opens it from the project's folder."""
    if where is None:
        return str(root)
    file = where.file.relative_to(root) if where.file.is_relative_to(root) else where.file
    return f"{file}:{where.line}" if where.line else str(file)


def history_lines(report: HistoryReport) -> Iterator[Text]:
    """What an import of a tracker store did, in a few lines."""
    yield Text(
        f"{report.new} conversations imported, {report.extended} continued, {report.unchanged} were here already; "
        f"{report.events} events"
    )
    if report.n_different:
        yield Text(f"{report.n_different} have other events here under the same name and were left alone:", "yellow")
        yield Text(f"  {_named(report.different, report.n_different)}")
    if report.n_refused:
        yield Text(f"{report.n_refused} have a name that belongs to another channel here and were left out:", "yellow")
        yield Text(f"  {_named(report.refused, report.n_refused)}")
    if report.bad_rows:
        yield Text(f"{report.bad_rows} rows hold no event that can be read:", "yellow")
        for row in report.bad:
            yield Text(f"  row {row.row} of {row.sender_id}: {row.reason}")


def _named(names: list[str], n: int) -> str:
    return ", ".join(names) + (f" … (and {n - len(names)} more)" if n > len(names) else "")
