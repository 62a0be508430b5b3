"""An answer that is said while it is written, over SQLite and PostgreSQL: several commits, one answer, whoever dies."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection

from bot.errors import StaleConversation
from bot.storage import conversations, erasing, inbox
from bot.storage.database import Database
from bot.storage.inbox import Claim
from connectors.base import OutboundMessage
from tests.contract.turns import NOON, SHOP, accept, advance, at, claim, finish, prediction
from tests.contract.turns import events as some_events


async def transcript(database: Database) -> list[tuple[int, str]]:
    entries = await database.read(lambda conn: conversations.transcript(conn, SHOP, "ann", 0))
    return [(entry.seq, entry.body["text"]) for entry in entries]


async def begun(database: Database, **changes: Any) -> Claim:
    """A claimed message of which the first part of the answer is said."""
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(lambda conn: claim(conn, at(0), lease_s=10))
    return await database.write(lambda conn: advance(conn, held, "one", events=some_events("x", "y"), **changes))


async def test_a_part_is_read_at_once_and_the_message_waits_for_the_last_one(database: Database) -> None:
    held = await begun(database, prediction=prediction("a1", [0.7, 0.2], language="zh"), status="waiting")
    assert await transcript(database) == [(1, "a1"), (2, "one")]
    assert await database.read(lambda conn: inbox.reply_to(conn, SHOP, held.inbound_id)) is None, "not all of it"
    found = await database.read(lambda conn: conversations.find(conn, SHOP, "ann"))
    assert found is not None
    assert (found.waiting, found.event_seq, found.status, found.language) == (1, 2, "waiting", "zh")

    await database.write(lambda conn: accept(conn, "a2", now=at(1)))
    assert await database.write(lambda conn: claim(conn, at(9))) == [], "what comes meanwhile waits"
    held = await database.write(lambda conn: advance(conn, held, "two", events=some_events("z")))
    sent = await database.write(lambda conn: finish(conn, held, "three", events=some_events("end"), now=at(5)))

    assert await transcript(database) == [(1, "a1"), (2, "one"), (3, "a2"), (4, "two"), (5, "three")]
    whole = [*held.said, *sent]
    assert [part.body["text"] for part in whole] == ["one", "two", "three"]
    assert await database.read(lambda conn: inbox.reply_to(conn, SHOP, held.inbound_id)) == whole
    stored = await database.read(lambda conn: conversations.events(conn, SHOP, "ann"))
    assert [event["name"] for event in stored] == ["x", "y", "z", "end"]
    (later,) = await database.write(lambda conn: claim(conn, at(5)))
    assert (later.message.text, later.said, later.event_seq) == ("a2", (), 4)


async def test_whoever_takes_over_sees_what_was_said_and_the_late_worker_changes_nothing(database: Database) -> None:
    late = await begun(database, body_metadata=[{"instead": "the passage"}])
    late = await database.write(lambda conn: advance(conn, late, "two", events=some_events("z")))
    (again,) = await database.write(lambda conn: claim(conn, at(10), worker="w2"))
    assert (again.inbound_id, again.attempts, again.event_seq) == (late.inbound_id, 2, 3)
    assert list(again.said) == list(late.said)
    assert [(part.body["text"], part.metadata) for part in again.said] == [
        ("one", {"instead": "the passage"}),
        ("two", {}),
    ]
    assert [event["name"] for event in again.events] == ["x", "y", "z"]
    for act in (
        lambda conn: advance(conn, late, "too late"),
        lambda conn: finish(conn, late, "too late"),
        lambda conn: inbox.fail(conn, late, "too late", at(20), NOON),
    ):
        with pytest.raises(StaleConversation):
            await database.write(act)
    await database.write(lambda conn: finish(conn, again, "the passage"))
    assert [text for _, text in await transcript(database)] == ["a1", "one", "two", "the passage"]


async def test_what_was_said_is_there_after_a_restart_and_after_a_retry(database: Database) -> None:
    held = await begun(database)
    await database.write(lambda conn: inbox.release(conn, SHOP, None, at(1)))
    (restarted,) = await database.write(lambda conn: claim(conn, at(1)))
    assert list(restarted.said) == list(held.said)
    await database.write(lambda conn: inbox.fail(conn, restarted, "away", at(30), at(2)))
    (retried,) = await database.write(lambda conn: claim(conn, at(30)))
    assert [part.body["text"] for part in retried.said] == ["one"]


async def test_a_message_that_died_before_anything_was_said_has_nothing_said(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    await database.write(lambda conn: claim(conn, at(0), lease_s=10))
    (again,) = await database.write(lambda conn: claim(conn, at(10)))
    assert (again.attempts, list(again.said)) == (2, [])


async def test_the_same_part_is_not_said_twice(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    await database.write(lambda conn: advance(conn, held, "one"))
    for act in (lambda conn: advance(conn, held, "one"), lambda conn: finish(conn, held, "one")):
        with pytest.raises(StaleConversation):
            await database.write(act)
    assert await transcript(database) == [(1, "a1"), (2, "one")]


async def test_a_dead_letter_of_which_a_part_was_said_ends_with_an_apology(database: Database) -> None:
    held = await begun(database)
    sorry = [{"text": "sorry"}]
    said = await database.write(lambda conn: inbox.fail(conn, held, "crashed", None, NOON, bodies=sorry))
    assert [(part.author, part.seq) for part in said] == [("system", 3)]
    reply = await database.read(lambda conn: inbox.reply_to(conn, SHOP, held.inbound_id))
    assert reply is not None
    assert [part.body["text"] for part in reply] == ["one", "sorry"]


async def test_a_snapshot_with_the_first_part_is_followed_by_the_events_of_the_others(database: Database) -> None:
    held = await begun(database, snapshot={"turns": 1})
    await database.write(lambda conn: finish(conn, held, "two", events=some_events("z")))
    await database.write(lambda conn: accept(conn, "a2"))
    (later,) = await database.write(claim)
    assert (later.snapshot, later.snapshot_seq, later.event_seq) == ({"turns": 1}, 2, 3)
    assert [event["name"] for event in later.events] == ["z"]


async def test_a_customer_who_is_erased_amid_an_answer_hears_no_more(database: Database) -> None:
    held = await begun(database, body_metadata=[{"instead": "the passage"}])

    def erase(conn: Connection) -> None:
        (customer,) = erasing.customers_of(conn, SHOP, "ann")
        erasing.erase(conn, SHOP, customer, NOON)

    await database.write(erase)
    for act in (lambda conn: advance(conn, held, "two"), lambda conn: finish(conn, held, "two")):
        with pytest.raises(StaleConversation):
            await database.write(act)
    left = await database.read(lambda conn: inbox.reply_to(conn, SHOP, held.inbound_id)) or []
    assert [(part.body, part.metadata) for part in left] == [({}, {})]
    assert await database.write(lambda conn: claim(conn, at(99))) == []


def test_only_the_bot_s_messages_go_on_or_continue() -> None:
    given: dict[str, Any] = {
        "outbox_id": 1, "conversation_id": 1, "sender_id": "ann", "seq": 1, "body": {}, "created_at": NOON,
        "metadata": {"more": True, "continues": {"seq": 1, "joined_by": " "}},
    }  # fmt: skip
    bots, customers = OutboundMessage(author="bot", **given), OutboundMessage(author="customer", **given)
    assert (bots.goes_on, bots.continues) == (True, {"seq": 1, "joined_by": " "})
    assert (customers.goes_on, customers.continues) == (False, None), "a customer's metadata are the customer's word"
