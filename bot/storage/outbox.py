"""What the platform says to customers, row by row, until the channel has it.

Invariants: a row is unique per (inbound message, part), so a message is answered once; push rows of a conversation go
out in order, one at a time; a row that a dead worker may have sent is never blindly sent again.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Integer, Row, Select, Text, Update, and_, bindparam, or_, select, update

from bot.storage.records import Claim
from bot.storage.tables import conversations, outbox
from bot.storage.types import Id, UtcDateTime
from connectors.base import Delivered, DeliveryUnknown, OutboundMessage, RetryLater, SendResult, Undeliverable


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """When a message that the channel did not take is tried again: from a second to five minutes, for an hour at least.

    Attributes:
        jitter: the share of each pause that is left to chance, so that what failed together does not return together.
        attempts, patience_s: after so many tries and so many seconds the message is dead; one of the two is not enough,
            for a channel that asks for short pauses uses tries up quickly.
    """

    first_s: float = 1.0
    factor: float = 2.0
    ceiling_s: float = 300.0
    jitter: float = 0.5
    attempts: int = 20
    patience_s: float = 3_600.0

    def pause_s(self, attempt: int, rng: random.Random) -> float:
        """Seconds after the try number `attempt` (1, 2, …)."""
        full = min(self.ceiling_s, self.first_s * self.factor ** min(attempt - 1, 30))
        return full * (1 - self.jitter * rng.random())


BACKOFF = Backoff()


@dataclass(frozen=True, kw_only=True)
class OutboxClaim:
    """A message to send, held until `lease_until`.

    Attributes:
        attempts: how often it was claimed, this time included.
        was_interrupted: an earlier sender died between sending and settling: ask the channel before sending again.
    """

    message: OutboundMessage
    outbox_id: int
    channel: str
    attempts: int
    was_interrupted: bool
    lease_until: datetime


_ADD = outbox.insert().returning(outbox.c.id)


def add(
    conn: Connection,
    claim: Claim,
    parts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    *,
    author: Literal["bot", "system"],
    state: Literal["ready", "pending"],
    first_seq: int,
    now: datetime,
    send_after: datetime | None = None,
) -> list[OutboundMessage]:
    """Store the answer to a claimed message, or more of it: one row a (body, metadata), numbered from `first_seq`."""
    messages = []
    for number, (body, metadata) in enumerate(parts):
        row = {
            "assistant_id": claim.assistant_id,
            "conversation_id": claim.conversation_id,
            "customer_id": claim.customer_id,
            "inbound_id": claim.inbound_id,
            "part": len(claim.said) + number,
            "seq": first_seq + number,
            "channel": claim.channel,
            "author": author,
            "body": body,
            "metadata": metadata,
            "state": state,
            "attempts": 0,
            "not_before": send_after,
            "created_at": now,
        }
        messages.append(
            OutboundMessage(
                outbox_id=conn.execute(_ADD, row).scalar_one(),
                conversation_id=claim.conversation_id,
                sender_id=claim.sender_id,
                seq=first_seq + number,
                author=author,
                body=body,
                created_at=now,
                in_reply_to=claim.inbound_id,
                metadata=metadata,
            )
        )
    return messages


def _rows() -> Select[Any]:
    return select(
        *(outbox.c[name] for name in ("id", "conversation_id", "seq", "author", "body", "created_at", "inbound_id")),
        *(outbox.c[name] for name in ("metadata", "channel", "attempts")),
        conversations.c.sender_id,
    ).join(conversations, conversations.c.id == outbox.c.conversation_id)


_REPLIES = _rows().where(outbox.c.inbound_id == bindparam("inbound")).order_by(outbox.c.part)


def replies(conn: Connection, inbound_id: int) -> list[OutboundMessage]:
    """The stored answer to a message, in order."""
    return [_to_message(row) for row in conn.execute(_REPLIES, {"inbound": inbound_id})]


_SAID = (
    _rows()
    .where(outbox.c.inbound_id.in_(bindparam("inbound", expanding=True, type_=Id)))
    .order_by(outbox.c.inbound_id, outbox.c.part)
)


def said(conn: Connection, inbound_ids: Collection[int]) -> dict[int, list[OutboundMessage]]:
    """By inbound id what is stored of the answers to these messages, in order; no entry where it is nothing."""
    found: dict[int, list[OutboundMessage]] = {}
    for row in conn.execute(_SAID, {"inbound": list(inbound_ids)}):
        found.setdefault(row.inbound_id, []).append(_to_message(row))
    return found


def _to_message(row: Row[Any]) -> OutboundMessage:
    return OutboundMessage(
        outbox_id=row.id,
        conversation_id=row.conversation_id,
        sender_id=row.sender_id,
        seq=row.seq,
        author=row.author,
        body=row.body,
        created_at=row.created_at,
        in_reply_to=row.inbound_id,
        metadata=row.metadata,
    )


# ---- pull channels ----

_now = bindparam("now", type_=UtcDateTime)
_CONFIRM = (
    update(outbox)
    .where(
        outbox.c.conversation_id
        == select(conversations.c.id)
        .where(conversations.c.assistant_id == bindparam("assistant"), conversations.c.sender_id == bindparam("sender"))
        .scalar_subquery(),
        outbox.c.seq <= bindparam("up_to", type_=Integer),
        outbox.c.state == "ready",
        outbox.c.state.in_(("ready", "pending")),  # the words of the partial index, so that it is used
    )
    .values(state="delivered", settled_at=_now)
)


def confirm(conn: Connection, assistant_id: str, sender_id: str, up_to_seq: int, now: datetime) -> int:
    """The client has everything up to this seq: its ready rows are delivered; how many they were."""
    return conn.execute(
        _CONFIRM, {"assistant": assistant_id, "sender": sender_id, "up_to": up_to_seq, "now": now}
    ).rowcount


# ---- push channels ----

_earlier = outbox.alias("earlier")
_of_sender = outbox.c.conversation_id == (
    select(conversations.c.id)
    .where(conversations.c.assistant_id == bindparam("assistant"), conversations.c.sender_id == bindparam("sender"))
    .scalar_subquery()
)
_PENDING = select(outbox.c.id).where(_of_sender, outbox.c.state == "pending").order_by(outbox.c.seq).with_for_update()
_HASTEN = update(outbox).where(_of_sender, outbox.c.state == "pending").values(not_before=None)
_COLLECT = (
    update(outbox)
    .where(
        _of_sender,
        outbox.c.state == "pending",
        outbox.c.lease_until.is_(None),  # what a sender holds may be on its way, and goes before what follows it
        ~select(_earlier.c.id)
        .where(
            _earlier.c.conversation_id == outbox.c.conversation_id,
            _earlier.c.state == "pending",
            _earlier.c.lease_until.is_not(None),
            _earlier.c.seq < outbox.c.seq,
        )
        .exists(),
    )
    .values(state="delivered", external_ref=bindparam("ref", type_=Text), settled_at=_now)
)
_COLLECTED = (
    _rows()
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        conversations.c.sender_id == bindparam("sender"),
        outbox.c.external_ref == bindparam("ref"),
    )
    .order_by(outbox.c.seq)
)


def collect(
    conn: Connection, assistant_id: str, sender_id: str, reference: str, now: datetime
) -> list[OutboundMessage]:
    """Take the conversation's pending rows out of the senders' hands; all that was ever collected as `reference`."""
    asked = {"assistant": assistant_id, "sender": sender_id, "ref": reference}
    # A sender that claims in this moment is waited for, and then seen: its message must not be overtaken.
    conn.execute(_PENDING, asked).all()
    conn.execute(_COLLECT, asked | {"now": now})
    return [_to_message(row) for row in conn.execute(_COLLECTED, asked)]


def pending(conn: Connection, assistant_id: str, sender_id: str, after_seq: int) -> list[OutboundMessage]:
    """The conversation's rows that wait to be sent or are being sent, after that seq, in order."""
    waiting = _rows().where(_of_sender, outbox.c.state == "pending", outbox.c.seq > after_seq).order_by(outbox.c.seq)
    return [_to_message(row) for row in conn.execute(waiting, {"assistant": assistant_id, "sender": sender_id})]


def doubt(
    conn: Connection, assistant_id: str, sender_id: str, reference: str, reason: str | None, now: datetime
) -> None:
    """Rows that were collected as `reference` are unknown, for this reason; None: they are delivered after all."""
    asked = {"assistant": assistant_id, "sender": sender_id}
    collected = update(outbox).where(_of_sender, outbox.c.external_ref == reference)
    if reason is None:
        collected = collected.where(outbox.c.state == "unknown").values(state="delivered", error=None, settled_at=now)
    else:
        collected = collected.where(outbox.c.state.in_(("delivered", "unknown"))).values(
            state="unknown", error=reason, settled_at=now
        )
    conn.execute(collected, asked)


def claim(
    conn: Connection,
    assistant_id: str,
    channels: Collection[str],
    worker_id: str,
    now: datetime,
    lease_s: float,
    limit: int,
    *,
    resendable: Collection[str] = (),
) -> list[OutboxClaim]:
    """Hold the next message of up to `limit` conversations whose turn to be sent has come.

    Args:
        resendable: channels with an idempotency key, or that can be asked what they have; elsewhere a row whose
            sender died is set to "unknown" for a person to look at, and the conversation goes on.
    """
    _give_up_interrupted(conn, assistant_id, set(channels) - set(resendable), now)
    rows = conn.execute(_due(assistant_id, channels, now).limit(limit)).all()
    until = now + timedelta(seconds=lease_s)
    if rows:
        hold = (
            update(outbox)
            .where(outbox.c.id.in_([row.id for row in rows]))
            .values(lease_owner=worker_id, lease_until=until, attempts=outbox.c.attempts + 1)
        )
        conn.execute(hold)
    return [
        OutboxClaim(
            message=_to_message(row),
            outbox_id=row.id,
            channel=row.channel,
            attempts=row.attempts + 1,
            was_interrupted=bool(row.was_interrupted),
            lease_until=until,
        )
        for row in rows
    ]


def _due(assistant_id: str, channels: Collection[str], now: datetime) -> Select[Any]:
    """The first pending row of each conversation, where it is free and its time has come."""
    interrupted = and_(outbox.c.lease_until.is_not(None), outbox.c.lease_until <= now)
    has_earlier = (
        select(_earlier.c.id)
        .where(
            _earlier.c.conversation_id == outbox.c.conversation_id,
            _earlier.c.state == "pending",
            _earlier.c.seq < outbox.c.seq,
        )
        .exists()
    )
    return (
        _rows()
        .add_columns(interrupted.label("was_interrupted"))
        .where(
            outbox.c.assistant_id == assistant_id,
            outbox.c.channel.in_(channels),
            outbox.c.state == "pending",
            or_(outbox.c.not_before.is_(None), outbox.c.not_before <= now),
            or_(outbox.c.lease_until.is_(None), interrupted),
            ~has_earlier,
        )
        .order_by(outbox.c.id)
        .with_for_update(of=outbox, skip_locked=True)
    )


def _give_up_interrupted(conn: Connection, assistant_id: str, channels: Collection[str], now: datetime) -> None:
    if not channels:
        return
    conn.execute(
        update(outbox)
        .where(
            outbox.c.assistant_id == assistant_id,
            outbox.c.channel.in_(channels),
            outbox.c.state == "pending",
            outbox.c.lease_until <= now,
        )
        .values(
            state="unknown",
            error="the sender died between sending and settling",
            lease_owner=None,
            lease_until=None,
            settled_at=now,
        )
    )


_SETTLE = (
    update(outbox)
    .where(
        outbox.c.id == bindparam("row"),
        or_(
            and_(outbox.c.state == "pending", outbox.c.attempts == bindparam("claimed_attempt")),
            and_(outbox.c.state.in_(("pending", "unknown")), bindparam("is_certain")),
        ),
    )
    .values(
        state=bindparam("new_state", type_=Text),
        not_before=bindparam("next_try", type_=UtcDateTime),
        external_ref=bindparam("ref", type_=Text),
        error=bindparam("why", type_=Text),
        settled_at=bindparam("settled", type_=UtcDateTime),
        lease_owner=None,
        lease_until=None,
    )
)


def settle(
    conn: Connection,
    held: OutboxClaim,
    result: SendResult,
    now: datetime,
    backoff: Backoff = BACKOFF,
    rng: random.Random | None = None,
) -> bool:
    """Write down what became of a claimed message; False when it was claimed again since and this result is too late.

    A delivery counts even when it is reported late: the customer has it.
    """
    waited_s = (now - held.message.created_at).total_seconds()
    if isinstance(result, RetryLater) and held.attempts >= backoff.attempts and waited_s >= backoff.patience_s:
        result = Undeliverable(reason=f"given up after {held.attempts} tries: {result.reason}")
    changes: dict[str, Any] = {"next_try": None, "ref": None, "why": None, "settled": now}
    if isinstance(result, Delivered):
        changes |= {"new_state": "delivered", "ref": result.external_ref}
    elif isinstance(result, RetryLater):
        wait_s = backoff.pause_s(held.attempts, rng or random.Random()) if result.after_s is None else result.after_s
        changes |= {"new_state": "pending", "why": result.reason, "settled": None}
        changes["next_try"] = now + timedelta(seconds=wait_s)
    else:
        is_unknown = isinstance(result, DeliveryUnknown)
        changes |= {"new_state": "unknown" if is_unknown else "dead", "why": result.reason}
    changes |= {"row": held.outbox_id, "claimed_attempt": held.attempts, "is_certain": isinstance(result, Delivered)}
    return conn.execute(_SETTLE, changes).rowcount == 1


def hasten(conn: Connection, assistant_id: str, sender_id: str) -> int:
    """What waits for its time in a conversation may be sent now; how many messages that are."""
    return conn.execute(_HASTEN, {"assistant": assistant_id, "sender": sender_id}).rowcount


# ---- what an operator sees and decides ----

DROPPED = "dropped by an operator"
_STUCK = or_(outbox.c.state == "unknown", and_(outbox.c.state == "dead", ~outbox.c.error.like(f"{DROPPED}%")))


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """A message that a person has to decide about, or (state "pending") one that still tries."""

    outbox_id: int
    sender_id: str
    channel: str
    state: str
    attempts: int
    error: str | None
    body: Mapping[str, Any]
    created_at: datetime


def undelivered(conn: Connection, assistant_id: str, *, waiting: bool = False) -> list[Undelivered]:
    """What could not be sent ("dead") or may have been ("unknown"), oldest first; `waiting`: pending rows instead."""
    which = outbox.c.state == "pending" if waiting else _STUCK
    names = ("id", "channel", "state", "attempts", "error", "body", "created_at")
    statement = (
        select(*(outbox.c[name] for name in names), conversations.c.sender_id)
        .join(conversations, conversations.c.id == outbox.c.conversation_id)
        .where(outbox.c.assistant_id == assistant_id, which)
        .order_by(outbox.c.id)
    )
    return [
        Undelivered(
            outbox_id=row.id,
            sender_id=row.sender_id,
            channel=row.channel,
            state=row.state,
            attempts=row.attempts,
            error=row.error,
            body=row.body,
            created_at=row.created_at,
        )
        for row in conn.execute(statement)
    ]


def replay(conn: Connection, assistant_id: str, rows: Collection[int]) -> int:
    """Send stuck messages once more, as if never tried; how many of `rows` were stuck."""
    values = {"state": "pending", "attempts": 0, "error": None, "not_before": None, "settled_at": None}
    return conn.execute(_stuck(assistant_id, rows).values(**values)).rowcount


def drop(conn: Connection, assistant_id: str, rows: Collection[int], now: datetime) -> int:
    """Let stuck messages be: they stay in the transcript and are listed no more; how many of `rows` were stuck."""
    return conn.execute(_stuck(assistant_id, rows).values(state="dead", error=DROPPED, settled_at=now)).rowcount


def _stuck(assistant_id: str, rows: Collection[int]) -> Update:
    return update(outbox).where(outbox.c.assistant_id == assistant_id, outbox.c.id.in_(list(rows)), _STUCK)
