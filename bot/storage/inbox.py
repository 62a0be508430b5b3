"""The durable queue as a worker sees it: claim, finish, fail. The concurrency design is in this one file.

- `claim` takes conversations, not messages: one worker holds a conversation, always with its oldest waiting message.
  A message that waits for its retry keeps later ones waiting; only a dead letter lets them pass.
- `advance`, `finish` and `fail` carry the fence of their claim; a worker whose lease went to another gets
  StaleConversation and has changed nothing.
- A turn is one commit (`finish`), or several where its answer is said while it is written: `advance` for each part but
  the last. A message that waits although parts of its answer are stored (`Claim.said`) has had its turn.

Nothing here decides what a bot says, when to retry, or whom to wake: rows in, rows out. Messages arrive through
`arrivals.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, Integer, Row, Text, bindparam, case, exists, func, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from bot.errors import StaleConversation
from bot.storage import outbox as outbox_rows
from bot.storage.dialects import for_, with_insert
from bot.storage.notify import tell_part, tell_turn_finished, tell_typing
from bot.storage.predictions import add_prediction
from bot.storage.records import Claim, Delivery, TurnRecord
from bot.storage.reminders import note_reminders
from bot.storage.tables import conversations, events, identities, inbox, reminders, snapshots
from bot.storage.types import Id, Json, UtcDateTime
from connectors.base import InboundMessage, OutboundMessage

__all__ = [
    "Claim",
    "TurnRecord",
    "advance",
    "claim",
    "extend",
    "fail",
    "finish",
    "note_metadata",
    "release",
    "reply_to",
    "waiting",
]

_due = (
    select(conversations.c.id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        conversations.c.claimable_at <= bindparam("now", type_=UtcDateTime),
    )
    .order_by(conversations.c.claimable_at)
    .limit(bindparam("limit", type_=Integer))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_LEASE = (
    update(conversations)
    .where(conversations.c.id == _due.c.id)
    .values(
        fence=conversations.c.fence + 1,
        lease_owner=bindparam("worker", type_=Text),
        lease_until=bindparam("until", type_=UtcDateTime),
        claimable_at=bindparam("until", type_=UtcDateTime),
    )
    .returning(
        *(conversations.c[name] for name in ("id", "customer_id", "identity_id", "sender_id", "thread")),
        *(conversations.c[name] for name in ("status", "language", "event_seq", "fence")),
    )
)
_ids = bindparam("ids", expanding=True, type_=Id)
_older = inbox.alias("older")
_HEADS = (
    update(inbox)
    .where(
        inbox.c.conversation_id.in_(_ids),
        inbox.c.state == "waiting",
        inbox.c.seq
        == select(func.min(_older.c.seq))
        .where(_older.c.conversation_id == inbox.c.conversation_id, _older.c.state == "waiting")
        .correlate(inbox)
        .scalar_subquery(),
    )
    .values(attempts=inbox.c.attempts + 1)
    .returning(
        *(inbox.c[name] for name in ("id", "conversation_id", "channel", "account", "external_id", "seq")),
        *(inbox.c[name] for name in ("text", "body", "attempts", "received_at")),
    )
)
_BACKGROUND = (
    select(
        conversations.c.id,
        identities.c.external_id,
        snapshots.c.event_seq,
        snapshots.c.body,
        exists().where(reminders.c.conversation_id == conversations.c.id).label("has_reminders"),
    )
    .join(identities, identities.c.id == conversations.c.identity_id)
    .outerjoin(snapshots, snapshots.c.conversation_id == conversations.c.id)
    .where(conversations.c.id.in_(_ids))
)
_EVENTS_AFTER = (
    select(events.c.conversation_id, events.c.body)
    .outerjoin(snapshots, snapshots.c.conversation_id == events.c.conversation_id)
    .where(events.c.conversation_id.in_(_ids), events.c.seq > func.coalesce(snapshots.c.event_seq, 0))
    .order_by(events.c.conversation_id, events.c.seq)
)


def claim(
    conn: Connection, assistant_id: str, worker_id: str, now: datetime, lease_s: float, limit: int
) -> list[Claim]:
    """Hold up to `limit` idle conversations that have a due message; the longest waiting first.

    No two live claims ever name the same conversation. A claim lasts until now + lease_s, then others may take it.
    """
    until = now + timedelta(seconds=lease_s)
    leased = conn.execute(
        _LEASE, {"assistant": assistant_id, "worker": worker_id, "now": now, "until": until, "limit": limit}
    ).all()
    if not leased:
        return []
    ids = {"ids": [row.id for row in leased]}
    heads = {row.conversation_id: row for row in conn.execute(_HEADS, ids)}
    background = {row.id: row for row in conn.execute(_BACKGROUND, ids)}
    unfolded: dict[int, list[dict[str, Any]]] = {}
    # The first claim of a message finds nothing said: no look is needed.
    again = [head.id for head in heads.values() if head.attempts > 1]
    said = outbox_rows.said(conn, again) if again else {}
    behind = [row.id for row in leased if row.event_seq > (background[row.id].event_seq or 0)]
    if behind:
        for conversation_id, body in conn.execute(_EVENTS_AFTER, {"ids": behind}):
            unfolded.setdefault(conversation_id, []).append(body)
    claims = [
        replace(
            _to_claim(assistant_id, row, heads[row.id], background[row.id], unfolded.get(row.id, []), until),
            said=said.get(heads[row.id].id, ()),
        )
        for row in leased
    ]
    tell_typing(conn, assistant_id, (claim.sender_id for claim in claims if claim.message.command is None))
    return sorted(claims, key=lambda claim: claim.inbound_id)


def _to_claim(
    assistant_id: str,
    held: Row[*tuple[Any, ...]],
    head: Row[*tuple[Any, ...]],
    background: Row[*tuple[Any, ...]],
    unfolded: list[dict[str, Any]],
    until: datetime,
) -> Claim:
    return Claim(
        inbound_id=head.id,
        conversation_id=held.id,
        customer_id=held.customer_id,
        assistant_id=assistant_id,
        sender_id=held.sender_id,
        channel=head.channel,
        status=held.status,
        language=held.language,
        fence=held.fence,
        lease_until=until,
        attempts=head.attempts,
        message=InboundMessage(
            channel=head.channel,
            account=head.account,
            external_id=head.external_id,
            customer=background.external_id,
            sender_id=held.sender_id,
            text=head.text,
            received_at=head.received_at,
            thread=held.thread,
            metadata=head.body["metadata"],
            input_channel=head.body["input_channel"],
            language_hint=head.body["language_hint"],
            command=head.body.get("command"),
        ),
        seq=head.seq,
        snapshot=background.body,
        snapshot_seq=background.event_seq or 0,
        events=unfolded,
        event_seq=held.event_seq,
        has_reminders=background.has_reminders,
    )


# ---- finish, fail, release ----

_held = (
    conversations.c.id == bindparam("conversation"),
    conversations.c.fence == bindparam("claimed_fence"),
    conversations.c.lease_owner.is_not(None),
)
_now = bindparam("now", type_=UtcDateTime)
# `waiting` is on the row itself, so that this sees a message accepted by a transaction it had to wait for; a look into
# the inbox would use the statement's older snapshot on PostgreSQL and leave that message lying.
_next_is_due: ColumnElement[datetime | None] = case((conversations.c.waiting > 1, _now), else_=None)
_ADVANCE = (
    update(conversations)
    .where(*_held, conversations.c.event_seq == bindparam("expected_event_seq"))
    .values(
        event_seq=conversations.c.event_seq + bindparam("added_events", type_=Integer),
        last_seq=conversations.c.last_seq + bindparam("added_parts", type_=Integer),
        status=func.coalesce(bindparam("new_status", type_=Text), conversations.c.status),
        language=func.coalesce(bindparam("new_language", type_=Text), conversations.c.language),
        updated_at=_now,
    )
    .returning(conversations.c.last_seq)
)
_SETTLE = _ADVANCE.values(
    waiting=conversations.c.waiting - 1, claimable_at=_next_is_due, lease_owner=None, lease_until=None
)
_CLOSE_MESSAGE = (
    update(inbox)
    .where(inbox.c.id == bindparam("inbound"), inbox.c.state == "waiting")
    .values(state=bindparam("new_state", type_=Text), error=bindparam("why", type_=Text), done_at=_now)
)
_ADD_EVENTS = events.insert()
_FORGET_EVENTS = events.delete().where(events.c.conversation_id == bindparam("conversation"))
_FORGET_SNAPSHOT = snapshots.delete().where(snapshots.c.conversation_id == bindparam("conversation"))
_SNAPSHOT = with_insert(
    lambda insert: (statement := insert(snapshots)).on_conflict_do_update(
        index_elements=["conversation_id"],
        set_={"event_seq": statement.excluded.event_seq, "body": statement.excluded.body},
    )
)


def finish(conn: Connection, claim: Claim, record: TurnRecord, now: datetime) -> list[OutboundMessage]:
    """Commit a turn: events, snapshot, prediction, the bot's messages, the inbox row done, the conversation free.

    Returns:
        The bot's messages with their transcript numbers, in order.
    Raises:
        StaleConversation: the conversation was claimed by another worker, or its log has moved; nothing is stored.
    """
    last_seq = _let_go(conn, claim, now, state="done", **_changes(record))
    _store(conn, claim, record, now)
    messages = _add_messages(
        conn, claim, record.bodies, record.body_metadata, "bot", record.delivery, last_seq, now, record.send_after
    )
    tell_turn_finished(conn, claim.assistant_id, claim.inbound_id, claim.sender_id)
    return messages


def advance(conn: Connection, claim: Claim, record: TurnRecord, now: datetime) -> Claim:
    """Commit a part of a turn whose answer goes on: as `finish`, but the conversation stays held, its message waiting.

    The first part brings the turn's events; those of later parts follow them.

    Returns:
        The claim to go on with: for the next part, and for `finish` or `fail`.
    Raises:
        StaleConversation: as `finish`.
    """
    held = {"conversation": claim.conversation_id, "claimed_fence": claim.fence, "now": now}
    last_seq: int | None = conn.execute(_ADVANCE, held | _changes(record)).scalar_one_or_none()
    if last_seq is None:
        raise _moved_on(claim)
    _store(conn, claim, record, now)
    said = _add_messages(
        conn, claim, record.bodies, record.body_metadata, "bot", record.delivery, last_seq, now, record.send_after
    )
    tell_part(conn, claim.assistant_id, claim.sender_id)
    return replace(
        claim,
        said=(*claim.said, *said),
        event_seq=record.expected_event_seq + len(record.events),
        has_reminders=claim.has_reminders or any(event["event"] == "reminder" for event in record.events),
    )


def _changes(record: TurnRecord) -> dict[str, Any]:
    language = record.prediction.language if record.prediction else None
    return {
        "expected_event_seq": record.expected_event_seq,
        "added_events": len(record.events),
        "added_parts": len(record.bodies),
        "new_status": record.status,
        "new_language": None if language == "und" else language,
    }


def _store(conn: Connection, claim: Claim, record: TurnRecord, now: datetime) -> None:
    """What a turn leaves in the log."""
    added = len(record.events)
    if record.replaces_log:
        conn.execute(_FORGET_EVENTS, {"conversation": claim.conversation_id})
        conn.execute(_FORGET_SNAPSHOT, {"conversation": claim.conversation_id})
    if added:
        conn.execute(_ADD_EVENTS, [*_event_rows(claim, record)])
    note_reminders(conn, claim, record.events, now)
    if record.snapshot is not None:
        filed = {"conversation_id": claim.conversation_id, "customer_id": claim.customer_id}
        event_seq = record.expected_event_seq + added
        conn.execute(for_(conn, _SNAPSHOT), {**filed, "event_seq": event_seq, "body": record.snapshot})
    if record.prediction is not None:
        add_prediction(conn, claim, record.prediction, now)


def fail(
    conn: Connection,
    claim: Claim,
    error: str,
    retry_at: datetime | None,
    now: datetime,
    *,
    bodies: Sequence[Mapping[str, Any]] = (),
    delivery: Delivery = "pull",
) -> list[OutboundMessage]:
    """Put the message back until `retry_at`, or (None) make it a dead letter and let later ones pass.

    Args:
        bodies: what a customer whose message died is told (only with retry_at None); they are the "system"'s words.
    Raises:
        StaleConversation: another worker holds the conversation by now; nothing is changed.
    """
    if retry_at is not None:
        _put_back(conn, claim, error, retry_at, now)
        return []
    last_seq = _let_go(
        conn,
        claim,
        now,
        state="dead",
        why=error,
        expected_event_seq=claim.event_seq,
        added_events=0,
        added_parts=len(bodies),
        new_status=None,
        new_language=None,
    )
    messages = _add_messages(conn, claim, bodies, (), "system", delivery, last_seq, now)
    tell_turn_finished(conn, claim.assistant_id, claim.inbound_id, claim.sender_id)
    return messages


def _let_go(
    conn: Connection, claim: Claim, now: datetime, *, state: str, why: str | None = None, **changes: object
) -> int:
    """Free the conversation and close its message; the transcript's last_seq after this turn."""
    held = {"conversation": claim.conversation_id, "claimed_fence": claim.fence, "now": now}
    last_seq: int | None = conn.execute(_SETTLE, held | changes).scalar_one_or_none()
    closing = {"inbound": claim.inbound_id, "new_state": state, "why": why, "now": now}
    if last_seq is None or conn.execute(_CLOSE_MESSAGE, closing).rowcount != 1:
        raise _moved_on(claim)
    return last_seq


def _moved_on(claim: Claim) -> StaleConversation:
    return StaleConversation(
        f"conversation {claim.conversation_id} was moved on by another worker while message {claim.inbound_id} ran"
    )


def _event_rows(claim: Claim, record: TurnRecord) -> list[dict[str, Any]]:
    return [
        {
            "conversation_id": claim.conversation_id,
            "customer_id": claim.customer_id,
            "seq": seq,
            "type": event["event"],
            "timestamp": event["timestamp"],
            "body": event,
        }
        for seq, event in enumerate(record.events, record.expected_event_seq + 1)
    ]


def _add_messages(
    conn: Connection,
    claim: Claim,
    bodies: Sequence[Mapping[str, Any]],
    body_metadata: Sequence[Mapping[str, Any]],
    author: Literal["bot", "system"],
    delivery: Delivery,
    last_seq: int,
    now: datetime,
    send_after: datetime | None = None,
) -> list[OutboundMessage]:
    return outbox_rows.add(
        conn,
        claim,
        [*zip(bodies, body_metadata or [{}] * len(bodies), strict=True)],
        author=author,
        state="pending" if delivery == "push" else "ready",
        first_seq=last_seq - len(bodies) + 1,
        now=now,
        send_after=send_after,
    )


_PUT_BACK = (
    update(conversations)
    .where(*_held)
    .values(claimable_at=bindparam("retry_at", type_=UtcDateTime), lease_owner=None, lease_until=None, updated_at=_now)
)
_NOTE_ERROR = (
    update(inbox)
    .where(inbox.c.id == bindparam("inbound"), inbox.c.state == "waiting")
    .values(error=bindparam("why", type_=Text))
)


def _put_back(conn: Connection, claim: Claim, error: str, retry_at: datetime, now: datetime) -> None:
    held = {"conversation": claim.conversation_id, "claimed_fence": claim.fence, "retry_at": retry_at, "now": now}
    noted = {"inbound": claim.inbound_id, "why": error}
    if conn.execute(_PUT_BACK, held).rowcount != 1 or conn.execute(_NOTE_ERROR, noted).rowcount != 1:
        raise _moved_on(claim)


_EXTEND = (
    update(conversations)
    .where(*_held)
    .values(lease_until=bindparam("until", type_=UtcDateTime), claimable_at=bindparam("until", type_=UtcDateTime))
)


def extend(conn: Connection, claim: Claim, now: datetime, lease_s: float) -> None:
    """Hold the conversation until now + lease_s, for a turn that takes long.

    Raises:
        StaleConversation: the lease was lost already.
    """
    until = now + timedelta(seconds=lease_s)
    held = {"conversation": claim.conversation_id, "claimed_fence": claim.fence, "until": until}
    if conn.execute(_EXTEND, held).rowcount != 1:
        raise StaleConversation(f"conversation {claim.conversation_id} is no longer held by this worker")


_BODY = select(inbox.c.body).where(inbox.c.id == bindparam("inbound")).with_for_update()
_NOTE_BODY = update(inbox).where(inbox.c.id == bindparam("inbound")).values(body=bindparam("new_body", type_=Json))


def note_metadata(conn: Connection, claim: Claim, metadata: Mapping[str, Any]) -> None:
    """What was found out about a message before its turn: a turn that has to run again begins with it.

    Raises:
        StaleConversation: another worker holds the conversation by now; nothing is changed.
    """
    if conn.execute(select(conversations.c.id).where(*_held).with_for_update(), _fence(claim)).one_or_none() is None:
        raise _moved_on(claim)
    body = conn.execute(_BODY, {"inbound": claim.inbound_id}).scalar_one()
    conn.execute(_NOTE_BODY, {"inbound": claim.inbound_id, "new_body": {**body, "metadata": dict(metadata)}})


def _fence(claim: Claim) -> dict[str, int]:
    return {"conversation": claim.conversation_id, "claimed_fence": claim.fence}


def release(conn: Connection, assistant_id: str, worker_id: str | None, now: datetime) -> int:
    """Give back what a worker holds (None: what anyone holds), to be claimed again at once; how many it were.

    Call it with None only where no other worker can be alive: at the start of the one process that owns the database.
    """
    statement = (
        update(conversations)
        .where(
            conversations.c.assistant_id == assistant_id,
            conversations.c.lease_owner.is_not(None),
            or_(literal(worker_id is None), conversations.c.lease_owner == (worker_id or "")),
        )
        .values(claimable_at=now, lease_owner=None, lease_until=None)
    )
    return conn.execute(statement).rowcount


# ---- look-ups ----

_WAITING = select(func.coalesce(func.sum(conversations.c.waiting), 0)).where(
    conversations.c.assistant_id == bindparam("assistant"), conversations.c.claimable_at.is_not(None)
)


def waiting(conn: Connection, assistant_id: str) -> int:
    """How many messages are accepted and not yet done or dead."""
    return int(conn.execute(_WAITING, {"assistant": assistant_id}).scalar_one())


_STATE = select(inbox.c.state).where(inbox.c.id == bindparam("inbound"), inbox.c.assistant_id == bindparam("assistant"))


def reply_to(conn: Connection, assistant_id: str, inbound_id: int) -> list[OutboundMessage] | None:
    """What was answered to a message, in order; None while it still waits (or does not exist)."""
    state = conn.execute(_STATE, {"inbound": inbound_id, "assistant": assistant_id}).scalar_one_or_none()
    return None if state in (None, "waiting") else outbox_rows.replies(conn, inbound_id)
