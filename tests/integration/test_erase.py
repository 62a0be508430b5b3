"""A customer who asks to be forgotten: nothing of theirs is left, and nobody else is touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot import privacy
from bot.files import Files
from bot.storage import arrivals
from bot.storage.tables import metadata
from connectors.base import InboundMessage, StateChange
from connectors.files import Correspondent
from tests.contract.turns import NOON, message
from tests.lab import Lab, running
from tests.learning import SMALL_SHOP, write_assistant
from tests.sample_files import png
from tests.server import database_of, kefu

pytestmark = pytest.mark.both_databases
SECRETS = ("Zanzibar", "anna-lang", "anna@example.com", "holiday")


async def everything(lab: Lab) -> str:
    """Every row of every table, as text; a Row writes itself shortened."""
    rows: list[str] = []
    for table in metadata.sorted_tables:
        found = await lab.platform.db.read(lambda c, t=table: [str(tuple(row)) for row in c.execute(select(t))])  # type: ignore[misc]
        rows += found
    return "\n".join(rows)


async def say(lab: Lab, sender: str, text: str, **more: Any) -> None:
    said = InboundMessage(
        channel="rest",
        account="",
        external_id=f"{sender}:{text}",
        customer=sender,
        sender_id=sender,
        text=text,
        received_at=NOON,
        metadata=more,
    )
    note = StateChange(key=f"rest/budget/{sender}", value="1")
    (receipt,) = await lab.platform.ports.receive([said], [note])
    assert await lab.platform.ports.wait_for_reply(receipt.inbound_id, 20) is not None


async def test_nothing_is_left_of_an_erased_customer(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        name = lab.platform.bot.assistant.assistant_id
        files = Files.of(lab.platform.settings, lab.platform.bot.assistant, lab.platform.db)
        await say(lab, "anna-lang", "I am in Zanzibar", identity={"email": "anna@example.com"})
        await say(lab, "ANNA-LANG", "I stay")
        await files.put(
            Correspondent(channel="rest", customer="anna-lang", sender_id="anna-lang"), "holiday.png", png()
        )
        before = await everything(lab)
        assert all(secret in before for secret in SECRETS)
        [customer], rows = await privacy.found(lab.platform.db, name, "Anna@Example.com")
        assert await privacy.found(lab.platform.db, name, "anna-lang") == ([customer], rows)
        assert rows["inbox"] == 1
        erased = await privacy.erase(lab.platform.db, files, lab.platform.bot.assistant, customer, tmp_path / "audit")
        after = await everything(lab)
        assert [secret for secret in SECRETS if secret in after] == []
        assert (erased["file"], erased["channel_state"]) == (1, 1)
        assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
        assert after.count("I stay") == before.count("I stay")
        assert "rest/budget/ANNA-LANG" in after
        audit = json.loads((tmp_path / "audit").read_text())
        assert audit["customer"] == customer
        assert not any(secret in str(audit) for secret in SECRETS)
        # The same person is somebody new.
        await say(lab, "anna-lang", "hello again")
        assert len((await lab.tracker("anna-lang"))["events"]) < 10
        assert (await privacy.found(lab.platform.db, name, "anna-lang"))[0] != [customer]


def test_the_command_says_what_there_is_asks_and_erases(tmp_path: Path) -> None:
    folder, home = tmp_path / "shop", tmp_path / "home"
    write_assistant(folder, SMALL_SHOP)

    async def fill() -> None:
        db = database_of(home)
        await db.write(lambda c: arrivals.accept(c, "small-shop", [message("hello", "anna-lang")], [], NOON))
        await db.close()

    def erase(who: str, *options: str) -> tuple[int, str]:
        done = kefu("erase", who, *options, "--assistant", str(folder), home=home, check=False)
        return done.returncode, done.stdout + done.stderr

    asyncio.run(fill())
    assert "called 'nobody'" in erase("nobody")[1]
    code, said = erase("anna-lang", "--dry-run")
    assert (code, "1 in inbox" in said) == (0, True)
    assert erase("anna-lang")[0] == 1, "nobody says yes"
    assert erase("anna-lang", "--yes")[0] == 0
    assert erase("anna-lang", "--yes")[0] == 1, "there is nobody of that name any more"
    assert "anna-lang" not in (home / "erasures.jsonl").read_text()
