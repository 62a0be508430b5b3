"""A real Rasa tracker store's conversations come in once, in order, and nothing that is here is touched.

tests/rasa/tracker_store.sql was written by Rasa 3.6.21's own SQLTrackerStore out of ten recorded conversations.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, func, select

from bot.assistant.loader import load_assistant
from bot.dialogue.events import from_json
from bot.dialogue.tracker import Tracker
from bot.errors import ConfigurationError
from bot.rasa.history import HistoryReport, import_history
from bot.storage import arrivals, conversations, inbox, predictions
from bot.storage.database import Database
from bot.storage.predictions import ReviewLimits
from bot.storage.tables import identities, metadata, outbox
from connectors.base import InboundMessage
from tests.postgres import PostgresServer, new_postgres

TESTS = Path(__file__).parents[1]
DUMP = TESTS / "rasa" / "tracker_store.sql"
DOMAIN = load_assistant(TESTS / "bots" / "labbot", {}).domain
TRACES = (
    *("rich", "session_expiry", "transfer_happy", "transfer_prefilled", "two_stage_affirm"),
    *("travel_roles", "reminder", "reset", "restart_default", "checkpoint_survey"),
)
ROWS, CONVERSATIONS = 339, len(TRACES)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    file = tmp_path / "rasa.db"
    with closing(sqlite3.connect(file)) as db:
        db.executescript(DUMP.read_text(encoding="utf-8"))
    return file


def change(store: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(store)) as db, db:
        db.execute(statement, values)


def rows_of(store: Path, sender: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(store)) as db:
        found = db.execute("SELECT data FROM events WHERE sender_id = ? ORDER BY id", (sender,))
        return [json.loads(data) for (data,) in found]


async def import_from(database: Database, store: Path) -> HistoryReport:
    return await import_history(database, "labbot", f"sqlite:///{store}")


async def log(database: Database, sender: str) -> list[dict[str, Any]]:
    return await database.read(lambda c: conversations.events(c, "labbot", sender))


async def test_every_event_of_every_conversation_is_stored_as_rasa_wrote_it(database: Database, store: Path) -> None:
    report = await import_from(database, store)
    assert (report.new, report.events, report.bad_rows) == (CONVERSATIONS, ROWS, 0)
    for sender in ("客户-0", *(f"customer-{n}" for n in range(1, CONVERSATIONS))):
        assert await log(database, sender) == rows_of(store, sender)


async def test_importing_twice_stores_nothing_twice(database: Database, store: Path) -> None:
    def counts(conn: Connection) -> list[int]:
        return [conn.execute(select(func.count()).select_from(t)).scalar_one() for t in metadata.sorted_tables]

    await import_from(database, store)
    before = await database.read(counts)
    again = await import_from(database, store)
    assert (again.new, again.unchanged, again.events) == (0, CONVERSATIONS, 0)
    assert await database.read(counts) == before


async def test_what_rasa_went_on_with_is_added_at_the_next_import(database: Database, store: Path) -> None:
    whole = rows_of(store, "customer-2")
    with closing(sqlite3.connect(store)) as db, db:
        db.execute("DELETE FROM events WHERE sender_id = 'customer-2' AND timestamp > ?", (whole[20]["timestamp"],))
    await import_from(database, store)
    assert await log(database, "customer-2") == whole[:21]
    for body in whole[21:]:
        stamp = body["timestamp"]
        insert = "INSERT INTO events (sender_id, type_name, timestamp, data) VALUES ('customer-2', ?, ?, ?)"
        change(store, insert, body["event"], stamp, json.dumps(body))
    report = await import_from(database, store)
    assert (report.extended, report.unchanged, report.events) == (1, CONVERSATIONS - 1, len(whole) - 21)
    assert await log(database, "customer-2") == whole
    said = await database.read(lambda c: conversations.transcript(c, "labbot", "customer-2", 0))
    assert [entry.seq for entry in said] == list(range(1, len(said) + 1))


async def test_a_conversation_that_began_here_is_left_alone_and_named(database: Database, store: Path) -> None:
    await import_from(database, store)
    own = await log(database, "customer-3")
    body = {**own[4], "timestamp": own[4]["timestamp"] + 1}
    change(store, "UPDATE events SET data = ? WHERE sender_id = 'customer-3' AND data LIKE ?", json.dumps(body), "%")
    report = await import_from(database, store)
    assert (report.different, report.n_different, report.unchanged) == (["customer-3"], 1, CONVERSATIONS - 1)
    assert await log(database, "customer-3") == own


async def test_a_conversation_that_went_on_here_stays_as_it_is(database: Database, store: Path) -> None:
    await import_from(database, store)
    await database.write(lambda c: arrivals.accept(c, "labbot", [hello("customer-1")], [], datetime.now(UTC)))
    report = await import_from(database, store)
    assert (report.unchanged, report.different) == (CONVERSATIONS, [])


def hello(sender: str) -> InboundMessage:
    return InboundMessage(
        channel="rest",
        account="",
        external_id=f"new-{sender}",
        customer=sender,
        sender_id=sender,
        text="hello again",
        received_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(("sender", "trace"), list(enumerate(TRACES)))
async def test_a_customer_goes_on_where_rasa_left_off(database: Database, store: Path, sender: int, trace: str) -> None:
    """The next message finds the conversation, and its events fold into the state that Rasa recorded."""
    await import_from(database, store)
    now = datetime.now(UTC)
    name = f"customer-{sender}" if sender else "客户-0"
    await database.write(lambda c: arrivals.accept(c, "labbot", [hello(name)], [], now))
    [claimed] = await database.write(lambda c: inbox.claim(c, "labbot", "w1", now, 30.0, 10))
    situation = Tracker.fold(DOMAIN, name, map(from_json, claimed.events)).situation
    recorded = json.loads((TESTS / "traces" / f"labbot_{trace}.json").read_text(encoding="utf-8"))["turns"][-1]["state"]
    assert dict(situation.slots) == recorded["slots"]
    assert situation.loop_name == recorded["active_loop"].get("name")
    assert situation.latest_action == recorded["latest_action"]["action_name"]


async def test_nothing_imported_waits_for_an_answer_or_to_be_sent(database: Database, store: Path) -> None:
    await import_from(database, store)
    now = datetime.now(UTC)
    assert await database.read(lambda c: inbox.waiting(c, "labbot")) == 0
    assert await database.write(lambda c: inbox.claim(c, "labbot", "w1", now, 30.0, 10)) == []
    states = await database.read(lambda c: set(c.execute(select(outbox.c.state)).scalars()))
    assert states == {"delivered"}


async def test_the_transcript_is_what_was_said_with_its_times(database: Database, store: Path) -> None:
    await import_from(database, store)
    said = await database.read(lambda c: conversations.transcript(c, "labbot", "客户-0", 0))
    written = [body for body in rows_of(store, "客户-0") if body["event"] in ("user", "bot")]
    assert [entry.author for entry in said] == ["customer" if b["event"] == "user" else "bot" for b in written]
    assert [entry.body.get("text") for entry in said] == [body["text"] for body in written]
    assert [entry.created_at.timestamp() for entry in said] == pytest.approx([b["timestamp"] for b in written])
    buttons = next(body["data"]["buttons"] for body in written if body["event"] == "bot")
    assert said[1].body["buttons"] == buttons


async def test_free_text_can_be_reviewed_and_payloads_are_not_asked_about(database: Database, store: Path) -> None:
    text = json.dumps(
        {
            "event": "user",
            "timestamp": 1_700_000_001.0,
            "text": "send Ada fifty",
            "parse_data": {"intent": {"name": "transfer_money", "confidence": 0.6}, "entities": []},
        }
    )
    change(store, "UPDATE events SET data = ? WHERE id = (SELECT min(id) FROM events WHERE type_name = 'user')", text)
    await import_from(database, store)
    items = await database.read(
        lambda c: predictions.for_review(c, "labbot", datetime(2020, 1, 1, tzinfo=UTC), ReviewLimits(), seed=0)
    )
    assert ("send Ada fifty", "transfer_money", "rasa") in [(i.text, i.intent, i.model_version) for i in items]
    assert not any(item.text.startswith("/") for item in items)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{broken", "not JSON"),
        ("[1]", "no JSON object"),
        ("", "is empty"),
        ('{"event": "teleport", "timestamp": 1.0}', "unknown event"),
        ('{"event": "slot", "timestamp": 1.0}', "slot"),
        ('{"event": "restart"}', "timestamp"),
        ('{"event": "restart", "timestamp": 1e300}', "timestamp"),
        ('{"event": "slot", "name": "amount", "value": NaN, "timestamp": 1.0}', "NaN"),
    ],
)
async def test_a_row_that_cannot_be_read_costs_only_itself(
    database: Database, store: Path, data: str, reason: str
) -> None:
    whole = rows_of(store, "customer-4")
    number = "(SELECT min(id) + 5 FROM events WHERE sender_id = 'customer-4')"
    change(store, f"UPDATE events SET data = ? WHERE id = {number}", data)
    report = await import_from(database, store)
    assert (report.new, report.events, report.bad_rows) == (CONVERSATIONS, ROWS - 1, 1)
    assert report.bad[0].sender_id == "customer-4"
    assert reason in report.bad[0].reason
    assert await log(database, "customer-4") == whole[:5] + whole[6:]


async def test_a_name_of_another_channel_is_refused_and_named(database: Database, store: Path) -> None:
    change(store, "UPDATE events SET sender_id = 'web:guessed' WHERE sender_id = 'customer-5'")
    report = await import_from(database, store)
    assert (report.refused, report.n_refused, report.new) == (["web:guessed"], 1, CONVERSATIONS - 1)


async def test_conversations_keep_their_order_and_their_channel(database: Database, store: Path) -> None:
    socketio = 'UPDATE events SET data = replace(data, \'"input_channel": "rest"\', \'"input_channel": "socketio"\')'
    change(store, f"{socketio} WHERE sender_id = 'customer-6'")
    await import_from(database, store)

    def channels(conn: Connection) -> list[Any]:
        found = conn.execute(select(identities.c.external_id, identities.c.channel).order_by(identities.c.id))
        return [tuple(row) for row in found]

    expected = [("客户-0", "rest"), *((f"customer-{n}", "rest") for n in range(1, CONVERSATIONS))]
    expected[6] = ("customer-6", "socketio")
    assert await database.read(channels) == expected


async def test_a_store_of_postgresql_is_read_as_well(postgres_store: str, store: Path, tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'kefu.db'}")
    database.upgrade()
    report = await import_history(database, "labbot", postgres_store)
    assert (report.new, report.events) == (CONVERSATIONS, ROWS)
    assert await log(database, "customer-7") == rows_of(store, "customer-7")
    await database.close()


@pytest.fixture
def postgres_store(postgres_server: PostgresServer, store: Path) -> str:
    """The same rows in a table as Rasa makes it there."""
    url = new_postgres(postgres_server).replace("+psycopg", "")
    with psycopg.connect(url) as conn, closing(sqlite3.connect(store)) as source:
        conn.execute(
            "CREATE TABLE events (id serial PRIMARY KEY, sender_id varchar(255) NOT NULL, type_name varchar(255) NOT "
            "NULL, timestamp float, intent_name varchar(255), action_name varchar(255), data text)"
        )
        rows = source.execute("SELECT * FROM events").fetchall()
        with conn.cursor() as cursor:
            cursor.executemany("INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)
    return url


async def test_the_store_is_not_written_to(database: Database, store: Path) -> None:
    before = store.read_bytes()
    await import_from(database, store)
    assert store.read_bytes() == before
    assert [file.name for file in store.parent.glob("rasa.db*")] == ["rasa.db"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite:////nowhere/rasa.db", "there is no file /nowhere/rasa.db"),
        ("no url", "not a database URL"),
        ("klingon://x", "knows no database 'klingon'"),
        ("oracle://a:secret@x/y", "is not installed"),
    ],
)
async def test_a_store_that_cannot_be_opened_says_why_and_shows_no_password(
    tmp_path: Path, url: str, said: str
) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'kefu.db'}")
    with pytest.raises(ConfigurationError, match="--tracker-store") as raised:
        await import_history(database, "labbot", url)
    assert said in str(raised.value)
    assert "secret" not in str(raised.value)
    await database.close()


async def test_another_database_than_a_tracker_store_is_told_apart(database: Database, store: Path) -> None:
    change(store, "DROP TABLE events")
    with pytest.raises(ConfigurationError, match="Rasa tracker store"):
        await import_from(database, store)
