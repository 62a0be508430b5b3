"""What holds when processes die and transactions collide: acknowledged means stored, and a wake-up is only a hint."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text, update

from bot.errors import StorageError
from bot.storage import conversations, inbox
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.ports import SqlPorts, listen
from bot.storage.tables import channel_state
from bot.storage.tables import inbox as inbox_rows
from connectors.base import StateChange
from tests.contract.conftest import migrated_url
from tests.contract.turns import SHOP, accept, advance, at, claim, finish, message
from tests.postgres import PostgresServer, new_postgres

WRITER = """
import asyncio, sys
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.ports import SqlPorts
from tests.contract.turns import SHOP, message

async def customer(ports, name):
    for number in range(100_000):
        await ports.receive([message(f"{name} {number}", name)])
        print(name, number, flush=True)

async def main():
    ports = SqlPorts(Database.open(sys.argv[1]), Hub(), SHOP)
    await asyncio.gather(*(customer(ports, f"s{number}") for number in range(8)))

asyncio.run(main())
"""


def start(database: Database, number: int, *keys: str) -> asyncio.Task[object]:
    return asyncio.create_task(database.write(lambda conn: accept(conn, *keys, sender=f"s{number}")))


@pytest.mark.parametrize("acknowledged", [60, 250])
async def test_what_was_acknowledged_before_a_kill_is_there(database_url: str, acknowledged: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, database_url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline() for _ in range(acknowledged)]
    writer.kill()
    lines += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait()
    database = Database.open(database_url)
    stored = await database.read(lambda conn: set(conn.execute(select(inbox_rows.c.text)).scalars()))
    assert {line.strip() for line in lines} <= stored
    for number in range(8):
        entries = await database.read(lambda conn, n=number: conversations.transcript(conn, SHOP, f"s{n}", 0, 9999))
        assert [entry.body["text"] for entry in entries] == [f"s{number} {n}" for n in range(len(entries))]
    claims = await database.write(lambda conn: claim(conn, at(10**9), limit=100))
    assert sorted(held.message.text for held in claims) == [f"s{number} 0" for number in range(8)]
    await database.close()


@pytest.fixture
def own_server(postgres_server: PostgresServer) -> tuple[PostgresServer, str]:
    url = new_postgres(postgres_server)
    database = Database.open(url)
    database.upgrade()
    database.dispose()
    return postgres_server, url


async def test_a_database_that_cannot_be_reached_is_named_and_asked_again_later(tmp_path: Path) -> None:
    """Both calls must come back with an error a route can answer, and work once the cause is gone."""
    (tmp_path / "kefu.db").mkdir()
    database = Database.open(f"sqlite:///{tmp_path / 'kefu.db'}")
    for call in (database.write, database.read):
        with pytest.raises(StorageError, match="unable to open"):
            await call(lambda conn: inbox.waiting(conn, SHOP))
    (tmp_path / "kefu.db").rmdir()
    database.upgrade()
    assert await database.write(lambda conn: inbox.waiting(conn, SHOP)) == 0
    assert await database.read(lambda conn: inbox.waiting(conn, SHOP)) == 0
    await database.close()


LOSSES = {
    "SQLite undoes the group in the middle": ["ROLLBACK", "not SQL"],
    "the COMMIT is refused": [
        "PRAGMA defer_foreign_keys = ON",
        "INSERT INTO snapshots (conversation_id, customer_id, event_seq, body) VALUES (999, 999, 1, '{}')",
    ],
}


@pytest.mark.parametrize("statements", LOSSES.values(), ids=LOSSES.keys())
async def test_a_lost_group_fails_for_everyone_in_it_and_the_next_is_stored(
    request: pytest.FixtureRequest, tmp_path: Path, statements: list[str]
) -> None:
    database = Database.open(migrated_url(request, "sqlite", tmp_path))
    others_are_queued = threading.Event()

    def hold_the_writer(conn: Connection) -> None:
        assert others_are_queued.wait(20)

    def lose(conn: Connection) -> None:
        for statement in statements:
            conn.exec_driver_sql(statement)

    first = asyncio.create_task(database.write(hold_the_writer))
    await asyncio.sleep(0)
    group = [start(database, 1, "1"), asyncio.create_task(database.write(lose)), start(database, 2, "2")]
    await asyncio.sleep(0)
    others_are_queued.set()
    await asyncio.gather(first, return_exceptions=True)
    outcomes = await asyncio.gather(*group, return_exceptions=True)
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [True] * 3
    await database.write(lambda conn: accept(conn, "3"))
    assert await database.read(lambda conn: inbox.waiting(conn, SHOP)) == 1
    await database.close()


@pytest.mark.postgres
async def test_a_postgresql_that_is_away_is_a_storage_error() -> None:
    database = Database.open("postgresql+psycopg://kefu@127.0.0.1:1/kefu")
    for call in (database.write, database.read):
        with pytest.raises(StorageError, match="refused"):
            await call(lambda conn: inbox.waiting(conn, SHOP))
    await database.close()


@pytest.mark.postgres
async def test_a_database_restart_costs_nobody_an_acknowledged_message(own_server: tuple[PostgresServer, str]) -> None:
    server, url = own_server
    database = Database.open(url)
    await asyncio.gather(*(database.write(lambda conn, n=n: accept(conn, f"{n}", sender=f"s{n}")) for n in range(16)))
    await asyncio.get_running_loop().run_in_executor(None, server.restart)
    repeated, later = await database.write(lambda conn: accept(conn, "0", "later", sender="s0"))
    assert (repeated.is_duplicate, later.is_duplicate) == (True, False)
    assert await database.read(lambda conn: inbox.waiting(conn, SHOP)) == 17
    await database.close()


async def test_a_deadlock_is_tried_again(database: Database) -> None:
    """On SQLite there is one writer, so there is none; both functions must be done all the same."""
    both_hold_one = threading.Barrier(2)
    is_first = {"ab": True, "ba": True}
    changes = [StateChange(key=key, value="0") for key in "ab"]
    await SqlPorts(database, Hub(), SHOP).receive([], changes)

    def add(order: str) -> None:
        def fn(conn: Connection) -> None:
            for key in order:
                mine = channel_state.c.key == key
                conn.execute(update(channel_state).where(mine).values(value=channel_state.c.value + order))
                if is_first[order] and database.dialect == "postgresql":
                    is_first[order] = False
                    both_hold_one.wait(10)

        return fn

    await asyncio.gather(database.write(add("ab")), database.write(add("ba")))
    values = await database.read(lambda conn: list(conn.execute(select(channel_state.c.value)).scalars()))
    assert set(values) <= {"0abba", "0baab"}


@pytest.mark.postgres
async def test_a_message_accepted_while_a_turn_ends_is_claimed_next(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """finish waits for accept's row lock, and must then see the message that accept added."""
    database = Database.open(migrated_url(request, "postgresql", tmp_path))
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    finish_waits = threading.Event()

    def accept_slowly(conn: Connection) -> None:
        accept(conn, "a2")
        accepted.set()
        assert finish_waits.wait(20)

    def ends(conn: Connection) -> None:
        finish(conn, held, "to a1")

    def someone_waits_for_a_lock(conn: Connection) -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(conn.execute(text(waiting)).scalar_one())

    accepted = threading.Event()
    accepting = asyncio.create_task(database.write(accept_slowly))
    await asyncio.get_running_loop().run_in_executor(None, accepted.wait, 20)
    ending = asyncio.create_task(database.write(ends))
    while not await database.read(someone_waits_for_a_lock):
        assert not ending.done()
    finish_waits.set()
    await asyncio.gather(accepting, ending)
    assert [one.message.text for one in await database.write(claim)] == ["a2"]
    await database.close()


async def test_a_second_process_answers_what_the_first_accepted(database: Database, database_url: str) -> None:
    """Two hubs that share nothing but the database, as web and worker processes do."""
    web, worker = Hub(), Hub()
    other = Database.open(database_url)
    listeners = [listen(database, web, SHOP), listen(other, worker, SHOP)]
    ports = SqlPorts(database, web, SHOP)
    news: list[str] = []
    ports.subscribe("ann", news.append)
    if database.dialect == "postgresql":
        await asyncio.gather(web.wait_inbound(0, 20), worker.wait_inbound(0, 20))  # they listen
    ticket = worker.ticket()
    (receipt,) = await ports.receive([message("a1")])
    if database.dialect == "postgresql":
        await worker.wait_inbound(ticket, 20)
        assert worker.ticket() > ticket
    waiter = asyncio.create_task(ports.wait_for_reply(receipt.inbound_id, 20))
    (held,) = await other.write(lambda conn: claim(conn, at(10**9)))
    said = await other.write(lambda conn: finish(conn, held, "to a1"))
    worker.turn_finished(held.inbound_id, held.sender_id, said)
    assert await waiter == said
    assert news[0] == "message"
    for listener in filter(None, listeners):
        listener.stop()
    await other.close()


async def test_who_watches_in_one_process_is_told_of_a_part_that_another_says(
    database: Database, database_url: str
) -> None:
    web, worker, other = Hub(), Hub(), Database.open(database_url)
    listener = listen(database, web if database.dialect == "postgresql" else worker, SHOP)
    told = asyncio.Event()
    watched = web if database.dialect == "postgresql" else worker
    if database.dialect == "postgresql":
        await web.wait_inbound(0, 20)  # it listens
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await other.write(claim)
    watched.subscribe("ann", lambda news: told.set() if news == "message" else None)
    held = await other.write(lambda conn: advance(conn, held, "one"))
    worker.part_said(held.sender_id)
    await asyncio.wait_for(told.wait(), 20)
    if listener:
        listener.stop()
    await other.close()


async def test_no_wake_up_is_lost_between_claiming_and_waiting() -> None:
    hub = Hub()
    ticket = hub.ticket()
    hub.inbound_arrived()
    await asyncio.wait_for(hub.wait_inbound(ticket, 60), 5)
    waiting = asyncio.create_task(hub.wait_inbound(hub.ticket(), 60))
    await asyncio.sleep(0)
    hub.inbound_arrived()
    await asyncio.wait_for(waiting, 5)


async def test_work_of_a_cancelled_caller_is_whole(database: Database) -> None:
    calls = [start(database, number, f"{number} a", f"{number} b") for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await database.write(lambda conn: None)
    for number in range(20):
        stored = await database.read(lambda conn, n=number: conversations.last_seq(conn, SHOP, f"s{n}"))
        assert stored == 2 or (stored == 0 and number % 2 == 0)


async def test_closing_waits_for_what_is_queued(database_url: str) -> None:
    database = Database.open(database_url)
    writes = [start(database, number, f"{number}") for number in range(30)]
    await asyncio.sleep(0)
    await database.close()
    assert len(await asyncio.gather(*writes)) == 30
    again = Database.open(database_url)
    assert await again.read(lambda conn: inbox.waiting(conn, SHOP)) == 30
    await again.close()
