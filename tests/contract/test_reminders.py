"""Reminders on both databases: kept with their turn, called off as in Rasa, fired once whoever looks."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from bot.storage import conversations, inbox, reminders
from bot.storage.database import Database
from tests.contract.turns import NOON, SHOP, accept, at, claim, turn


def planned(name: str, due_s: float, **changes: Any) -> dict[str, Any]:
    event = {"event": "reminder", "timestamp": 1.0, "name": name, "intent": "check_in", "entities": {"order": "A-1"}}
    return event | {"date_time": at(due_s).isoformat(), "kill_on_user_msg": False} | changes


def say(event: str, **more: Any) -> dict[str, Any]:
    return {"event": event, "timestamp": 1.0, **more}


async def take(database: Database, key: str, *events: dict[str, Any]) -> None:
    """One turn of "ann" with these events."""

    def step(conn: Connection) -> None:
        accept(conn, key)
        [held] = claim(conn)
        inbox.finish(conn, held, turn(held, events=list(events)), NOON)

    await database.write(step)


async def fired(database: Database, now: datetime) -> list[str]:
    """The intents that come into the inbox."""

    def step(conn: Connection) -> list[str]:
        reminders.fire(conn, SHOP, now)
        return [held.message.command["trigger"]["name"] for held in claim(conn, now) if held.message.command]

    return await database.write(step)


async def test_a_reminder_comes_into_the_inbox_when_it_is_due_and_once(database: Database) -> None:
    await take(database, "a1", planned("r", 60))
    assert not await database.read(lambda conn: reminders.is_any_due(conn, SHOP, at(59)))
    assert await fired(database, at(59)) == []
    assert await database.read(lambda conn: reminders.is_any_due(conn, SHOP, at(60)))
    assert await fired(database, at(60)) == ["check_in"]
    assert await database.write(lambda conn: reminders.fire(conn, SHOP, at(61))) == 0


async def test_replicas_that_look_together_fire_each_reminder_once(database: Database) -> None:
    await take(database, "a1", *[planned(f"r{n}", 60) for n in range(20)])
    looks = [database.write(lambda conn: reminders.fire(conn, SHOP, at(60))) for _ in range(8)]
    assert sum(await asyncio.gather(*looks)) == 20


async def test_the_later_reminder_of_a_name_replaces_the_earlier(database: Database) -> None:
    await take(database, "a1", planned("r", 60, intent="early"), planned("r", 90, intent="late"))
    assert await fired(database, at(60)) == []
    assert await fired(database, at(90)) == ["late"]


async def test_a_reminder_is_called_off_by_name_intent_or_altogether(database: Database) -> None:
    plan = [planned("a", 60, intent="one"), planned("b", 60, intent="two"), planned("c", 60, intent="three")]
    await take(database, "a1", *plan, say("cancel_reminder", name="a"), say("cancel_reminder", intent="two"))
    assert await fired(database, at(60)) == ["three"]
    await database.write(lambda conn: inbox.release(conn, SHOP, None, NOON))


async def test_a_message_calls_off_what_was_planned_for_silence(database: Database) -> None:
    await take(database, "a1", planned("silence", 60, kill_on_user_msg=True), planned("anyway", 60, intent="anyway"))
    await take(database, "a2", say("user", text="hi"))
    assert await fired(database, at(60)) == ["anyway"]


async def test_a_restart_and_a_new_session_call_everything_off(database: Database) -> None:
    for number, kind in enumerate(("restart", "session_started")):
        await take(database, f"a{number}", planned("r", 60))
        await take(database, f"b{number}", say(kind))
        assert await fired(database, at(60)) == []


async def test_an_unusable_reminder_costs_only_itself(database: Database) -> None:
    await take(database, "a1", planned("bad", 0, date_time="tomorrow"), planned("good", 60, intent="good"))
    assert await fired(database, at(60)) == ["good"]


async def test_a_fired_reminder_takes_a_number_and_shows_nothing(database: Database) -> None:
    await take(database, "a1", planned("r", 60))
    await fired(database, at(60))
    said = await database.read(lambda conn: conversations.transcript(conn, SHOP, "ann", 0))
    assert [(entry.seq, entry.author, dict(entry.body)) for entry in said] == [
        (1, "customer", {"text": "a1"}),
        (2, "system", {}),
    ]
