"""Ports kept in memory: for a connector author's tests and demos. Nothing survives the process.

Invariant: it behaves as the SQL ports do, order, duplicates, back-pressure and refusals included; one contract suite
runs over both.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from connectors.base import (
    BadRequest,
    ChannelState,
    InboundMessage,
    OutboundMessage,
    Receipt,
    StateChange,
    TooBusy,
    check_inbound,
    check_prefix,
    storable_text,
)
from connectors.files import Correspondent, FileLinks, FileRules, StoredFile, StoreFull, TooOften


@dataclass(kw_only=True)
class _Conversation:
    id: int
    owner: tuple[str, str, str]
    entries: list[OutboundMessage] = field(default_factory=list)
    confirmed_seq: int = 0


class MemoryState:
    """`ChannelState` in a dict."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._leases: dict[str, tuple[str, float]] = {}

    async def get(self, key: str) -> str | None:
        return self._values.get(key)

    async def compare_and_set(self, key: str, expected: str | None, value: str) -> bool:
        if self._values.get(key) != expected:
            return False
        self._values[key] = value
        return True

    async def take(self, key: str) -> str | None:
        return self._values.pop(key, None)

    async def lease(self, key: str, holder: str, ttl_s: float) -> bool:
        owner, until = self._leases.get(key, (holder, 0.0))
        if owner != holder and until > time.monotonic():
            return False
        self._leases[key] = (holder, time.monotonic() + ttl_s)
        return True

    def set(self, change: StateChange) -> None:
        self._values[change.key] = change.value


class MemoryFiles:
    """`connectors.files.FileStore` in a dict; `clock` is what links are made and checked by."""

    def __init__(self, rules: FileRules | None = None, clock: Callable[[], float] = time.time) -> None:
        self.rules, self._clock = rules or FileRules(), clock
        self._links = FileLinks(secrets.token_bytes(32), self.rules.link_for_s, clock)
        self._owners: dict[str, Correspondent] = {}
        self._files: dict[str, tuple[str, StoredFile, bytes]] = {}
        self._put_at: dict[str, list[float]] = {}

    async def admit(self, sender_id: str) -> None:
        recent = [at for at in self._put_at.get(sender_id, ()) if at > self._clock() - 3600]
        if len(recent) >= self.rules.max_per_hour:
            raise TooOften(f"at most {self.rules.max_per_hour} files an hour are taken; try again later")
        self._check_room(1)

    async def put(self, owner: Correspondent, name: str, content: bytes) -> StoredFile:
        shown_name, media_type = self.rules.check(name, content)
        if owner.must_exist and owner.sender_id not in self._owners:
            raise BadRequest(f"sender_id {owner.sender_id!r} is nobody's any more")
        owner = replace(owner, must_exist=False)
        if self._owners.setdefault(owner.sender_id, owner) != owner:
            raise BadRequest(f"sender_id {owner.sender_id!r} belongs to another customer or channel")
        self._check_room(len(content))
        file = StoredFile(id=secrets.token_urlsafe(16), name=shown_name, media_type=media_type, size=len(content))
        self._files[file.id] = owner.sender_id, file, content
        self._put_at.setdefault(owner.sender_id, []).append(self._clock())
        return file

    def _check_room(self, size: int) -> None:
        if sum(file.size for _, file, _ in self._files.values()) + size > self.rules.total_bytes:
            raise StoreFull

    async def find(self, sender_id: str, ids: Collection[str]) -> dict[str, StoredFile]:
        return {id_: file for id_, (of, file, _) in self._files.items() if of == sender_id and id_ in ids}

    async def get(self, file_id: str) -> tuple[StoredFile, bytes] | None:
        found = self._files.get(file_id)
        return None if found is None else found[1:]

    def link(self, file: StoredFile) -> str:
        return self._links.link(file)

    def opens(self, file_id: str, expires: str, signature: str) -> bool:
        return self._links.opens(file_id, expires, signature)

    def remove(self, file_id: str) -> None:
        """As retention does."""
        del self._files[file_id]


class MemoryPorts:
    """`connectors.base.Ports` without a database.

    Give it `answer` and each message is answered at once, or take messages from `waiting` and call `reply` yourself.
    """

    def __init__(
        self,
        answer: Callable[[InboundMessage], Sequence[Mapping[str, Any]]] | None = None,
        max_waiting: int = 2_000,
        files: MemoryFiles | None = None,
        channels: Collection[str] = (),
    ) -> None:
        self._answer, self._max_waiting = answer, max_waiting
        self.files = files or MemoryFiles()
        self._channels = channels
        self._state = MemoryState()
        self._conversations: dict[str, _Conversation] = {}
        self._receipts: dict[tuple[str, str, str], tuple[str, Receipt]] = {}
        self._replies: dict[int, list[OutboundMessage]] = {}
        self._replied: dict[int, asyncio.Event] = {}
        self._collected: dict[int | None, str] = {}
        self.doubts: dict[str, str] = {}  # by reference
        self._subscribers: dict[str, list[Callable[[str], None]]] = {}
        self.waiting: dict[int, InboundMessage] = {}

    @property
    def state(self) -> ChannelState:
        return self._state

    # ---- Ports ----

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        if len(self.waiting) + len(batch) > self._max_waiting:
            raise TooBusy(f"{self._max_waiting} messages wait already; try again in {TooBusy.retry_after_s:.0f} s")
        self._check_batch(batch)
        receipts = [self._store(message) for message in batch]
        for change in state_changes:
            self._state.set(change)
        for message, receipt in zip(batch, receipts, strict=True):
            if not receipt.is_duplicate:
                self._wake(message.sender_id, "message")
                if self._answer is not None:
                    self.reply(receipt.inbound_id, self._answer(message))
        return receipts

    async def wait_for_reply(self, inbound_id: int, deadline_s: float) -> list[OutboundMessage] | None:
        replied = self._replied.get(inbound_id)
        if replied is not None and not replied.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline_s):
                    await replied.wait()
        return self._replies.get(inbound_id)

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        found = self._conversations.get(sender_id)
        return [] if found is None else found.entries[max(after_seq, 0) :][:limit]

    async def last_seq(self, sender_id: str) -> int:
        found = self._conversations.get(sender_id)
        return 0 if found is None else len(found.entries)

    async def confirm(self, sender_id: str, up_to_seq: int) -> None:
        found = self._conversations.get(sender_id)
        if found is not None:
            found.confirmed_seq = max(found.confirmed_seq, up_to_seq)

    async def collect(self, sender_id: str, reference: str) -> list[OutboundMessage]:
        found = self._conversations.get(sender_id)
        entries = [entry for entry in found.entries if entry.outbox_id is not None] if found else []
        return [entry for entry in entries if self._collected.setdefault(entry.outbox_id, reference) == reference]

    async def pending(self, sender_id: str, after_seq: int = 0) -> list[OutboundMessage]:
        entries = await self.transcript(sender_id, after_seq, sys.maxsize)
        return [entry for entry in entries if entry.outbox_id is not None and entry.outbox_id not in self._collected]

    async def doubt(self, sender_id: str, reference: str, reason: str | None) -> None:
        if reason is None:
            self.doubts.pop(reference, None)
        else:
            self.doubts[reference] = reason

    async def hasten(self, sender_id: str) -> None:
        """Nothing waits here."""

    def subscribe(self, sender_id: str, wake: Callable[[str], None]) -> Callable[[], None]:
        wakes = self._subscribers.setdefault(sender_id, [])
        wakes.append(wake)

        def unsubscribe() -> None:
            if wake in wakes:
                wakes.remove(wake)

        return unsubscribe

    # ---- the bot's side ----

    def reply(self, inbound_id: int, bodies: Sequence[Mapping[str, Any]]) -> list[OutboundMessage]:
        """Answer a waiting message with Rasa bot messages (none is an answer too)."""
        message = self.waiting.pop(inbound_id)
        conversation = self._conversations[message.sender_id]
        messages: list[OutboundMessage] = []
        for body in bodies:
            said = OutboundMessage(
                outbox_id=sum(len(replies) for replies in self._replies.values()) + len(messages) + 1,
                conversation_id=conversation.id,
                sender_id=message.sender_id,
                seq=len(conversation.entries) + 1,
                author="bot",
                body=body,
                created_at=datetime.now(UTC),
                in_reply_to=inbound_id,
            )
            conversation.entries.append(said)
            messages.append(said)
        self._replies[inbound_id] = messages
        self._replied[inbound_id].set()
        self._wake(message.sender_id, "message")
        return messages

    def delivered(self, message: OutboundMessage) -> None:
        """The customer has it; it is not pending any more."""
        self._collected.setdefault(message.outbox_id, "")

    def typing(self, sender_id: str) -> None:
        """Tell who watches the conversation that the bot works on an answer."""
        self._wake(sender_id, "typing")

    def is_confirmed(self, sender_id: str, seq: int) -> bool:
        """Whether the client has said that it has everything up to seq."""
        found = self._conversations.get(sender_id)
        return found is not None and seq <= found.confirmed_seq

    # ---- inside ----

    def _check_batch(self, batch: Sequence[InboundMessage]) -> None:
        """All or nothing: refuse before anything of the batch is stored."""
        owners = {sender_id: found.owner for sender_id, found in self._conversations.items()}
        keys = {key: sender_id for key, (sender_id, _) in self._receipts.items()}
        for message in batch:
            check_inbound(message)
            check_prefix(message, self._channels)
            if keys.setdefault(_key(message), message.sender_id) != message.sender_id:
                raise BadRequest(
                    f"external_id {message.external_id!r} was used in another conversation of this channel"
                )
            if owners.setdefault(message.sender_id, _owner(message)) != _owner(message):
                raise BadRequest(f"sender_id {message.sender_id!r} belongs to another customer or channel")

    def _store(self, message: InboundMessage) -> Receipt:
        known = self._receipts.get(_key(message))
        if known is not None:
            first = known[1]
            return Receipt(
                inbound_id=first.inbound_id, conversation_id=first.conversation_id, seq=first.seq, is_duplicate=True
            )
        conversation = self._conversations.setdefault(
            message.sender_id, _Conversation(id=len(self._conversations) + 1, owner=_owner(message))
        )
        receipt = Receipt(
            inbound_id=len(self._receipts) + 1,
            conversation_id=conversation.id,
            seq=len(conversation.entries) + 1,
            is_duplicate=False,
        )
        self._receipts[_key(message)] = (message.sender_id, receipt)
        self._replied[receipt.inbound_id] = asyncio.Event()
        self.waiting[receipt.inbound_id] = message
        conversation.entries.append(
            OutboundMessage(
                outbox_id=None,
                conversation_id=conversation.id,
                sender_id=message.sender_id,
                seq=receipt.seq,
                author="customer",
                body={"text": storable_text(message.text)},
                created_at=message.received_at,
                client_id=message.external_id,
                metadata={key: value for key, value in message.metadata.items() if key != "identity"},
            )
        )
        return receipt

    def _wake(self, sender_id: str, news: str) -> None:
        for wake in tuple(self._subscribers.get(sender_id, ())):
            wake(news)


def _key(message: InboundMessage) -> tuple[str, str, str]:
    return message.channel, message.account, message.external_id


def _owner(message: InboundMessage) -> tuple[str, str, str]:
    return message.channel, message.account, message.customer
