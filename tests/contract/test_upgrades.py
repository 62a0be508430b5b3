"""A database that any earlier revision filled is brought to this program's, read, and served from, on both databases.

`revisions/<number>.sql` has the rows that a server of that revision might have written into the tables it had then.
A revision without rows fails here: whoever adds a migration adds them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect

from bot.storage import asked, conversations, files, inbox, outbox, predictions, reminders, state
from bot.storage.database import Database
from bot.storage.schema import MIGRATIONS
from bot.storage.tables import metadata
from connectors.base import Ports
from tests.lab import Read, Reader, running

ROWS = Path(__file__).parent / "revisions"
REVISIONS = [script.revision for script in reversed([*ScriptDirectory(str(MIGRATIONS)).walk_revisions()])]
ANN_SAID = "I'm a gölden customer 🙂"


def fill(url: str, revision: str) -> None:
    """Make a database as it grew up to `revision`: each revision's tables, then what was written into them."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    engine = create_engine(url)
    for number in REVISIONS[: REVISIONS.index(revision) + 1]:
        with engine.begin() as conn:
            config.attributes["connection"] = conn
            command.upgrade(config, number)
            for statement in (ROWS / f"{number}.sql").read_text(encoding="utf-8").split(";\n"):
                if statement.strip():
                    conn.exec_driver_sql(statement)
    engine.dispose()


@pytest.fixture(params=REVISIONS)
def revision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def upgraded_url(empty_url: str, revision: str) -> str:
    """A database that was filled at an earlier revision, and upgraded by this program."""
    fill(empty_url, revision)
    database = Database.open(empty_url)
    assert database.is_current() == (revision == REVISIONS[-1])
    database.upgrade()
    assert database.is_current()
    database.dispose()
    return empty_url


def shape(conn: Connection) -> dict[str, Any]:
    """Everything the database itself says about its tables, in an order of its own."""
    found = inspect(conn)
    return {
        table: {
            "columns": [{**column, "type": str(column["type"])} for column in found.get_columns(table)],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": sorted(found.get_foreign_keys(table), key=str),
            "unique": sorted(found.get_unique_constraints(table), key=str),
            # Not by name: 0001 named its checks twice over (ck_inbox_ck_inbox_state), and nothing uses the names.
            "checks": sorted(check["sqltext"] for check in found.get_check_constraints(table)),
            "indexes": sorted(
                ({**index, "dialect_options": _where(index)} for index in found.get_indexes(table)), key=str
            ),
        }
        for table in found.get_table_names()
        if table != "alembic_version"
    }


def _where(index: Any) -> str:
    return str({name: str(value) for name, value in index.get("dialect_options", {}).items()})


def test_the_upgraded_schema_is_the_one_of_the_code(upgraded_url: str) -> None:
    engine = create_engine(upgraded_url)
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata) == []
        migrated = shape(conn)
    with engine.begin() as conn:  # alembic looks at no check, no key's name and at no index's condition
        metadata.drop_all(conn)
        metadata.create_all(conn)
        assert shape(conn) == migrated
    engine.dispose()


async def test_what_was_stored_is_read_as_before(upgraded_url: str, revision: str) -> None:
    database = Database.open(upgraded_url)

    def look(conn: Connection) -> dict[str, Any]:
        ann = conversations.find(conn, "labbot", "ann")
        assert ann is not None
        return {
            "status": (ann.status, ann.language, ann.last_seq, ann.event_seq, ann.created_at),
            "transcript": [(m.seq, m.author, m.body) for m in conversations.transcript(conn, "labbot", "ann", 0)],
            "events": [event["event"] for event in conversations.events(conn, "labbot", "ann")],
            "handoffs": [(one.sender_id, one.contact) for one in conversations.handoffs(conn, "labbot")],
            "undelivered": [(one.sender_id, one.state, one.error) for one in outbox.undelivered(conn, "labbot")],
            "labels": [(one.text, one.intent, one.labelled_by) for one in predictions.labels(conn, "labbot")],
            "waiting": inbox.waiting(conn, "labbot"),
            "state": state.get(conn, "labbot", "wechat cursor"),
        }

    stored = await database.read(look)
    assert stored == {
        "status": ("open", "en", 2, 7, datetime(2026, 1, 5, 9, tzinfo=UTC)),
        "transcript": [(1, "customer", {"text": ANN_SAID}), (2, "bot", {"text": "you are gold"})],
        "events": ["action", "session_started", "action", "user", "slot", "bot", "action"],
        "handoffs": [("telegram:7", "bob@example.com")],
        "undelivered": [("telegram:7", "dead", "403: blocked")],
        "labels": [(ANN_SAID, "say_tier", "eve")],
        "waiting": 1,
        "state": "c-42",
    }
    epoch = datetime.fromtimestamp(0, UTC)
    said = await database.read(lambda c: asked.reviewed(c, "labbot", epoch))
    assert [each.passages for each in said] == ([("en/tiers.md#gold",)] if revision >= "0004" else [])
    now = datetime.now(UTC)
    assert await database.read(lambda c: reminders.is_any_due(c, "labbot", now)) == (revision >= "0002")
    there = await database.read(lambda c: files.find(c, "labbot", "ann", ["f-there", "f-gone"]))
    assert [(file.name, file.size) for file in there] == ([("Lampe für 🙂.png", 67)] if revision >= "0003" else [])
    assert await database.write(lambda c: state.lease(c, "labbot", "wechat token", "box:4712", 5, now))
    await database.close()


async def test_its_customers_are_served(upgraded_url: str, revision: str, tmp_path: Path) -> None:
    reader = Reader({"what am I?": Read(intent="say_tier")})
    async with running(tmp_path / "home", reader=reader, database_url=upgraded_url) as lab:
        assert await lab.say("what am I?", "ann") == ["you are gold"]
        assert await lab.say("what am I?", "somebody new") == ["tier noted: None"]
        left_over = await lab.platform.ports.wait_for_reply(3, 20)
        assert [message.body["text"] for message in left_over or ()] == ["bye"]
        log = await lab.platform.ports.transcript("ann", 0)
        assert [(entry.seq, entry.author) for entry in log] == [
            (1, "customer"),
            (2, "bot"),
            (3, "customer"),
            (4, "bot"),
        ]
        if revision >= "0002":
            assert await newest(lab.platform.ports, "telegram:7", after_seq=3) == {"text": "reminder fired"}


async def newest(ports: Ports, sender_id: str, after_seq: int) -> Mapping[str, Any]:
    """The body of the entry after `after_seq`, once it is there."""
    news = asyncio.Event()
    unsubscribe = ports.subscribe(sender_id, lambda _: news.set())
    async with asyncio.timeout(30):
        while not (entries := await ports.transcript(sender_id, after_seq)):
            await news.wait()
            news.clear()
    unsubscribe()
    return entries[0].body
