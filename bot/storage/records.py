"""What passes between the worker and the database: a claim, a turn's record, a prediction. Values only, no SQL.

Invariant: frozen; JSON inside is plain dicts and lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from connectors.base import InboundMessage, OutboundMessage

Status = Literal["open", "waiting", "with_operator", "resolved", "closed"]
Delivery = Literal["pull", "push"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One conversation, held until `lease_until`, with its oldest waiting message and what folds into its tracker.

    Attributes:
        fence: proof of this claim; a later claim of the conversation makes it worthless.
        attempts: how often this message was claimed, this time included.
        events: the bodies after `snapshot` (all of them when there is none), up to `event_seq`.
        has_reminders: something is planned in this conversation.
        said: the parts of the answer that are stored already. Where there are any the turn has begun, is in the log and
            must not run again; the rest of the answer is missing.
    """

    inbound_id: int
    conversation_id: int
    customer_id: int
    assistant_id: str
    sender_id: str
    channel: str
    status: Status
    language: str | None
    fence: int
    lease_until: datetime
    attempts: int
    message: InboundMessage
    seq: int
    snapshot: dict[str, Any] | None
    snapshot_seq: int
    events: list[dict[str, Any]]
    event_seq: int
    has_reminders: bool = False
    said: Sequence[OutboundMessage] = ()


@dataclass(frozen=True, kw_only=True)
class PredictionRecord:
    """What the model read in one message, as it is logged for review and retraining.

    Attributes:
        ranking: `{"name": …, "confidence": …}`, best first, not empty.
        fallback: the bot did not act on it (below the threshold, ambiguous or out of scope).
        model_version: the version of the model that made it.
    """

    text: str
    ranking: Sequence[Mapping[str, Any]]
    confidence: float
    out_of_scope_score: float
    is_out_of_scope: bool
    fallback: bool
    model_version: str
    latency_ms: float
    sentiment: str | None = None
    entities: Sequence[Mapping[str, Any]] = ()
    language: str | None = None


@dataclass(frozen=True, kw_only=True)
class TurnRecord:
    """What a turn leaves behind, committed at once.

    Attributes:
        expected_event_seq: the conversation's `event_seq` that the turn started from.
        bodies: Rasa bot messages, one outbox row each; `body_metadata` is as long, or empty.
        replaces_log: the events take the place of all that were stored before.
        delivery: "pull" rows wait for the client's confirmation, "push" rows for the outbox worker.
        send_after: when the outbox worker may send the push rows; None: at once.
    """

    events: Sequence[Mapping[str, Any]]
    expected_event_seq: int
    snapshot: Mapping[str, Any] | None = None
    bodies: Sequence[Mapping[str, Any]] = ()
    body_metadata: Sequence[Mapping[str, Any]] = ()
    prediction: PredictionRecord | None = None
    status: Status | None = None
    replaces_log: bool = False
    delivery: Delivery = "pull"
    send_after: datetime | None = None
