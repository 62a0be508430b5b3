"""Conversations that were held elsewhere come in: events as they were, transcript, what was understood.

Invariants: importing twice stores nothing twice; a conversation that has gone on here, or began here, is left alone;
what is imported is over: nothing of it is answered, sent or scheduled again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, select

from bot.storage.rasa_store import StoredConversation, StoredEvent
from bot.storage.tables import conversations, customers, events, identities, inbox, outbox, predictions
from bot.storage.types import from_json, to_json
from connectors.base import RESERVED_PREFIXES, storable_text

Outcome = Literal[
    "new",  # it was not here
    "extended",  # its beginning was; what came later was added
    "unchanged",  # all of it was here already
    "different",  # another conversation has this name here; left alone
    "refused",  # its name cannot be used here; left alone
]
MODEL_VERSION = "rasa"
"""Who read an imported message: it stands in the review log where one of our versions stands otherwise."""
_CHANNELS = ("socketio",)


def add_conversations(
    conn: Connection, assistant_id: str, batch: Sequence[StoredConversation]
) -> list[tuple[Outcome, int]]:
    """Store what is not stored yet; for each conversation what became of it and how many events were added."""
    return [_add(conn, assistant_id, conversation) for conversation in batch]


def _add(conn: Connection, assistant_id: str, conversation: StoredConversation) -> tuple[Outcome, int]:
    sender = conversation.sender_id
    if not sender or storable_text(sender) != sender or _is_reserved(sender):
        return "refused", 0
    if not conversation.events:
        return "unchanged", 0
    stored = [StoredEvent(row=event.row, body=_as_stored(event.body)) for event in conversation.events]
    found = conn.execute(
        select(conversations)
        .where(conversations.c.assistant_id == assistant_id, conversations.c.sender_id == sender)
        .with_for_update()
    ).one_or_none()
    if found is None:
        _append(conn, _create(conn, assistant_id, sender, stored), stored, stored)
        return "new", len(stored)
    return _extend(conn, found, stored)


def _is_reserved(sender: str) -> bool:
    prefix, colon, _ = sender.partition(":")
    return bool(colon) and prefix in RESERVED_PREFIXES


def _as_stored(body: Mapping[str, Any]) -> dict[str, Any]:
    """The event as it reads when it comes back, so that both sides of a comparison are alike."""
    plain: dict[str, Any] = from_json(to_json(body))
    return plain


def _extend(conn: Connection, found: Row[Any], ours: list[StoredEvent]) -> tuple[Outcome, int]:
    query = select(events.c.body).where(events.c.conversation_id == found.id).order_by(events.c.seq)
    here = list(conn.execute(query).scalars())
    theirs = [event.body for event in ours]
    if here[: len(theirs)] == theirs:
        return "unchanged", 0
    is_busy = found.waiting or found.lease_owner is not None
    if is_busy or here != theirs[: len(here)]:
        return "different", 0
    added = ours[len(here) :]
    _append(conn, found, ours, added)
    return "extended", len(added)


def _create(conn: Connection, assistant_id: str, sender: str, stored: Sequence[StoredEvent]) -> Row[Any]:
    began = _instant(stored[0].body)
    channel = _channel(stored)
    filed = {"assistant_id": assistant_id, "created_at": began}
    known = conn.execute(
        select(identities.c.id, identities.c.customer_id).where(
            identities.c.assistant_id == assistant_id,
            identities.c.channel == channel,
            identities.c.account == "",
            identities.c.external_id == sender,
        )
    ).one_or_none()
    if known is None:
        customer = conn.execute(customers.insert().values(filed).returning(customers.c.id)).scalar_one()
        own = filed | {"customer_id": customer, "channel": channel, "account": "", "external_id": sender}
        known = conn.execute(identities.insert().values(own).returning(identities.c.id, identities.c.customer_id)).one()
    row = {
        "assistant_id": assistant_id,
        "customer_id": known.customer_id,
        "identity_id": known.id,
        "channel": channel,
        "account": "",
        "thread": "",
        "sender_id": sender,
        "status": "open",
        **dict.fromkeys(("last_seq", "event_seq", "waiting", "fence"), 0),
        "created_at": began,
        "updated_at": began,
    }
    return conn.execute(conversations.insert().values(row).returning(conversations)).one()


def _channel(stored: Sequence[StoredEvent]) -> str:
    """The channel on which its customer will write again; everything but our own push channels comes in over REST."""
    spoken = [event.body.get("input_channel") for event in stored if event.body["event"] == "user"]
    return next((channel for channel in reversed(spoken) if channel in _CHANNELS), "rest")


def _instant(body: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(body["timestamp"], UTC)


def _append(conn: Connection, found: Row[Any], stored: Sequence[StoredEvent], added: Sequence[StoredEvent]) -> None:
    """Add `added`, the end of `stored`, to the log and to the transcript."""
    first = len(stored) - len(added) + 1
    owner = {"conversation_id": found.id, "customer_id": found.customer_id}
    conn.execute(
        events.insert(),
        [
            owner | {"seq": seq, "type": e.body["event"], "timestamp": e.body["timestamp"], "body": e.body}
            for seq, e in enumerate(added, first)
        ],
    )
    last_seq = _write_transcript(conn, found, added)
    conn.execute(
        conversations.update()
        .where(conversations.c.id == found.id)
        .values(event_seq=len(stored), last_seq=last_seq, updated_at=_instant(stored[-1].body))
    )


def _write_transcript(conn: Connection, found: Row[Any], added: Sequence[StoredEvent]) -> int:
    """What was said, under the transcript's next numbers; the last number."""
    filed = {
        "assistant_id": found.assistant_id,
        "conversation_id": found.id,
        "customer_id": found.customer_id,
        "channel": found.channel,
    }
    seq: int = found.last_seq
    inbound_id: int | None = None
    part = 0
    for event in added:
        if event.body["event"] == "user" and event.body.get("text"):
            seq, part = seq + 1, 0
            row = filed | _inbound(found.account, event, seq)
            inbound_id = conn.execute(inbox.insert().values(row).returning(inbox.c.id)).scalar_one()
            _log_reading(conn, filed, inbound_id, event.body)
        elif event.body["event"] == "bot":
            seq += 1
            row = filed | _outbound(event.body, seq) | {"inbound_id": inbound_id, "part": part}
            conn.execute(outbox.insert().values(row))
            part += 1
    return seq


def _inbound(account: str, event: StoredEvent, seq: int) -> dict[str, Any]:
    body = event.body
    at = _instant(body)
    metadata = (body.get("parse_data") or {}).get("metadata")
    return {
        "account": account,
        "external_id": f"rasa:{event.row}",
        "seq": seq,
        "text": body["text"],
        "body": {
            "metadata": metadata if isinstance(metadata, dict) else {},
            "input_channel": body.get("input_channel") or "",
            "language_hint": None,
        },
        "state": "done",
        "attempts": 1,
        "received_at": at,
        "done_at": at,
    }


def _outbound(body: Mapping[str, Any], seq: int) -> dict[str, Any]:
    at = _instant(body)
    said = {key: value for key, value in (body.get("data") or {}).items() if value is not None}
    if body.get("text") is not None:
        said["text"] = body["text"]
    return {
        "seq": seq,
        "author": "bot",
        "body": said,
        "metadata": {"model_version": MODEL_VERSION},
        "state": "delivered",
        "attempts": 1,
        "created_at": at,
        "settled_at": at,
    }


def _log_reading(conn: Connection, filed: Mapping[str, Any], inbound_id: int, body: Mapping[str, Any]) -> None:
    """Free text goes to the review log, so that old messages can be labelled and learned from."""
    parse = body.get("parse_data") or {}
    ranked = parse.get("intent_ranking")
    listed: list[Any] = ranked if isinstance(ranked, list) else [parse.get("intent")]
    named: list[dict[str, Any]] = [one for one in listed if _is_ranked(one)]
    if body["text"].startswith("/") or not named:
        return
    ranking = [{"name": one["name"], "confidence": float(one["confidence"])} for one in named[:10]]
    intent = parse.get("intent") or {}
    margin = ranking[0]["confidence"] - (ranking[1]["confidence"] if len(ranking) > 1 else 0.0)
    row = {
        **{key: filed[key] for key in ("assistant_id", "conversation_id", "customer_id")},
        "inbound_id": inbound_id,
        "text": body["text"],
        "intent": ranking[0]["name"],
        "ranking": ranking,
        "confidence": ranking[0]["confidence"],
        "margin": margin,
        "out_of_scope_score": 0.0,
        "is_out_of_scope": False,
        "fallback": intent.get("name") == "nlu_fallback",
        "entities": parse.get("entities") or [],
        "model_version": MODEL_VERSION,
        "latency_ms": 0.0,
        "created_at": _instant(body),
    }
    conn.execute(predictions.insert().values(row))


def _is_ranked(one: object) -> bool:
    return isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("confidence"), int | float)
