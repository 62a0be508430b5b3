"""`kefu erase`: what a customer asks for who wants to be forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.commands.console import ModelFolder, good, out, with_database
from bot.errors import KefuError

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.settings import Settings


def erase(
    who: Annotated[
        str, typer.Argument(help="A conversation's sender id, or the e-mail of a signed identity.", metavar="CUSTOMER")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    folder: ModelFolder = None,
) -> None:
    """Erase a customer: conversations, messages, readings, files, the channels' notes. It cannot be undone."""
    from bot.answers.from_logs import FROM_LOGS
    from bot.files import Files
    from bot.privacy import AUDIT_FILE, found
    from bot.privacy import erase as erase_customer

    async def work(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        name = assistant.assistant_id
        customers, rows = await found(db, name, who)
        if not customers:
            raise KefuError(f"no conversation and no signed identity of {name} is called {who!r}")
        shown = ", ".join(f"{count} in {table}" for table, count in rows.items() if count)
        out.print(f"customer {', '.join(map(str, customers))}: {shown}", highlight=False, markup=False)
        if dry_run:
            return
        if not yes:
            typer.confirm("Erase all of it? It cannot be undone.", abort=True)
        questions = 0
        for customer_id in customers:
            files, audit = Files.of(settings, assistant, db), settings.home / AUDIT_FILE
            questions += (await erase_customer(db, files, assistant, customer_id, audit))["question"]
        good("erased", f"; {settings.home / AUDIT_FILE} says when, and not whom")
        if questions:
            file = assistant.root / FROM_LOGS
            out.print(
                f"{questions} lines of {file} too; the search forgets them with: kefu knowledge sync", soft_wrap=True
            )

    with_database(folder, work)
