"""`kefu outbox …`: messages that no channel took, or that one may have taken; a person decides."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from bot.commands.console import ModelFolder, good, out, with_database
from bot.errors import KefuError

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.settings import Settings

outbox = typer.Typer(
    help="Messages that a channel did not take (dead) or may have taken (unknown): look, send again, or let them be.",
    no_args_is_help=True,
)
Rows = Annotated[list[int] | None, typer.Argument(help="Numbers from `kefu outbox list`.", metavar="NUMBER")]
Every = Annotated[bool, typer.Option("--all", help="Everything that `kefu outbox list` shows.")]
SHOWN_CHARS = 60


@outbox.command("list")
def outbox_list(
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that are still tried, instead.")] = False,
    folder: ModelFolder = None,
) -> None:
    """What was not delivered: since when, to whom, why."""
    from bot.storage import outbox as rows

    async def show(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        found = await db.read(lambda c: rows.undelivered(c, assistant.assistant_id, waiting=waiting))
        titles = ("since (UTC)", "sender", "state", "tries", "message", "why")
        table = Table(
            Column("number", no_wrap=True),
            *(Column(title, overflow="fold") for title in titles),
            caption="unknown: the customer may have it; `kefu outbox replay NUMBER` sends it again",
        )
        for one in found:
            said = str(one.body.get("text") or ", ".join(one.body))[:SHOWN_CHARS]
            since = f"{one.created_at:%Y-%m-%d %H:%M}"
            cells = (str(one.outbox_id), since, one.sender_id, one.state, str(one.attempts), said, one.error or "-")
            table.add_row(*map(Text, cells))
        out.print(table if found else "nothing waits to be sent" if waiting else "every message was delivered")

    with_database(folder, show)


@outbox.command("replay")
def outbox_replay(rows: Rows = None, every: Every = False, folder: ModelFolder = None) -> None:
    """Send messages once more. One that is "unknown" may reach the customer twice."""
    from bot.storage.outbox import replay

    _decide(rows, every, folder, "sent again", lambda c, name, chosen: replay(c, name, chosen))


@outbox.command("drop")
def outbox_drop(rows: Rows = None, every: Every = False, folder: ModelFolder = None) -> None:
    """Let messages be: nobody gets them, and the list shows them no more."""
    from bot.storage.outbox import drop

    _decide(rows, every, folder, "dropped", lambda c, name, chosen: drop(c, name, chosen, datetime.now(UTC)))


def _decide(
    rows: Collection[int] | None, every: bool, folder: Any, done: str, change: Callable[[Any, str, list[int]], int]
) -> None:
    from bot.storage.outbox import undelivered

    if bool(rows) == every:
        raise KefuError("give the numbers that `kefu outbox list` shows, or --all")

    async def work(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        name = assistant.assistant_id
        stuck = [one.outbox_id for one in await db.read(lambda c: undelivered(c, name))]
        chosen = stuck if every else list(rows or ())
        if strangers := sorted(set(chosen) - set(stuck)):
            shown = ", ".join(map(str, strangers))
            raise KefuError(f"no undelivered message has the number {shown}; `kefu outbox list` shows them all")
        changed = await db.write(lambda c: change(c, name, chosen))
        good(f"{changed} {'message' if changed == 1 else 'messages'} {done}")

    with_database(folder, work)
