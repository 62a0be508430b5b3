"""What the storage suites say and do: messages, turns, one worker's step. Nothing is asserted here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from bot.storage import arrivals, inbox
from bot.storage.inbox import Claim, TurnRecord
from bot.storage.predictions import PredictionRecord
from connectors.base import InboundMessage, OutboundMessage, Receipt

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
SHOP = "shop"


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def message(key: str, /, sender: str = "ann", **changes: Any) -> InboundMessage:
    values: dict[str, Any] = {
        "channel": "rest",
        "account": "",
        "external_id": key,
        "customer": sender,
        "sender_id": sender,
        "text": key,
        "received_at": NOON,
        "input_channel": "rest",
    }
    return InboundMessage(**values | changes)


def accept(conn: Connection, *keys: str, sender: str = "ann", now: datetime = NOON) -> list[Receipt]:
    return arrivals.accept(conn, SHOP, [message(key, sender) for key in keys], [], now)


def claim(
    conn: Connection, now: datetime = NOON, *, worker: str = "w1", lease_s: float = 30, limit: int = 10
) -> list[Claim]:
    return inbox.claim(conn, SHOP, worker, now, lease_s, limit)


def events(*names: str) -> list[dict[str, Any]]:
    return [{"event": "action", "name": name, "timestamp": 1.5 + number} for number, name in enumerate(names)]


def turn(held: Claim, *said: str, **changes: Any) -> TurnRecord:
    values: dict[str, Any] = {
        "events": events(f"on {held.message.text}"),
        "expected_event_seq": held.event_seq,
        "bodies": [{"text": text} for text in said],
    }
    return TurnRecord(**values | changes)


def finish(conn: Connection, held: Claim, *said: str, now: datetime = NOON, **changes: Any) -> list[OutboundMessage]:
    return inbox.finish(conn, held, turn(held, *said, **changes), now)


def advance(conn: Connection, held: Claim, *said: str, now: datetime = NOON, **changes: Any) -> Claim:
    return inbox.advance(conn, held, turn(held, *said, **changes), now)


def prediction(text: str, scores: Sequence[float], **changes: Any) -> PredictionRecord:
    values: dict[str, Any] = {
        "text": text,
        "ranking": [{"name": f"intent_{n}", "confidence": score} for n, score in enumerate(scores)],
        "confidence": scores[0],
        "out_of_scope_score": 0.1,
        "is_out_of_scope": False,
        "fallback": False,
        "model_version": "v1",
        "latency_ms": 2.5,
        "language": "en",
        "sentiment": "neutral",
    }
    return PredictionRecord(**values | changes)
