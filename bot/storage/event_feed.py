"""Which events a broker has not been given yet, conversation by conversation. Publishing them is `bot/brokers.py`'s.

The event log itself is the outbox: an event is due from the commit that stored it until a cursor (`channel_state`, one
key a conversation) has passed it. Invariant: a cursor only moves forward, and only past events that were published.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Connection, Integer, Text, and_, bindparam, cast, func, insert, literal, select

from bot.storage import state
from bot.storage.records import Status
from bot.storage.tables import channel_state, conversations, events
from bot.storage.types import UtcDateTime

LEASE = "broker"
_BEGUN = "broker begun"
_CURSOR = "broker cursor of "


@dataclass(frozen=True, kw_only=True)
class Due:
    """A conversation with events to publish: `cursor` is the number of the last published one, None before the first,
    `event_seq` that of the newest; a log that was replaced has numbers without an event.
    """

    conversation_id: int
    sender_id: str
    cursor: int | None
    event_seq: int


@dataclass(frozen=True, kw_only=True)
class Numbered:
    """An event and its number in its conversation, which grows."""

    seq: int
    body: dict[str, Any]


def begin(conn: Connection, assistant_id: str, now: datetime) -> None:
    """The first time for this assistant: pass what is stored already, as Rasa does with a new broker."""
    if not state.compare_and_set(conn, assistant_id, _BEGUN, None, "1", now):
        return
    stored = select(
        conversations.c.assistant_id,
        _key(conversations.c.id),
        cast(conversations.c.event_seq, Text),
        literal(now, UtcDateTime),
    ).where(conversations.c.assistant_id == assistant_id)
    conn.execute(insert(channel_state).from_select(["assistant_id", "key", "value", "updated_at"], stored))


def _key(conversation_id: Any) -> Any:
    return literal(_CURSOR, Text) + cast(conversation_id, Text)


_cursor = cast(channel_state.c.value, Integer)
_DUE = (
    select(conversations.c.id, conversations.c.sender_id, _cursor.label("cursor"), conversations.c.event_seq)
    .outerjoin(
        channel_state,
        and_(
            channel_state.c.assistant_id == conversations.c.assistant_id,
            channel_state.c.key == _key(conversations.c.id),
        ),
    )
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        # All of them: named so that the index over assistant, status and time is of use.
        conversations.c.status.in_(get_args(Status)),
        conversations.c.event_seq > func.coalesce(_cursor, 0),
    )
    .order_by(conversations.c.updated_at, conversations.c.id)
    .limit(bindparam("at_most", type_=Integer))
)
_DUE_SINCE = _DUE.where(conversations.c.updated_at >= bindparam("since", type_=UtcDateTime))


def due(conn: Connection, assistant_id: str, since: datetime | None, limit: int) -> list[Due]:
    """At most `limit` conversations with unpublished events, the longest untouched first.

    Args:
        since: look only at those touched since then; None: at all of them, which takes longer the more there are.
    """
    values: dict[str, Any] = {"assistant": assistant_id, "at_most": limit}
    rows = conn.execute(_DUE, values) if since is None else conn.execute(_DUE_SINCE, {**values, "since": since})
    return [
        Due(conversation_id=row.id, sender_id=row.sender_id, cursor=row.cursor, event_seq=row.event_seq) for row in rows
    ]


_EVENTS = (
    select(events.c.seq, events.c.body)
    .where(events.c.conversation_id == bindparam("conversation"), events.c.seq > bindparam("after", type_=Integer))
    .order_by(events.c.seq)
    .limit(bindparam("at_most", type_=Integer))
)


def unpublished(conn: Connection, one: Due, limit: int) -> list[Numbered]:
    """The next events of a conversation, in order."""
    values = {"conversation": one.conversation_id, "after": one.cursor or 0, "at_most": limit}
    return [Numbered(seq=row.seq, body=row.body) for row in conn.execute(_EVENTS, values)]


def advance(conn: Connection, assistant_id: str, one: Due, seq: int, now: datetime) -> bool:
    """Note that events up to `seq` are published; False where another publisher moved the cursor meanwhile."""
    expected = None if one.cursor is None else str(one.cursor)
    return state.compare_and_set(conn, assistant_id, f"{_CURSOR}{one.conversation_id}", expected, str(seq), now)


def holds(conn: Connection, assistant_id: str, holder: str, ttl_s: float, now: datetime) -> bool:
    """Whether `holder` is the one that publishes, for the next `ttl_s` seconds; 0 lets go."""
    return state.lease(conn, assistant_id, LEASE, holder, ttl_s, now)
