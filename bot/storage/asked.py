"""What of the log tells which passage answers a question: offers and presses, operators' replies, reviewed messages.

What is evidence is `bot.logged_questions`' to say. Invariant: a customer has the same key in every reading, and nobody
without this database can tell from it who it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select

from bot.storage.tables import conversations, customers, labels, predictions
from bot.storage.tables import events as event_rows
from bot.storage.types import UtcDateTime

OPERATORS = ("operator", "agent")
"""Events in which a person of the company speaks: ours, and Rasa's."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """What was said in one conversation, as Rasa's event JSON, in order. `customer`: a key."""

    customer: str
    events: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class ReviewedQuestion:
    """A message of which a person said what answers it; no passages: nothing does."""

    customer: str
    text: str
    passages: tuple[str, ...]


_telling = or_(
    event_rows.c.type.in_(OPERATORS),
    and_(event_rows.c.type == "bot", event_rows.c.body["metadata"]["knowledge"]["kind"].as_string() == "offered"),
)
_conversations = (
    select(event_rows.c.conversation_id)
    .join(conversations, conversations.c.id == event_rows.c.conversation_id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"), event_rows.c.timestamp >= bindparam("since"), _telling
    )
)
_LOGS = (
    select(conversations.c.id, conversations.c.customer_id, customers.c.created_at, event_rows.c.body)
    .join(event_rows, event_rows.c.conversation_id == conversations.c.id)
    .join(customers, customers.c.id == conversations.c.customer_id)
    .where(conversations.c.id.in_(_conversations), event_rows.c.type.in_(("user", "bot", *OPERATORS)))
    .order_by(conversations.c.id, event_rows.c.seq)
)


def logs(conn: Connection, assistant_id: str, since: datetime) -> list[Log]:
    """The conversations in which passages were offered, or a person of the company spoke, since then; in whole."""
    rows = conn.execute(_LOGS, {"assistant": assistant_id, "since": since.timestamp()})
    return [
        Log(customer=_key(said[0].customer_id, said[0].created_at), events=[row.body for row in said])
        for said in (list(of_one) for _, of_one in groupby(rows, key=lambda row: row.id))
    ]


_REVIEWED = (
    select(predictions.c.customer_id, customers.c.created_at, predictions.c.text, labels.c.passages)
    .join(labels, labels.c.prediction_id == predictions.c.id)
    .join(customers, customers.c.id == predictions.c.customer_id)
    .where(
        predictions.c.assistant_id == bindparam("assistant"),
        predictions.c.created_at >= bindparam("since", type_=UtcDateTime()),
        labels.c.passages.is_not(None),
    )
    .order_by(labels.c.created_at, predictions.c.id)
)


def reviewed(conn: Connection, assistant_id: str, since: datetime) -> list[ReviewedQuestion]:
    """Messages of since then whose passages a person named, in the order in which they did."""
    return [
        ReviewedQuestion(customer=_key(row.customer_id, row.created_at), text=row.text, passages=tuple(row.passages))
        for row in conn.execute(_REVIEWED, {"assistant": assistant_id, "since": since})
    ]


def customer_key(conn: Connection, customer_id: int) -> str:
    """The key under which `logs` and `reviewed` name this customer."""
    row = conn.execute(select(customers.c.created_at).where(customers.c.id == customer_id)).one()
    return _key(customer_id, row.created_at)


def _key(customer_id: int, created_at: datetime) -> str:
    """Numbers count up from 1 in every database; with the instant it is another one in each."""
    return hashlib.sha256(f"{customer_id} {created_at.isoformat()}".encode()).hexdigest()[:16]
