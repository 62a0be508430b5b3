"""What conversations have planned: kept with the turn that planned it, fired into the inbox when due.

Invariant: a reminder leaves the table in the transaction that puts its message into the inbox, so that it fires once,
whatever dies and however many replicas look.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Text, bindparam, exists, select

from bot.storage.arrivals import accept
from bot.storage.dialects import for_, with_insert
from bot.storage.records import Claim
from bot.storage.tables import conversations, identities, reminders
from bot.storage.types import Id, UtcDateTime
from connectors.base import InboundMessage

log = logging.getLogger("kefu.reminders")

MOST_AT_ONCE = 100
_PLAN = with_insert(
    lambda insert: (statement := insert(reminders)).on_conflict_do_update(
        index_elements=["conversation_id", "name"],
        set_={name: statement.excluded[name] for name in ("intent", "entities", "due_at", "kill_on_user_message")},
    )
)
_OF_CONVERSATION = reminders.c.conversation_id == bindparam("conversation", type_=Id)
_FORGET_ALL = reminders.delete().where(_OF_CONVERSATION)
_FORGET_AT_MESSAGE = reminders.delete().where(_OF_CONVERSATION, reminders.c.kill_on_user_message)
_PLANNED = select(reminders.c.id, reminders.c.name, reminders.c.intent, reminders.c.entities).where(_OF_CONVERSATION)
_FORGET = reminders.delete().where(reminders.c.id == bindparam("reminder", type_=Id))


def note_reminders(conn: Connection, claim: Claim, events: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Keep what a turn's events plan, drop what they call off.

    As in Rasa a restart or a new session calls everything off, a customer's message what was planned with
    `kill_on_user_msg`, and a second reminder of one name replaces the first.
    """
    kinds = {event["event"] for event in events}
    if not claim.has_reminders and "reminder" not in kinds:
        return
    here = {"conversation": claim.conversation_id}
    for event in events:
        match event["event"]:
            case "reminder":
                _plan(conn, claim, event, now)
            case "cancel_reminder":
                _call_off(conn, claim, event)
            case "restart" | "session_started":
                conn.execute(_FORGET_ALL, here)
            case "user":
                conn.execute(_FORGET_AT_MESSAGE, here)


def _plan(conn: Connection, claim: Claim, event: Mapping[str, Any], now: datetime) -> None:
    due_at = _moment(event.get("date_time"))
    if due_at is None or not event.get("intent"):
        log.error("reminder.unusable", extra={"sender_id": claim.sender_id, "date_time": event.get("date_time")})
        return
    planned = {
        "assistant_id": claim.assistant_id,
        "conversation_id": claim.conversation_id,
        "customer_id": claim.customer_id,
        "name": event.get("name") or f"{claim.inbound_id}-{event['timestamp']}",
        "intent": event["intent"],
        "entities": event.get("entities") or [],
        "due_at": due_at,
        "kill_on_user_message": bool(event.get("kill_on_user_msg", True)),
    }
    conn.execute(for_(conn, _PLAN), planned)


def _moment(written: object) -> datetime | None:
    """ISO 8601; without a zone it is this machine's time, as in Rasa: actions say `datetime.now() + …`."""
    try:
        return datetime.fromisoformat(str(written)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _call_off(conn: Connection, claim: Claim, event: Mapping[str, Any]) -> None:
    """Whatever matches the name, the intent and the entities that are given; all of it where none is."""
    for row in conn.execute(_PLANNED, {"conversation": claim.conversation_id}).all():
        if all(not event.get(key) or event[key] == getattr(row, key) for key in ("name", "intent", "entities")):
            conn.execute(_FORGET, {"reminder": row.id})


_IS_DUE = (
    reminders.c.assistant_id == bindparam("assistant", type_=Text),
    reminders.c.due_at <= bindparam("now", type_=UtcDateTime),
)
_ANY_DUE = select(exists().where(*_IS_DUE))
_DUE = (
    select(
        *(reminders.c[name] for name in ("id", "name", "intent", "entities")),
        *(conversations.c[name] for name in ("channel", "account", "thread", "sender_id")),
        identities.c.external_id.label("customer"),
    )
    .join(conversations, conversations.c.id == reminders.c.conversation_id)
    .join(identities, identities.c.id == conversations.c.identity_id)
    .where(*_IS_DUE)
    .order_by(reminders.c.due_at)
    .limit(MOST_AT_ONCE)
    .with_for_update(skip_locked=True, of=reminders)
)


def is_any_due(conn: Connection, assistant_id: str, now: datetime) -> bool:
    """Whether `fire` would find something."""
    return bool(conn.execute(_ANY_DUE, {"assistant": assistant_id, "now": now}).scalar_one())


def fire(conn: Connection, assistant_id: str, now: datetime) -> int:
    """Put what is due into the inbox of its conversation, as the intent it names; how many they were."""
    due = conn.execute(_DUE, {"assistant": assistant_id, "now": now}).all()
    for row in due:
        conn.execute(_FORGET, {"reminder": row.id})
        # As every message: a key of its own, so that the inbox takes it once.
        message = InboundMessage(
            channel=row.channel,
            account=row.account,
            external_id=f"reminder:{row.id}:{now.timestamp():.6f}",
            customer=row.customer,
            sender_id=row.sender_id,
            thread=row.thread,
            text="",
            received_at=now,
            command={"trigger": {"name": row.intent, "entities": row.entities}},
        )
        accept(conn, assistant_id, [message], [], now)
    return len(due)
