"""Conversations as people read them: find one, its transcript, its events, its status.

Invariant: a transcript is inbox and outbox rows by `seq`, 1, 2, 3 … without gaps; what was read never changes place.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, Row, Text, bindparam, func, literal, select, union_all, update

from bot.storage.records import Status
from bot.storage.tables import conversations, inbox, outbox
from bot.storage.tables import events as event_rows
from bot.storage.types import Id, Json
from connectors.base import OutboundMessage


@dataclass(frozen=True, kw_only=True)
class Conversation:
    id: int
    customer_id: int
    sender_id: str
    channel: str
    account: str
    thread: str
    status: Status
    language: str | None
    last_seq: int
    event_seq: int
    waiting: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Handoff:
    """A conversation that waits for a person; `contact` and `reason` as the customer's last request gave them."""

    sender_id: str
    channel: str
    requested_at: datetime
    contact: str | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Something the bot said: Rasa's bot event, and in which language its conversation goes on."""

    sender_id: str
    language: str | None
    event: dict[str, Any]


_mine = (
    conversations.c.assistant_id == bindparam("assistant"),
    conversations.c.sender_id == bindparam("sender"),
)
_FIND = select(
    *(conversations.c[name] for name in ("id", "customer_id", "sender_id", "channel", "account", "thread", "status")),
    *(conversations.c[name] for name in ("language", "last_seq", "event_seq", "waiting", "created_at", "updated_at")),
).where(*_mine)


def find(conn: Connection, assistant_id: str, sender_id: str) -> Conversation | None:
    row = conn.execute(_FIND, {"assistant": assistant_id, "sender": sender_id}).one_or_none()
    return None if row is None else Conversation(**row._mapping)


_LAST_SEQ = select(conversations.c.last_seq).where(*_mine)


def last_seq(conn: Connection, assistant_id: str, sender_id: str) -> int:
    """The newest transcript number; 0 for a conversation that does not exist."""
    found = conn.execute(_LAST_SEQ, {"assistant": assistant_id, "sender": sender_id}).scalar_one_or_none()
    return found or 0


_after = bindparam("after", type_=Integer)
_limit = bindparam("at_most", type_=Integer)
_said = (
    select(
        literal(None, Id).label("outbox_id"),
        inbox.c.conversation_id,
        inbox.c.seq,
        literal("customer", Text).label("author"),
        inbox.c.text,
        inbox.c.body,
        inbox.c.received_at.label("created_at"),
        literal(None, Id).label("in_reply_to"),
        inbox.c.external_id.label("client_id"),
        literal(None, Json).label("metadata"),
    )
    .join(conversations, conversations.c.id == inbox.c.conversation_id)
    .where(*_mine, inbox.c.seq > _after)
    .order_by(inbox.c.seq)
    .limit(_limit)
    .subquery("said")
)
_answered = (
    select(
        outbox.c.id.label("outbox_id"),
        outbox.c.conversation_id,
        outbox.c.seq,
        outbox.c.author,
        literal(None, Text).label("text"),
        outbox.c.body,
        outbox.c.created_at,
        outbox.c.inbound_id.label("in_reply_to"),
        literal(None, Text).label("client_id"),
        outbox.c.metadata,
    )
    .join(conversations, conversations.c.id == outbox.c.conversation_id)
    .where(*_mine, outbox.c.seq > _after)
    .order_by(outbox.c.seq)
    .limit(_limit)
    .subquery("answered")
)
# One statement, so that it is one snapshot; each half is limited first, so that a long history costs nothing.
_both = union_all(select(_said), select(_answered)).subquery("both")
_TRANSCRIPT = select(_both).order_by(_both.c.seq).limit(_limit)


def transcript(
    conn: Connection, assistant_id: str, sender_id: str, after_seq: int, limit: int = 200
) -> list[OutboundMessage]:
    """The first `limit` entries after `after_seq`, of customer, bot, operator and system, in order."""
    rows = conn.execute(
        _TRANSCRIPT, {"assistant": assistant_id, "sender": sender_id, "after": after_seq, "at_most": limit}
    )
    return [_entry(row, sender_id) for row in rows]


def _entry(row: Row[*tuple[Any, ...]], sender_id: str) -> OutboundMessage:
    is_arrival = row.outbox_id is None
    # The company's systems spoke, not the customer: the number is taken, there is nothing to show.
    is_command = is_arrival and "command" in row.body
    shown: dict[str, Any] = {"text": row.text} if is_arrival else row.body
    return OutboundMessage(
        outbox_id=row.outbox_id,
        conversation_id=row.conversation_id,
        sender_id=sender_id,
        seq=row.seq,
        author="system" if is_command else row.author,
        body={} if is_command else shown,
        created_at=row.created_at,
        in_reply_to=row.in_reply_to,
        client_id=None if is_command else row.client_id,
        metadata=_shown(row.body["metadata"]) if is_arrival else row.metadata,
    )


def _shown(metadata: dict[str, Any]) -> dict[str, Any]:
    """A customer's own metadata, less the identity that the platform verified: it is for actions, not for clients."""
    return {key: value for key, value in metadata.items() if key != "identity"}


_EVENTS = (
    select(event_rows.c.body)
    .join(conversations, conversations.c.id == event_rows.c.conversation_id)
    .where(*_mine)
    .order_by(event_rows.c.seq)
)


def events(conn: Connection, assistant_id: str, sender_id: str) -> list[dict[str, Any]]:
    """The whole log of a conversation, Rasa's event JSON, in order."""
    return list(conn.execute(_EVENTS, {"assistant": assistant_id, "sender": sender_id}).scalars())


_REPLIES = (
    select(conversations.c.sender_id, conversations.c.language, event_rows.c.body.label("event"))
    .join(conversations, conversations.c.id == event_rows.c.conversation_id)
    .where(conversations.c.assistant_id == bindparam("assistant"), event_rows.c.type == "bot")
    .order_by(event_rows.c.timestamp.desc(), event_rows.c.conversation_id, event_rows.c.seq.desc())
    .limit(_limit)
)


def replies(conn: Connection, assistant_id: str, limit: int) -> list[Reply]:
    """What the bot said last in all conversations, the newest first."""
    rows = conn.execute(_REPLIES, {"assistant": assistant_id, "at_most": limit})
    return [Reply(**row._mapping) for row in rows]


_ACTED = (
    select(event_rows.c.conversation_id)
    .join(conversations, conversations.c.id == event_rows.c.conversation_id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        event_rows.c.type == "action",
        event_rows.c.body["name"].as_string() == bindparam("action"),
    )
)
_LOGS_WITH = (
    select(conversations.c.sender_id, event_rows.c.body)
    .join(event_rows, conversations.c.id == event_rows.c.conversation_id)
    .where(conversations.c.id.in_(_ACTED))
    .order_by(conversations.c.id, event_rows.c.seq)
)


def logs_with(conn: Connection, assistant_id: str, action: str) -> dict[str, list[dict[str, Any]]]:
    """The whole logs of the conversations in which an action ran, by sender id."""
    found: dict[str, list[dict[str, Any]]] = {}
    for sender_id, body in conn.execute(_LOGS_WITH, {"assistant": assistant_id, "action": action}):
        found.setdefault(sender_id, []).append(body)
    return found


_requests = (
    select(event_rows.c.conversation_id, func.max(event_rows.c.seq).label("seq"))
    .join(conversations, conversations.c.id == event_rows.c.conversation_id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        conversations.c.status == "waiting",
        event_rows.c.type == "handoff",
    )
    .group_by(event_rows.c.conversation_id)
    .subquery("requests")
)
_HANDOFFS = (
    select(conversations.c.sender_id, conversations.c.channel, event_rows.c.timestamp, event_rows.c.body)
    .join(_requests, _requests.c.conversation_id == conversations.c.id)
    .join(
        event_rows,
        (event_rows.c.conversation_id == _requests.c.conversation_id) & (event_rows.c.seq == _requests.c.seq),
    )
    .order_by(event_rows.c.timestamp.desc(), conversations.c.id.desc())
)


def handoffs(conn: Connection, assistant_id: str) -> list[Handoff]:
    """Who asked for a person and still waits for one, the latest request first."""
    return [
        Handoff(
            sender_id=row.sender_id,
            channel=row.channel,
            requested_at=datetime.fromtimestamp(row.timestamp, UTC),
            contact=row.body.get("contact"),
            reason=row.body.get("reason"),
        )
        for row in conn.execute(_HANDOFFS, {"assistant": assistant_id})
    ]


def settle_handoff(conn: Connection, assistant_id: str, sender_id: str, now: datetime) -> bool:
    """A person took care of it: the conversation is resolved; False when it does not wait for a person."""
    settled = (
        update(conversations)
        .where(
            conversations.c.assistant_id == assistant_id,
            conversations.c.sender_id == sender_id,
            conversations.c.status == "waiting",
        )
        .values(status="resolved", updated_at=now)
    )
    return conn.execute(settled).rowcount == 1


def set_status(conn: Connection, assistant_id: str, sender_id: str, status: Status, now: datetime) -> bool:
    """Move a conversation in its life; False when there is none of that name."""
    moved = (
        update(conversations)
        .where(conversations.c.assistant_id == assistant_id, conversations.c.sender_id == sender_id)
        .values(status=status, updated_at=now)
    )
    return conn.execute(moved).rowcount == 1


def close_idle(conn: Connection, assistant_id: str, now: datetime, after_min: float) -> int:
    """Close what nobody wrote in for `after_min` minutes; how many they were.

    What waits for a person stays open, however long that takes, and so does what an operator holds.
    """
    closed = (
        update(conversations)
        .where(
            conversations.c.assistant_id == assistant_id,
            conversations.c.status.in_(("open", "resolved")),
            conversations.c.updated_at < now - timedelta(minutes=after_min),
            conversations.c.claimable_at.is_(None),
        )
        .values(status="closed", updated_at=now)
    )
    return conn.execute(closed).rowcount
