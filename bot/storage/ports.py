"""The platform's side of a connector: `connectors.base.Ports` over the database and the hub.

Invariant: `receive` returns only after the commit; whoever waits here also reads again at least every `REREAD_S`,
so that wake-ups are an optimisation and replicas need nothing but the database.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.storage import arrivals, conversations, inbox, outbox, state
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.notify import Listener
from connectors.base import ChannelState, InboundMessage, OutboundMessage, Receipt, StateChange, TooBusy, check_prefix
from connectors.files import FileStore

REREAD_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is taken.

    Attributes:
        max_waiting: accepted but unanswered messages of the assistant, above which receive answers TooBusy.
        channels: names whose conversations ("name:…") no other channel may open, beside those that are always so.
    """

    max_waiting: int = 2_000
    channels: Collection[str] = ()


class SqlChannelState:
    """`connectors.base.ChannelState` in the database."""

    def __init__(self, db: Database, assistant_id: str) -> None:
        self._db, self._assistant_id = db, assistant_id

    async def get(self, key: str) -> str | None:
        return await self._db.read(lambda conn: state.get(conn, self._assistant_id, key))

    async def compare_and_set(self, key: str, expected: str | None, value: str) -> bool:
        now = datetime.now(UTC)
        return await self._db.write(
            lambda conn: state.compare_and_set(conn, self._assistant_id, key, expected, value, now)
        )

    async def take(self, key: str) -> str | None:
        return await self._db.write(lambda conn: state.take(conn, self._assistant_id, key))

    async def lease(self, key: str, holder: str, ttl_s: float) -> bool:
        now = datetime.now(UTC)
        return await self._db.write(lambda conn: state.lease(conn, self._assistant_id, key, holder, ttl_s, now))


class SqlPorts:
    """`connectors.base.Ports` over SQL, for one assistant."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        assistant_id: str,
        limits: Limits | None = None,
        files: FileStore | None = None,
    ) -> None:
        self.files = files
        self._db, self._hub, self._assistant_id = db, hub, assistant_id
        self._state = SqlChannelState(db, assistant_id)
        self._limits = limits or Limits()
        self._backlog = _Backlog(db, hub, assistant_id, self._limits.max_waiting)

    @property
    def state(self) -> ChannelState:
        return self._state

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        """Store messages and state in one commit; see `connectors.base.Ports.receive`."""
        for message in batch:
            check_prefix(message, self._limits.channels)
        await self._backlog.admit(len(batch))
        receipts = await self._db.write(
            functools.partial(
                arrivals.accept,
                assistant_id=self._assistant_id,
                batch=batch,
                state_changes=state_changes,
                now=datetime.now(UTC),
            )
        )
        for message, receipt in zip(batch, receipts, strict=True):
            if not receipt.is_duplicate:
                self._backlog.accepted += 1
                self._hub.expect(receipt.inbound_id, message.sender_id)
        self._hub.inbound_arrived()
        return receipts

    async def wait_for_reply(self, inbound_id: int, deadline_s: float) -> list[OutboundMessage] | None:
        deadline = time.monotonic() + deadline_s
        turn = self._hub.follow(inbound_id)  # before the first read: what ends in between is not missed
        must_read = not turn.is_expected
        while turn.messages is None:
            remaining_s = deadline - time.monotonic()
            if must_read or remaining_s <= 0:
                messages = await self._read_reply(inbound_id)
                if messages is not None or remaining_s <= 0:
                    return messages
            await turn.wait(min(remaining_s, REREAD_S))
            must_read = True
        return turn.messages

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        return await self._db.read(
            lambda conn: conversations.transcript(conn, self._assistant_id, sender_id, after_seq, limit)
        )

    async def last_seq(self, sender_id: str) -> int:
        return await self._db.read(lambda conn: conversations.last_seq(conn, self._assistant_id, sender_id))

    async def confirm(self, sender_id: str, up_to_seq: int) -> None:
        now = datetime.now(UTC)
        await self._db.write(lambda conn: outbox.confirm(conn, self._assistant_id, sender_id, up_to_seq, now))

    async def collect(self, sender_id: str, reference: str) -> list[OutboundMessage]:
        now = datetime.now(UTC)
        return await self._db.write(lambda conn: outbox.collect(conn, self._assistant_id, sender_id, reference, now))

    async def pending(self, sender_id: str, after_seq: int = 0) -> list[OutboundMessage]:
        return await self._db.read(lambda conn: outbox.pending(conn, self._assistant_id, sender_id, after_seq))

    async def doubt(self, sender_id: str, reference: str, reason: str | None) -> None:
        now = datetime.now(UTC)
        await self._db.write(lambda conn: outbox.doubt(conn, self._assistant_id, sender_id, reference, reason, now))

    async def hasten(self, sender_id: str) -> None:
        await self._db.write(lambda conn: outbox.hasten(conn, self._assistant_id, sender_id))

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        return self._hub.subscribe(sender_id, wake)

    async def _read_reply(self, inbound_id: int) -> list[OutboundMessage] | None:
        return await self._db.read(lambda conn: inbox.reply_to(conn, self._assistant_id, inbound_id))


class _Backlog:
    """How much waits: counted in the database at most once a second, in between from what this process saw."""

    def __init__(self, db: Database, hub: Hub, assistant_id: str, max_waiting: int) -> None:
        self._db, self._hub, self._assistant_id, self._max = db, hub, assistant_id, max_waiting
        self.accepted = 0
        self._counted = 0
        self._counted_at = float("-inf")

    async def admit(self, count: int) -> None:
        """Raises TooBusy when `count` more would be too many."""
        if time.monotonic() - self._counted_at > REREAD_S:
            self._counted_at = time.monotonic()  # first, so that one caller counts and the others do not queue up
            seen = self.accepted - self._hub.finished_count
            counted = await self._db.read(lambda conn: inbox.waiting(conn, self._assistant_id))
            self._counted = counted - seen
        if self._counted + self.accepted - self._hub.finished_count + count > self._max:
            raise TooBusy(f"{self._max} messages wait already; try again in {TooBusy.retry_after_s:.0f} s")


def listen(db: Database, hub: Hub, assistant_id: str) -> Listener | None:
    """On PostgreSQL, pass on to the hub what other processes do; None on SQLite. Call it on the hub's event loop.

    Returns:
        The started listener; stop it before the loop ends.
    """
    if db.dialect != "postgresql":
        return None
    loop = asyncio.get_running_loop()
    listener = Listener(
        db.url,
        assistant_id,
        lambda: _from_thread(loop, hub.inbound_arrived),
        lambda inbound_id, sender_id: _from_thread(loop, hub.finished_elsewhere, inbound_id, sender_id),
        lambda sender_id: _from_thread(loop, hub.part_said, sender_id),
        lambda sender_id: _from_thread(loop, hub.typing, sender_id),
    )
    listener.start()
    return listener


def _from_thread(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: object) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it whoever would be woken
        loop.call_soon_threadsafe(call, *args)
