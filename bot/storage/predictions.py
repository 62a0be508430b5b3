"""What the models read, what people said it should have been: the log that review and retraining work from.

Invariant: one prediction a message, one label a prediction; labelling twice is labelling once, the last word counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, Select, select

from bot.storage.dialects import for_, with_insert
from bot.storage.records import Claim, PredictionRecord
from bot.storage.tables import labels as labels_table
from bot.storage.tables import predictions
from connectors.base import storable_text

__all__ = [
    "Label",
    "LabelOutcome",
    "LabelledText",
    "PredictionRecord",
    "ReviewItem",
    "ReviewLimits",
    "add_labels",
    "add_prediction",
    "for_review",
    "labels",
]

_ADD = predictions.insert()


def add_prediction(conn: Connection, claim: Claim, record: PredictionRecord, now: datetime) -> None:
    """Log what the model read in the claimed message."""
    scores = [float(entry["confidence"]) for entry in record.ranking[:2]]
    conn.execute(
        _ADD,
        {
            "assistant_id": claim.assistant_id,
            "conversation_id": claim.conversation_id,
            "customer_id": claim.customer_id,
            "inbound_id": claim.inbound_id,
            "text": storable_text(record.text),
            "intent": record.ranking[0]["name"],
            "ranking": list(record.ranking),
            "confidence": record.confidence,
            "margin": scores[0] - scores[1] if len(scores) == 2 else scores[0],
            "out_of_scope_score": record.out_of_scope_score,
            "is_out_of_scope": record.is_out_of_scope,
            "fallback": record.fallback,
            "sentiment": record.sentiment,
            "entities": list(record.entities),
            "language": record.language,
            "model_version": record.model_version,
            "latency_ms": record.latency_ms,
            "created_at": now,
        },
    )


# ---- review ----


@dataclass(frozen=True, kw_only=True)
class ReviewLimits:
    """How many of each kind a person is asked to look at."""

    uncertain: int = 50
    fallback: int = 50
    random: int = 50


@dataclass(frozen=True, kw_only=True)
class ReviewItem:
    """A prediction that a person should look at, and why it was chosen."""

    prediction_id: int
    conversation_id: int
    why: Literal["uncertain", "fallback", "random"]
    text: str
    language: str | None
    intent: str
    ranking: list[dict[str, Any]]
    confidence: float
    is_out_of_scope: bool
    fallback: bool
    sentiment: str | None
    entities: list[dict[str, Any]]
    model_version: str
    created_at: datetime


def for_review(
    conn: Connection, assistant_id: str, since: datetime, limits: ReviewLimits, seed: int
) -> list[ReviewItem]:
    """Unlabelled predictions since then: fallen back (latest first), uncertain (least margin first), and random ones.

    No text twice, no prediction in two groups; the same seed over the same log chooses the same ones.
    """
    fresh = (
        select(predictions)
        .outerjoin(labels_table, labels_table.c.prediction_id == predictions.c.id)
        .where(
            predictions.c.assistant_id == assistant_id,
            predictions.c.created_at >= since,
            labels_table.c.prediction_id.is_(None),
        )
    )
    fallen = fresh.where(predictions.c.fallback.is_(True)).order_by(predictions.c.id.desc())
    acted = fresh.where(predictions.c.fallback.is_(False))
    uncertain = acted.order_by(predictions.c.margin, predictions.c.id)
    seen: set[str] = set()
    return [
        *(_to_item(row, "fallback") for row in _take_new(conn.execute(fallen), limits.fallback, seen)),
        *(_to_item(row, "uncertain") for row in _take_new(conn.execute(uncertain), limits.uncertain, seen)),
        *(_to_item(row, "random") for row in _take_new(_shuffled(conn, acted, seed), limits.random, seen)),
    ]


def _shuffled(conn: Connection, rows: Select[Any], seed: int) -> Iterable[Row[Any]]:
    ids = list(conn.execute(rows.with_only_columns(predictions.c.id).order_by(predictions.c.id)).scalars())
    random.Random(seed).shuffle(ids)
    for prediction_id in ids:
        yield conn.execute(select(predictions).where(predictions.c.id == prediction_id)).one()


def _take_new(rows: Iterable[Row[Any]], limit: int, seen: set[str]) -> Iterable[Row[Any]]:
    """The first `limit` rows whose text was not seen yet, capitals and outer spaces aside."""
    taken = 0
    for row in rows:
        if taken == limit:
            return
        text = row.text.strip().casefold()
        if text not in seen:
            seen.add(text)
            taken += 1
            yield row


def _to_item(row: Row[Any], why: Literal["uncertain", "fallback", "random"]) -> ReviewItem:
    return ReviewItem(
        prediction_id=row.id,
        conversation_id=row.conversation_id,
        why=why,
        text=row.text,
        language=row.language,
        intent=row.intent,
        ranking=row.ranking,
        confidence=row.confidence,
        is_out_of_scope=row.is_out_of_scope,
        fallback=row.fallback,
        sentiment=row.sentiment,
        entities=row.entities,
        model_version=row.model_version,
        created_at=row.created_at,
    )


# ---- labels ----


@dataclass(frozen=True, kw_only=True)
class Label:
    """What a person says that a prediction should have been; None leaves that head alone. `passages`: what in the
    documents answers the message; (): nothing, None: not said."""

    prediction_id: int
    intent: str | None = None
    sentiment: str | None = None
    labelled_by: str = ""
    passages: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LabelOutcome:
    """What importing labels did; `unknown` are the prediction ids that do not exist here."""

    added: int
    changed: int
    unchanged: int
    unknown: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledText:
    """A customer's words with a person's label, not yet redacted."""

    prediction_id: int
    conversation_id: int
    text: str
    language: str | None
    intent: str | None
    sentiment: str | None
    labelled_by: str
    created_at: datetime


_FIND = select(
    predictions.c.customer_id,
    *(labels_table.c[name] for name in ("prediction_id", "intent", "sentiment", "passages")),
).outerjoin(labels_table, labels_table.c.prediction_id == predictions.c.id)
_SET = with_insert(
    lambda insert: (statement := insert(labels_table)).on_conflict_do_update(
        index_elements=["prediction_id"],
        set_={
            name: statement.excluded[name] for name in ("intent", "sentiment", "labelled_by", "created_at", "passages")
        },
    )
)


def add_labels(conn: Connection, assistant_id: str, new: Sequence[Label], now: datetime) -> LabelOutcome:
    """Store people's labels; importing the same ones again changes nothing."""
    counts = {"added": 0, "changed": 0, "unchanged": 0}
    unknown: list[int] = []
    for label in new:
        mine = _FIND.where(predictions.c.id == label.prediction_id, predictions.c.assistant_id == assistant_id)
        found = conn.execute(mine).one_or_none()
        if found is None:
            unknown.append(label.prediction_id)
        elif found.prediction_id is not None and _said(found) == (label.intent, label.sentiment, label.passages):
            counts["unchanged"] += 1
        else:
            counts["added" if found.prediction_id is None else "changed"] += 1
            conn.execute(
                for_(conn, _SET),
                {
                    "prediction_id": label.prediction_id,
                    "customer_id": found.customer_id,
                    "intent": label.intent,
                    "sentiment": label.sentiment,
                    "labelled_by": label.labelled_by,
                    "created_at": now,
                    "passages": None if label.passages is None else [*label.passages],
                },
            )
    return LabelOutcome(**counts, unknown=tuple(unknown))


def _said(row: Row[Any]) -> tuple[str | None, str | None, tuple[str, ...] | None]:
    return row.intent, row.sentiment, None if row.passages is None else tuple(row.passages)


def labels(conn: Connection, assistant_id: str) -> list[LabelledText]:
    """Every label of the assistant with the words it is about, oldest prediction first."""
    rows = conn.execute(
        select(
            predictions.c.id,
            *(predictions.c[name] for name in ("conversation_id", "text", "language")),
            *(labels_table.c[name] for name in ("intent", "sentiment", "labelled_by", "created_at")),
        )
        .join(labels_table, labels_table.c.prediction_id == predictions.c.id)
        .where(predictions.c.assistant_id == assistant_id)
        .order_by(predictions.c.id)
    )
    return [
        LabelledText(
            prediction_id=row.id,
            conversation_id=row.conversation_id,
            text=row.text,
            language=row.language,
            intent=row.intent,
            sentiment=row.sentiment,
            labelled_by=row.labelled_by,
            created_at=row.created_at,
        )
        for row in rows
    ]
