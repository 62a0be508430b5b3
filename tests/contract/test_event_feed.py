"""The feed of a broker over real databases: from the commit on, in order, past the cursor never again."""

from __future__ import annotations

from datetime import datetime, timedelta

from bot.storage import event_feed, inbox
from bot.storage.database import Database
from bot.storage.event_feed import Due
from tests.contract.turns import NOON, SHOP, accept, at, claim, events, turn


async def talk(db: Database, key: str, *names: str, sender: str = "ann", seconds: float = 0) -> None:
    """One message with its turn, which logs events of these names."""
    await db.write(lambda c: accept(c, key, sender=sender, now=at(seconds)))
    [held] = await db.write(lambda c: claim(c, at(seconds)))
    record = turn(held, events=events(*names))
    await db.write(lambda c: inbox.finish(c, held, record, at(seconds)))


async def due(db: Database, since: datetime | None = None) -> list[Due]:
    return await db.read(lambda c: event_feed.due(c, SHOP, since, 10))


async def names(db: Database, one: Due, limit: int = 10) -> list[tuple[int, str]]:
    found = await db.read(lambda c: event_feed.unpublished(c, one, limit))
    return [(event.seq, event.body["name"]) for event in found]


async def test_events_are_due_from_their_commit_until_the_cursor_passes_them(database: Database) -> None:
    assert await due(database) == []
    await talk(database, "m1", "a", "b")
    [one] = await due(database)
    assert (one.sender_id, one.cursor, one.event_seq) == ("ann", None, 2)
    assert await names(database, one) == [(1, "a"), (2, "b")]
    assert await names(database, one, limit=1) == [(1, "a")]
    assert await database.write(lambda c: event_feed.advance(c, SHOP, one, 1, NOON))
    [one] = await due(database)
    assert await names(database, one) == [(2, "b")]
    assert await database.write(lambda c: event_feed.advance(c, SHOP, one, 2, NOON))
    assert await due(database) == []
    await talk(database, "m2", "c")
    [one] = await due(database)
    assert await names(database, one) == [(3, "c")]


async def test_of_two_publishers_only_one_moves_the_cursor(database: Database) -> None:
    await talk(database, "m1", "a", "b")
    [one] = await due(database)
    assert await database.write(lambda c: event_feed.advance(c, SHOP, one, 2, NOON))
    assert not await database.write(lambda c: event_feed.advance(c, SHOP, one, 1, NOON))
    assert await due(database) == []


async def test_what_was_stored_before_the_broker_came_is_passed_once(database: Database) -> None:
    await talk(database, "m1", "a")
    await database.write(lambda c: event_feed.begin(c, SHOP, NOON))
    assert await due(database) == []
    await talk(database, "m2", "b")
    await talk(database, "m3", "c", sender="bob")
    await database.write(lambda c: event_feed.begin(c, SHOP, NOON))
    assert [await names(database, one) for one in await due(database)] == [[(2, "b")], [(1, "c")]]


async def test_only_conversations_touched_since_are_looked_at(database: Database) -> None:
    await talk(database, "m1", "a", seconds=0)
    await talk(database, "m2", "b", sender="bob", seconds=60)
    assert [one.sender_id for one in await due(database, since=NOON + timedelta(seconds=30))] == ["bob"]
    assert [one.sender_id for one in await due(database, since=NOON)] == ["ann", "bob"]


async def test_a_log_that_was_replaced_goes_on_with_higher_numbers(database: Database) -> None:
    await talk(database, "m1", "a", "b")
    await database.write(lambda c: accept(c, "m2", now=NOON))
    [held] = await database.write(claim)
    record = turn(held, events=events("new"), replaces_log=True)
    await database.write(lambda c: inbox.finish(c, held, record, NOON))
    [one] = await due(database)
    assert await names(database, one) == [(3, "new")]


async def test_one_process_publishes_at_a_time(database: Database) -> None:
    async def holds(holder: str, seconds: float, ttl_s: float = 30) -> bool:
        return await database.write(lambda c: event_feed.holds(c, SHOP, holder, ttl_s, at(seconds)))

    assert await holds("p1", 0)
    assert not await holds("p2", 10)
    assert await holds("p1", 20)
    assert await holds("p1", 21, ttl_s=0)
    assert await holds("p2", 22)
