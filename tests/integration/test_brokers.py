"""Events reach the company's systems: signed, in order, at least once, through failures and restarts of either side."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, select

from bot import brokers
from bot.app import Platform, build_app, load_bot
from bot.brokers import BrokerAway, EventsRefused, Publisher, Webhook, sink_of
from bot.errors import ConfigurationError
from bot.settings import load_settings
from bot.storage import event_feed, inbox
from bot.storage.database import Database
from bot.storage.event_feed import Due, Numbered
from bot.storage.tables import channel_state
from models.base import ModelUnavailable, Understanding
from tests.contract.turns import SHOP, accept, at, claim, events, turn
from tests.server import database_of

SECRET = b"between us"


@dataclass(kw_only=True)
class Receiver:
    """What a company's endpoint got; `answers` are used up first, then every batch is taken."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    taken: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append(body)
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            status = found.answers.pop(0) if found.answers else 200
            if status == 200:
                found.taken += json.loads(body)["events"]
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing on the console."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/events"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    opened = database_of(tmp_path)
    yield opened
    await opened.close()


async def talk(db: Database, sender: str, number: int, *names: str) -> None:
    """One message of the sender with its turn, which logs events of these names."""
    await db.write(lambda c: accept(c, f"{sender} {number}", sender=sender, now=at(number)))
    [held] = await db.write(lambda c: claim(c, at(number)))
    await db.write(lambda c: inbox.finish(c, held, turn(held, events=events(*names)), at(number)))


@asynccontextmanager
async def publishing(db: Database, sink: brokers.Sink, holder: str = "p1") -> AsyncIterator[Publisher]:
    publisher = Publisher(db, SHOP, sink, holder, clock=lambda: at(60), poll_s=0.01)
    running = asyncio.create_task(publisher.run())
    yield publisher
    publisher.stop()
    await asyncio.wait_for(running, 5)


async def until(condition: Any, timeout_s: float = 5.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


def named(receiver: Receiver, sender: str) -> list[str]:
    return [event["name"] for event in receiver.taken if event["sender_id"] == sender]


async def began(db: Database) -> None:
    """As after the first start of a server with a broker: what comes now is published."""
    await db.write(lambda c: event_feed.begin(c, SHOP, at(0)))


async def test_a_batch_is_rasas_events_signed(receiver: Receiver) -> None:
    one = Due(conversation_id=12, sender_id="anné", cursor=6, event_seq=8)
    sink = Webhook(receiver.url, SECRET, now=lambda: 1_795_479_224.9)
    await sink.publish(one, [Numbered(seq=7, body={"event": "action", "name": "utter_greet", "timestamp": 1.5})])
    await sink.close()
    [body], [headers] = receiver.bodies, receiver.headers
    assert json.loads(body) == {
        "sender_id": "anné",
        "events": [
            {"event_id": "12-7", "sender_id": "anné", "event": "action", "name": "utter_greet", "timestamp": 1.5}
        ],
    }
    assert headers["kefu-timestamp"] == "1795479224"
    expected = hmac.new(SECRET, b"1795479224." + body, hashlib.sha256).hexdigest()
    assert headers["kefu-signature"] == f"v1={expected}"


async def test_what_is_stored_is_published_in_order(db: Database, receiver: Receiver) -> None:
    async with publishing(db, Webhook(receiver.url, SECRET)):
        for number in range(5):
            for sender in ("ann", "bob", "eve"):
                await talk(db, sender, number, f"{number}a", f"{number}b")
        await until(lambda: len(receiver.taken) == 30)
    for sender in ("ann", "bob", "eve"):
        assert named(receiver, sender) == [f"{number}{part}" for number in range(5) for part in "ab"]
    assert len({event["event_id"] for event in receiver.taken}) == 30


async def test_more_events_than_one_batch_holds(db: Database, receiver: Receiver) -> None:
    await began(db)
    await talk(db, "ann", 1, *(str(number) for number in range(250)))
    async with publishing(db, Webhook(receiver.url, SECRET)):
        await until(lambda: len(receiver.taken) == 250)
    assert named(receiver, "ann") == [str(number) for number in range(250)]
    assert len(receiver.bodies) == 3


async def test_a_receiver_that_is_away_gets_everything_later_in_order(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "LONGEST_PAUSE_S", 0.02)
    receiver.answers = [503, 429, 500]
    await began(db)
    await talk(db, "ann", 1, "a", "b")
    async with publishing(db, Webhook(receiver.url, SECRET)):
        await talk(db, "ann", 2, "c")
        await until(lambda: len(receiver.taken) >= 3)
    assert named(receiver, "ann") == ["a", "b", "c"]


async def test_a_batch_that_is_refused_holds_up_its_own_conversation_alone(
    db: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await began(db)
    await talk(db, "ann", 1, "poison")
    await talk(db, "bob", 2, "b")
    receiver.answers = [400]
    monkeypatch.setattr(brokers, "AT_ONCE", 1)
    async with publishing(db, Webhook(receiver.url, SECRET)):
        await until(lambda: named(receiver, "bob") == ["b"])
        assert named(receiver, "ann") == []
        await talk(db, "ann", 3, "after")
        await until(lambda: len(named(receiver, "ann")) == 2)
    assert named(receiver, "ann") == ["poison", "after"]  # tried again two seconds later, nothing left out


async def test_a_publisher_that_dies_after_the_receiver_had_it_sends_it_again(db: Database, receiver: Receiver) -> None:
    """At least once: between the receiver's answer and the cursor there is always a moment."""
    await began(db)
    await talk(db, "ann", 1, "a")
    sink = Webhook(receiver.url, SECRET)

    class Dies:
        async def publish(self, one: Due, events: list[Numbered]) -> None:
            await sink.publish(one, events)
            raise asyncio.CancelledError

        async def close(self) -> None: ...

    with suppress(asyncio.CancelledError):
        await Publisher(db, SHOP, Dies(), "p1").publish_due()  # type: ignore[arg-type]
    assert named(receiver, "ann") == ["a"]
    async with publishing(db, sink):
        await until(lambda: len(receiver.taken) == 2)
    assert [event["event_id"] for event in receiver.taken] == [receiver.taken[0]["event_id"]] * 2


async def test_a_second_process_waits_and_takes_over(db: Database, receiver: Receiver) -> None:
    await began(db)
    first = Publisher(db, SHOP, Webhook(receiver.url, SECRET), "p1", clock=lambda: at(60), poll_s=0.01)
    running = asyncio.create_task(first.run())
    await talk(db, "ann", 1, "a")
    await until(lambda: len(receiver.taken) == 1)
    async with publishing(db, Webhook(receiver.url, SECRET), "p2"):
        await talk(db, "ann", 2, "b")
        await until(lambda: len(receiver.taken) == 2)
        first.stop()
        await running
        await talk(db, "ann", 3, "c")
        await until(lambda: len(receiver.taken) == 3)
    assert named(receiver, "ann") == ["a", "b", "c"]


async def test_a_server_that_was_down_for_long_looks_at_everything(db: Database, receiver: Receiver) -> None:
    """What is due since long before the last few minutes counts as well: a fresh start asks for no date."""
    await began(db)
    await talk(db, "ann", -10_000_000, "old")
    async with publishing(db, Webhook(receiver.url, SECRET)):
        await until(lambda: named(receiver, "ann") == ["old"])


# ---- Rasa's SQL broker ----


def rows(file: Path) -> list[tuple[int, str, dict[str, Any]]]:
    with sqlite3.connect(file) as conn:
        return [(n, sender, json.loads(data)) for n, sender, data in conn.execute("SELECT * FROM events ORDER BY id")]


async def noted(db: Database, seq: int) -> None:
    """Return once the cursor of the only conversation stands there: the sink has returned by then."""
    async with asyncio.timeout(5):
        while seq not in await db.read(_cursors):
            await asyncio.sleep(0.005)


def _cursors(conn: Connection) -> list[int]:
    return [int(value) for value in conn.execute(select(channel_state.c.value)).scalars()]


async def test_rasas_table_gets_rasas_rows(db: Database, tmp_path: Path) -> None:
    settings = {"event_broker": {"type": "sql", "dialect": "sqlite", "db": "feed.db"}}
    sink = sink_of(settings, tmp_path, str(db.url), {})
    assert sink is not None
    await began(db)
    await talk(db, "ann", 1, "a", "b")
    async with publishing(db, sink):
        await noted(db, 2)
    assert rows(tmp_path / "feed.db") == [
        (1, "ann", {"sender_id": "ann", "event": "action", "name": "a", "timestamp": 1.5}),
        (2, "ann", {"sender_id": "ann", "event": "action", "name": "b", "timestamp": 2.5}),
    ]


async def test_a_table_that_cannot_be_written_is_away_not_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and a folder's name besides")
    settings = {"event_broker": {"type": "sql", "db": "file/feed.db"}}
    sink = sink_of(settings, tmp_path, "sqlite:////elsewhere/kefu.db", {})
    assert sink is not None
    with pytest.raises(BrokerAway):
        await sink.publish(Due(conversation_id=1, sender_id="a", cursor=None, event_seq=1), [Numbered(seq=1, body={})])


# ---- settings ----


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "webhook", "url": "http://x"}, "`secret` is missing"),
        ({"type": "webhook", "secret": "x"}, "`url` is missing"),
        ({"type": "pika", "url": "localhost", "password": "x"}, "`username` is missing"),
        ({"type": "kafka"}, "`url` is missing"),
        ({"type": "sql", "db": "kefu.db"}, "Kefu's own database"),
        ({"type": "sql", "url": "nonsense://"}, "cannot be used"),
        ({"type": "sql", "url": "db:port"}, "make no database URL"),
        ({"type": "sql", "dialect": "oracle+nothing", "url": "db"}, "cannot be used"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s)endpoints.yml, event_broker.*{message}"):
        sink_of({"event_broker": settings}, tmp_path, f"sqlite:///{tmp_path / 'kefu.db'}", {})


def test_without_a_broker_of_ours_there_is_no_sink(tmp_path: Path) -> None:
    for endpoints in ({}, {"event_broker": None}, {"event_broker": {"type": "my.own.Broker"}}):
        assert sink_of(endpoints, tmp_path, "sqlite:////x/kefu.db", {}) is None


# ---- a live RabbitMQ: KEFU_TEST_RABBITMQ=amqp://guest:guest@127.0.0.1:5672 ----

RABBITMQ = os.environ.get("KEFU_TEST_RABBITMQ")


@pytest.mark.skipif(not RABBITMQ, reason="KEFU_TEST_RABBITMQ names no server")
async def test_a_live_rabbitmq_has_what_rasa_would_have_put_there(db: Database, tmp_path: Path) -> None:
    aio_pika = pytest.importorskip("aio_pika")

    queue_name = f"kefu-{os.getpid()}"
    settings = {"type": "pika", "url": RABBITMQ, "username": "guest", "password": "guest", "queues": [queue_name]}
    settings["exchange_name"] = queue_name
    sink = sink_of({"event_broker": settings}, tmp_path, "sqlite:////x/kefu.db", {"RASA_ENVIRONMENT": "tests"})
    assert sink is not None
    await began(db)
    await talk(db, "ann", 1, "a", "b")
    connection = await aio_pika.connect(RABBITMQ)
    async with connection, publishing(db, sink):
        channel = await connection.channel()
        queue = await channel.declare_queue(queue_name, durable=True)
        got: list[Any] = []
        async with asyncio.timeout(10):
            while len(got) < 2:
                if message := await queue.get(fail=False, no_ack=True):
                    got.append(message)
                await asyncio.sleep(0.01)
        await channel.queue_delete(queue_name)
        await channel.exchange_delete(queue_name)
    assert [json.loads(message.body)["name"] for message in got] == ["a", "b"]
    assert json.loads(got[0].body) == {"sender_id": "ann", "event": "action", "name": "a", "timestamp": 1.5}
    assert {(message.app_id, int(message.delivery_mode or 0)) for message in got} == {("tests", 2)}


@pytest.mark.parametrize("kind", ["pika", "kafka"])
async def test_a_server_that_is_away_raises_that_it_is_away(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"pika": "aio_pika", "kafka": "aiokafka"}[kind])
    monkeypatch.setattr(brokers, "TIMEOUT_S", 2.0)
    settings = {"type": kind, "url": "127.0.0.1:9", "username": "u", "password": "p", "security_protocol": "PLAINTEXT"}
    sink = sink_of({"event_broker": settings}, tmp_path, "sqlite:////x/kefu.db", {})
    assert sink is not None
    with pytest.raises(BrokerAway):
        await sink.publish(Due(conversation_id=1, sender_id="a", cursor=None, event_seq=1), [Numbered(seq=1, body={})])
    await sink.close()


async def test_a_refusal_is_no_absence(receiver: Receiver) -> None:
    receiver.answers = [410]
    sink = Webhook(receiver.url, SECRET)
    with pytest.raises(EventsRefused):
        await sink.publish(Due(conversation_id=1, sender_id="a", cursor=None, event_seq=1), [Numbered(seq=1, body={})])
    await sink.close()


FILES = {
    "domain.yml": "intents: [greet]\nresponses:\n  utter_greet: [{text: Hello!}]\n",
    "data/rules.yml": "rules:\n- rule: hello\n  steps: [{intent: greet}, {action: utter_greet}]\n",
    "brand.yml": "disclosure: {enabled: false}\n",
    "endpoints.yml": "event_broker:\n  type: webhook\n  url: ${KEFU_TEST_RECEIVER}\n  secret: between us\n",
}


async def test_what_a_server_answers_reaches_the_broker_of_endpoints_yml(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in FILES.items():
        (tmp_path / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bot" / name).write_text(text)
    monkeypatch.setenv("KEFU_TEST_RECEIVER", receiver.url)
    settings = load_settings(home=tmp_path / "home")
    platform = Platform.build(settings, load_bot(tmp_path / "bot", settings), understander=Deaf())
    await platform.start()
    http = httpx.AsyncClient(transport=httpx.ASGITransport(build_app(platform)), base_url="http://shop")
    async with http:
        for number in range(3):
            body = {"sender": "ann", "message": "/greet", "metadata": {"number": number}}
            assert (await http.post("/webhooks/rest/webhook", json=body)).json()[0]["text"] == "Hello!"
    await until(lambda: len([e for e in receiver.taken if e["event"] == "user"]) == 3)
    await platform.stop()
    kinds = [event["event"] for event in receiver.taken]
    assert kinds[-5:] == ["user", "user_featurization", "action", "bot", "action"]
    assert [e["metadata"]["number"] for e in receiver.taken if e["event"] == "user"] == [0, 1, 2]
    assert [event["event_id"].split("-")[1] for event in receiver.taken] == [str(n + 1) for n in range(len(kinds))]


class Deaf:
    """No message of these tests needs a model."""

    version = "deaf"

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        raise ModelUnavailable
