"""A reply that is said while it is written: what of it goes into the log and the outbox, commit by commit.

The first sentence is the answer that the dialogue gave; what follows it becomes further messages of the same turn. The
commits themselves are `worker.py`'s. Invariant: once something of a reply is committed, its first message has with it
what is said where nobody can go on, so that any worker can end it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bot.answers.compose import Answer
from bot.answers.parts import Part, Rest
from bot.dialogue.events import BotUttered, to_json
from bot.dialogue.parsing import CONTINUES, KNOWLEDGE, MORE, said_of
from bot.storage.records import Claim, Delivery, TurnRecord
from connectors.base import OutboundMessage

_TICK_S = 1e-6
_INSTEAD = "instead"


def beginning(record: TurnRecord) -> int | None:
    """Which message of a turn begins a reply that is still being written; None where the dialogue did not say it."""
    said = (event for event in record.events if event["event"] == "bot")
    return next((number for number, event in enumerate(said) if _known(event).get(MORE)), None)


def begun(record: TurnRecord, rest: Rest) -> TurnRecord:
    """The turn as it is committed first, where the beginning is its last message."""
    *before, first = record.body_metadata
    return replace(record, body_metadata=[*before, {**first, MORE: True, _INSTEAD: _instead(rest.instead)}])


def continued(claim: Claim, record: TurnRecord, part: Part, now: float) -> TurnRecord:
    """What is committed next. `record` is what was committed before it."""
    known = part.answer.to_json()
    more = {MORE: True} if part.whole is None else {}
    about = {**said_of(known), CONTINUES: True, **more}
    last = float(record.events[-1]["timestamp"])
    return _further(claim, part.answer.text, about, part.joined_by, last, now, record.delivery)


def resumed(claim: Claim, last_timestamp: float, now: float, delivery: Delivery) -> TurnRecord:
    """The end of a reply whose worker died: the passage."""
    instead = _beginning_of(claim.said).metadata[_INSTEAD]
    about = {**said_of(instead), CONTINUES: True}
    return _further(claim, instead["text"], about, "\n", last_timestamp, now, delivery)


async def completed(record: TurnRecord, number: int, rest: Rest) -> TurnRecord:
    """The turn with the whole reply at its place, once it is written: something is said after it.

    No snapshot: it would hold the beginning alone. The next turn takes one.
    """
    known = (await rest.whole()).to_json()
    bots = [place for place, event in enumerate(record.events) if event["event"] == "bot"]
    events = [
        _completed_event(event, known) if place == bots[number] or event["event"] == "user" else event
        for place, event in enumerate(record.events)
    ]
    bodies = [*record.bodies]
    bodies[number] = {**bodies[number], "text": known["text"]}
    return replace(record, events=events, bodies=bodies, snapshot=None)


def _completed_event(event: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    if event["event"] == "bot":
        return {**event, "text": known["text"], "metadata": {**event["metadata"], KNOWLEDGE: said_of(known)}}
    parse_data = event.get("parse_data") or {}
    return {**event, "parse_data": {**parse_data, KNOWLEDGE: known}} if KNOWLEDGE in parse_data else {**event}


def _further(
    claim: Claim, text: str, known: Mapping[str, Any], joined_by: str, last_timestamp: float, now: float,
    delivery: Delivery,
) -> TurnRecord:  # fmt: skip
    said = BotUttered(timestamp=max(now, last_timestamp + _TICK_S), text=text, metadata={KNOWLEDGE: known})
    first = _beginning_of(claim.said)
    place = {CONTINUES: {"seq": first.seq, "joined_by": joined_by}}
    more = {MORE: True} if known.get(MORE) else {}
    kept = {key: value for key, value in first.metadata.items() if key not in (MORE, _INSTEAD)}
    return TurnRecord(
        events=[to_json(said)],
        expected_event_seq=claim.event_seq,
        bodies=[{"text": text}],
        body_metadata=[{**kept, **place, **more}],
        delivery=delivery,
    )


def _beginning_of(said: Sequence[OutboundMessage]) -> OutboundMessage:
    return next(message for message in said if _INSTEAD in message.metadata)


def _instead(answer: Answer) -> dict[str, Any]:
    known = answer.to_json()
    return {"text": answer.text, **said_of(known)}


def _known(event: Mapping[str, Any]) -> Mapping[str, Any]:
    known: Mapping[str, Any] = (event.get("metadata") or {}).get(KNOWLEDGE) or {}
    return known
