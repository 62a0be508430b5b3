"""`kefu outbox …` as an operator uses it: what was not delivered is seen, sent again or dropped."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from bot.storage import arrivals, inbox, outbox
from bot.storage.tables import outbox as rows
from connectors.base import DeliveryUnknown, RetryLater, SendResult, Undeliverable
from tests.contract.turns import NOON, finish, message
from tests.learning import SMALL_SHOP, write_assistant
from tests.server import database_of, kefu

BLOCKED = Undeliverable(reason="403: Forbidden: bot was blocked by the user")
BROKEN_OFF = DeliveryUnknown(reason="broken off: ReadTimeout")
BUSY = RetryLater(reason="429: Too Many Requests", after_s=600)
OUTCOMES: dict[str, SendResult] = {"ann": BLOCKED, "bob": BROKEN_OFF, "cid": BUSY}


@dataclass
class Shop:
    """A small shop whose channel took none of three messages, one a conversation."""

    folder: Path
    home: Path

    def outbox(self, *options: str, code: int = 0) -> str:
        done = kefu("outbox", *options, "--assistant", str(self.folder), home=self.home, check=False, COLUMNS="200")
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def states(self) -> dict[int, str]:
        async def read() -> dict[int, str]:
            found = select(rows.c.id, rows.c.state).order_by(rows.c.id)
            states = await db.read(lambda c: {row.id: row.state for row in c.execute(found)})
            await db.close()
            return states

        db = database_of(self.home)
        return asyncio.run(read())


def _fail_to_send(conn: Connection, sender: str, result: SendResult) -> None:
    channel = f"telegram:{sender}"
    sent = message(f"hello from {sender}", channel, channel="telegram", customer=sender)
    arrivals.accept(conn, "small-shop", [sent], [], NOON)
    (held,) = inbox.claim(conn, "small-shop", "test", NOON, 60.0, 1)
    finish(conn, held, f"[bold]to {sender}", delivery="push")
    (claimed,) = outbox.claim(conn, "small-shop", ["telegram"], "test", NOON + timedelta(seconds=1), 30.0, 1)
    outbox.settle(conn, claimed, result, NOON)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    write_assistant(tmp_path / "shop", SMALL_SHOP)
    db = database_of(tmp_path / "home")

    async def fill() -> None:
        for sender, result in OUTCOMES.items():
            await db.write(partial(_fail_to_send, sender=sender, result=result))
        await db.close()

    asyncio.run(fill())
    return Shop(folder=tmp_path / "shop", home=tmp_path / "home")


def test_the_list_says_to_whom_what_and_why(shop: Shop) -> None:
    listed = shop.outbox("list")
    assert "telegram:ann" in listed
    assert "blocked by the user" in listed
    assert "[bold]to ann" in listed  # a message is text, not markup
    assert "ReadTimeout" in listed
    assert "telegram:cid" not in listed  # still tried
    waiting = shop.outbox("list", "--waiting")
    assert "telegram:cid" in waiting
    assert "Too Many Requests" in waiting
    assert "telegram:ann" not in waiting


def test_replay_sends_once_more_what_was_named(shop: Shop) -> None:
    assert shop.states() == {1: "dead", 2: "unknown", 3: "pending"}
    assert "1 message sent again" in shop.outbox("replay", "2")
    assert shop.states() == {1: "dead", 2: "pending", 3: "pending"}
    assert "telegram:bob" not in shop.outbox("list")
    assert "telegram:bob" in shop.outbox("list", "--waiting")


def test_drop_lets_be_what_was_named_for_good(shop: Shop) -> None:
    assert "2 messages dropped" in shop.outbox("drop", "1", "2")
    assert "every message was delivered" in shop.outbox("list")
    assert "no undelivered message has the number 1" in shop.outbox("replay", "1", code=1)


def test_all_is_everything_that_is_listed(shop: Shop) -> None:
    assert "2 messages sent again" in shop.outbox("replay", "--all")
    assert set(shop.states().values()) == {"pending"}
    assert "0 messages dropped" in shop.outbox("drop", "--all")


@pytest.mark.parametrize("options", [("replay",), ("drop",), ("replay", "1", "--all")])
def test_numbers_or_all_but_not_both_and_not_neither(shop: Shop, options: tuple[str, ...]) -> None:
    before = shop.states()
    assert "give the numbers that `kefu outbox list` shows, or --all" in shop.outbox(*options, code=1)
    assert shop.states() == before


def test_one_stranger_among_the_numbers_changes_nothing(shop: Shop) -> None:
    assert "no undelivered message has the number 3, 99" in shop.outbox("replay", "1", "3", "99", code=1)
    assert shop.states() == {1: "dead", 2: "unknown", 3: "pending"}
