"""Events to the company's other systems: `event_broker` of endpoints.yml (Rasa's kinds, and a signed webhook).

Which events are due is `bot/storage/event_feed.py`'s. Invariants: an event is published after the commit that stored it
and at least once, whatever ends in between; those of one conversation in their order, by one process at a time; what a
broker does or fails to do never delays a customer's answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import importlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx

from bot.errors import ConfigurationError, KefuError
from bot.storage import event_feed
from bot.storage.database import Database
from bot.storage.event_feed import Due, Numbered
from bot.storage.event_table import EventTable, table_url

log = logging.getLogger("kefu.broker")

POLL_S = 0.5
LEASE_S = 30.0  # longer than one batch; a dead publisher's successor waits at most this
BATCH = 100  # events of one conversation in one go
CONVERSATIONS = 100  # of one look at the database
AT_ONCE = 8  # conversations published beside each other
TIMEOUT_S = 10.0
LONGEST_PAUSE_S = 60.0
# A conversation's time stamp is set before its commit, by the clock of any machine: look that far back.
SLACK = timedelta(minutes=5)
LOOK_AT_ALL_S = 3600.0


class BrokerAway(KefuError):
    """The broker cannot be reached; everything waits."""


class EventsRefused(KefuError):
    """The broker does not take these events; their conversation waits, the others go on."""


class Sink(Protocol):
    """Where events go. One batch is of one conversation, in order."""

    async def publish(self, one: Due, events: Sequence[Numbered]) -> None:
        """Return once the broker has them. Raises BrokerAway or EventsRefused."""
        ...

    async def close(self) -> None: ...


class Publisher:
    """Feeds one sink until stopped; several processes may run one, one of them works."""

    def __init__(
        self,
        db: Database,
        assistant_id: str,
        sink: Sink,
        holder: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        poll_s: float = POLL_S,
    ) -> None:
        self._db, self._assistant_id, self._sink, self._holder = db, assistant_id, sink, holder
        self._clock, self._poll_s = clock, poll_s
        self._stopping = asyncio.Event()
        self._since: datetime | None = None
        self._looked_at_all = -float("inf")
        self._held_until = -float("inf")
        self._failures = 0
        self._refused: dict[int, tuple[int, float]] = {}  # conversation → refusals in a row, and when to try again

    async def run(self) -> None:
        """Publish what is due, then wait for more."""
        begun = False
        while not self._stopping.is_set():
            pause_s = self._poll_s
            try:
                if not begun:
                    await self._db.write(lambda c: event_feed.begin(c, self._assistant_id, self._clock()))
                    begun = True
                if await self._holds() and await self.publish_due():
                    pause_s = 0.0
                self._failures = 0
            except BrokerAway as error:
                pause_s = self._backoff()
                log.warning("broker.away", extra={"problem": str(error), "retry_in_s": pause_s})
            except Exception:  # the database's restart must not end the feed
                pause_s = self._backoff()
                log.exception("broker.failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
        await self._let_go()

    def stop(self) -> None:
        self._stopping.set()

    async def publish_due(self) -> int:
        """Publish a batch of each due conversation; how many there were. Raises BrokerAway."""
        started, now = self._clock(), time.monotonic()
        if now - self._looked_at_all > LOOK_AT_ALL_S:
            self._since = None
        held = {number for number, (_, until) in self._refused.items() if until > now}
        limit = CONVERSATIONS + len(held)
        found = await self._db.read(lambda c: event_feed.due(c, self._assistant_id, self._since, limit))
        todo = [one for one in found if one.conversation_id not in held]
        gate = asyncio.Semaphore(AT_ONCE)
        outcomes = await asyncio.gather(*(self._one(one, gate) for one in todo), return_exceptions=True)
        for error in outcomes:
            if isinstance(error, BaseException):
                raise error
        if not found:
            if self._since is None:
                self._looked_at_all = now
            self._since = started - SLACK
        return len(todo)

    async def _one(self, one: Due, gate: asyncio.Semaphore) -> None:
        async with gate:
            if not await self._holds():
                return
            events = await self._db.read(lambda c: event_feed.unpublished(c, one, BATCH))
            if events:
                try:
                    await self._sink.publish(one, events)
                except EventsRefused as error:
                    self._put_off(one, events, str(error))
                    return
            self._refused.pop(one.conversation_id, None)
            last = events[-1].seq if events else one.event_seq
            await self._db.write(lambda c: event_feed.advance(c, self._assistant_id, one, last, self._clock()))

    def _put_off(self, one: Due, events: Sequence[Numbered], problem: str) -> None:
        count = self._refused.get(one.conversation_id, (0, 0.0))[0] + 1
        wait_s = min(5 * LONGEST_PAUSE_S, 2.0 ** min(count, 10))
        self._refused[one.conversation_id] = (count, time.monotonic() + wait_s)
        where = {"sender_id": one.sender_id, "from_event": events[0].seq, "to_event": events[-1].seq}
        log.error("broker.refused", extra={"problem": problem, "retry_in_s": wait_s, **where})

    def _backoff(self) -> float:
        self._failures += 1
        return min(LONGEST_PAUSE_S, 2.0 ** min(self._failures - 1, 10))

    async def _holds(self) -> bool:
        """Whether this process publishes; renewed when a third of the lease is over."""
        now = time.monotonic()
        if now < self._held_until - LEASE_S * 2 / 3:
            return True
        is_ours = await self._db.write(
            lambda c: event_feed.holds(c, self._assistant_id, self._holder, LEASE_S, self._clock())
        )
        self._held_until = now + LEASE_S if is_ours else -float("inf")
        return is_ours

    async def _let_go(self) -> None:
        if self._held_until > 0:
            with suppress(Exception):  # the lease runs out by itself
                await self._db.write(lambda c: event_feed.holds(c, self._assistant_id, self._holder, 0, self._clock()))
        await self._sink.close()


def sink_of(endpoints: Mapping[str, Any], root: Path, database: str, variables: Mapping[str, str]) -> Sink | None:
    """What `event_broker` of endpoints.yml names; None where nothing does, or a kind that `kefu validate` warns of.

    Args:
        root: the assistant's folder, which a SQLite file is relative to.
        database: the URL of Kefu's own database.
        variables: the environment, for RASA_ENVIRONMENT, which Rasa's messages carry.
    Raises:
        ConfigurationError: a setting is missing or wrong, or a library is not installed.
    """
    settings = endpoints.get("event_broker")
    if not isinstance(settings, Mapping):
        return None
    environment = variables.get("RASA_ENVIRONMENT")
    match str(settings.get("type") or "pika").lower():
        case "webhook":
            return Webhook(_needed(settings, "url"), _needed(settings, "secret").encode())
        case "sql":
            return SqlTable(EventTable(table_url(settings, root, database)))
        case "kafka":
            return Kafka(settings, environment or "RASA_ENVIRONMENT_NOT_SET")
        case "pika":
            return RabbitMq(settings, environment)
        case _:
            return None


def _needed(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name)
    if not value:
        raise ConfigurationError(f"endpoints.yml, event_broker: `{name}` is missing")
    return str(value)


def _library(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"endpoints.yml, event_broker: it needs the library {module}; pip install 'kefu[{extra}]'"
        ) from error


def body_of(one: Due, event: Numbered) -> dict[str, Any]:
    """An event as Rasa publishes it: its JSON with the conversation's `sender_id`."""
    return {"sender_id": one.sender_id, **event.body}


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


# ---- webhook ----


class Webhook:
    """A signed POST for each batch; the receiver answers 2xx once it has it.

    The body is `{"sender_id", "events": [{"event_id", …}]}`. `Kefu-Signature: v1=…` is the HMAC-SHA256, in hex, of
    `Kefu-Timestamp`, a full stop and the body. A batch may come twice: `event_id` tells.
    """

    def __init__(self, url: str, secret: bytes, *, now: Callable[[], float] = time.time) -> None:
        self._url, self._secret, self._now = url, secret, now
        self._client = httpx.AsyncClient(timeout=TIMEOUT_S)

    async def publish(self, one: Due, events: Sequence[Numbered]) -> None:
        numbered = [{"event_id": f"{one.conversation_id}-{event.seq}", **body_of(one, event)} for event in events]
        body = _encoded({"sender_id": one.sender_id, "events": numbered})
        stamp = str(int(self._now()))
        headers = {
            "Content-Type": "application/json",
            "Kefu-Timestamp": stamp,
            "Kefu-Signature": f"v1={signature(self._secret, stamp, body)}",
        }
        try:
            answer = await self._client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BrokerAway(f"{self._url}: {error or type(error).__name__}") from error
        if answer.is_success:
            return
        is_passing = answer.status_code >= 500 or answer.status_code in (408, 425, 429)
        problem = f"{self._url} answered {answer.status_code}"
        raise BrokerAway(problem) if is_passing else EventsRefused(problem)

    async def close(self) -> None:
        await self._client.aclose()


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """What a receiver computes, to compare it in constant time with the header's, and refuses where it differs."""
    return hmac.new(secret, f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


# ---- Rasa's kinds ----


class SqlTable:
    """`type: sql`: rows of Rasa's own table `events`."""

    def __init__(self, table: EventTable) -> None:
        self._table = table

    async def publish(self, one: Due, events: Sequence[Numbered]) -> None:
        bodies = [body_of(one, event) for event in events]
        try:
            await asyncio.to_thread(self._table.add, one.sender_id, bodies)
        except Exception as error:  # whatever the driver raises, the rows are not there
            raise BrokerAway(f"the events' database refused: {type(error).__name__}") from error

    async def close(self) -> None:
        await asyncio.to_thread(self._table.close)


class Kafka:
    """`type: kafka`, with Rasa's settings. Connects with the first batch, and again after a failure."""

    def __init__(self, settings: Mapping[str, Any], environment: str) -> None:
        self._library = _library("aiokafka", "kafka")
        self._topic = str(settings.get("topic") or "rasa_core_events")
        self._is_partitioned = bool(settings.get("partition_by_sender", False))
        self._options = self._producer_options(settings)
        self._headers = [("RASA_ENVIRONMENT", environment.encode())]
        self._producer: Any = None

    def _producer_options(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        protocol = str(settings.get("security_protocol") or "SASL_PLAINTEXT").upper()
        # acks of all replicas, and no copy in another place of the order after a retry
        options: dict[str, Any] = {"acks": "all", "enable_idempotence": True, "security_protocol": protocol}
        options["bootstrap_servers"] = settings.get("url") or _needed(settings, "url")
        if settings.get("client_id"):
            options["client_id"] = str(settings["client_id"])
        if protocol.startswith("SASL"):
            options["sasl_mechanism"] = str(settings.get("sasl_mechanism") or "PLAIN")
            options["sasl_plain_username"] = settings.get("sasl_username")
            options["sasl_plain_password"] = settings.get("sasl_password")
        if protocol.endswith("SSL"):
            context = _library("aiokafka.helpers", "kafka").create_ssl_context(
                cafile=settings.get("ssl_cafile"),
                certfile=settings.get("ssl_certfile"),
                keyfile=settings.get("ssl_keyfile"),
            )
            context.check_hostname = bool(settings.get("ssl_check_hostname", False))
            options["ssl_context"] = context
        return options

    async def publish(self, one: Due, events: Sequence[Numbered]) -> None:
        key = one.sender_id.encode() if self._is_partitioned else None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                producer = await self._connected()
                for event in events:
                    value = _encoded(body_of(one, event))
                    await producer.send_and_wait(self._topic, value, key=key, headers=self._headers)
        except self._library.errors.MessageSizeTooLargeError as error:
            raise EventsRefused(f"Kafka: {error}") from error
        except (self._library.errors.KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise BrokerAway(f"Kafka: {error or type(error).__name__}") from error

    async def _connected(self) -> Any:
        if self._producer is None:
            producer = self._library.AIOKafkaProducer(**self._options)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            with suppress(Exception):  # what it still held was not confirmed and is sent again
                await producer.stop()


@dataclass(frozen=True, kw_only=True)
class _Rabbit:
    """Where RabbitMQ is, and the exchange and queues that Rasa declares there."""

    url: str
    exchange: str
    queues: tuple[str, ...]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> _Rabbit:
        host = _needed(settings, "url")
        parsed = urlsplit(host if "://" in host else f"amqp://{host}")
        user = f"{quote(_needed(settings, 'username'), safe='')}:{quote(_needed(settings, 'password'), safe='')}"
        port = parsed.port or int(settings.get("port") or 5672)
        query = f"?{parsed.query}" if parsed.query else ""
        queues = settings.get("queues") or ("rasa_core_events",)
        return cls(
            url=f"{parsed.scheme}://{user}@{parsed.hostname}:{port}{parsed.path or '/'}{query}",
            exchange=str(settings.get("exchange_name") or "rasa-exchange"),
            queues=(queues,) if isinstance(queues, str) else tuple(str(queue) for queue in queues),
        )


class RabbitMq:
    """`type: pika`, with Rasa's settings: a fanout exchange, durable queues, persistent messages, confirmed."""

    def __init__(self, settings: Mapping[str, Any], environment: str | None) -> None:
        self._library = _library("aio_pika", "rabbitmq")
        self._where, self._environment = _Rabbit.of(settings), environment
        self._connection: Any = None
        self._exchange: Any = None
        self._connecting = asyncio.Lock()

    async def publish(self, one: Due, events: Sequence[Numbered]) -> None:
        message, mode = self._library.Message, self._library.DeliveryMode.PERSISTENT
        try:
            async with asyncio.timeout(TIMEOUT_S):
                exchange = await self._connected()
                for event in events:
                    body = _encoded(body_of(one, event))
                    await exchange.publish(message(body, app_id=self._environment, delivery_mode=mode), "")
        except (*self._library.exceptions.CONNECTION_EXCEPTIONS, OSError, TimeoutError) as error:
            await self.close()
            raise BrokerAway(f"RabbitMQ: {type(error).__name__}") from error

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._exchange is None:
                self._connection = await self._library.connect(self._where.url)
                channel = await self._connection.channel(publisher_confirms=True)
                exchange = await channel.declare_exchange(self._where.exchange, self._library.ExchangeType.FANOUT)
                for name in self._where.queues:
                    await (await channel.declare_queue(name, durable=True)).bind(exchange, "")
                self._exchange = exchange
            return self._exchange

    async def close(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with suppress(Exception):  # it is gone, or going
                await connection.close()
