"""What a turn's outcome becomes in the log and in the outbox: the values that one transaction writes.

No database here. Invariant: every answer names the version of the model that read its message.
"""

from __future__ import annotations

from bot.assistant.brand import Brand
from bot.dialogue.events import HandoffRequested, UserUttered, to_json
from bot.dialogue.manager import Turn, UserMessage
from bot.dialogue.tracker import Tracker
from bot.storage.records import Claim, Delivery, PredictionRecord, TurnRecord
from bot.turns import Reading
from models.base import Understanding

# Events, some ten turns, after which a new snapshot is taken: one is as large as all the events it stands for.
SNAPSHOT_EVERY = 100

APOLOGY = {
    "en": "Sorry, something went wrong on our side. Please try again in a moment, or ask for a person.",
    "zh": "抱歉，我们这边出了点问题。请稍后再试，或者回复“转人工”。",
}


def has_handoff(outcome: Turn) -> bool:
    return any(isinstance(event, HandoffRequested) for event in outcome.events)


def turn_record(claim: Claim, reading: Reading | None, outcome: Turn, delivery: Delivery, folded_to: int) -> TurnRecord:
    seen = reading.understanding if reading else None
    is_far = outcome.tracker.event_count - folded_to >= SNAPSHOT_EVERY
    return TurnRecord(
        events=[to_json(event) for event in outcome.events],
        expected_event_seq=claim.event_seq,
        snapshot=outcome.tracker.snapshot() if is_far else None,
        bodies=[message.body for message in outcome.messages],
        body_metadata=[{"model_version": seen.model_version} if seen else {} for _ in outcome.messages],
        prediction=prediction(seen, reading) if seen and reading else None,
        status="waiting" if has_handoff(outcome) else None,
        delivery=delivery,
    )


def prediction(seen: Understanding, reading: Reading) -> PredictionRecord:
    return PredictionRecord(
        text=seen.text,
        ranking=[{"name": score.name, "confidence": round(score.confidence, 6)} for score in seen.ranking[:10]],
        confidence=seen.intent.confidence,
        out_of_scope_score=seen.out_of_scope_score,
        is_out_of_scope=seen.is_out_of_scope,
        sentiment=seen.sentiment,
        entities=reading.parse_data.get("entities", []),
        language=seen.language,
        model_version=seen.model_version,
        latency_ms=seen.latency_ms,
        fallback=(reading.parse_data.get("intent") or {}).get("name") == "nlu_fallback",
    )


def silent_record(claim: Claim, reading: Reading, tracker: Tracker, message: UserMessage, now: float) -> TurnRecord:
    """An operator holds the conversation: the customer's message is logged, the bot says nothing."""
    event = UserUttered(
        timestamp=max(now, tracker.last_timestamp + 1e-6),
        metadata=message.metadata,
        text=message.text,
        parse_data=message.parse_data,
        input_channel=message.input_channel,
        message_id=message.message_id,
    )
    tracker.apply(event)
    seen = reading.understanding
    return TurnRecord(
        events=[to_json(event)],
        expected_event_seq=claim.event_seq,
        prediction=prediction(seen, reading) if seen else None,
    )


def apology(claim: Claim, brand: Brand) -> list[dict[str, str]]:
    """In the language of the conversation, else of the message; a first word says who speaks, as any other would."""
    is_chinese = claim.language == "zh" or any("\u4e00" <= char <= "\u9fff" for char in claim.message.text)
    language = "zh" if is_chinese else "en"
    is_first = claim.event_seq == 0 and brand.disclosure_enabled
    disclosure = [{"text": brand.disclosure(language)}] if is_first else []
    return [*disclosure, {"text": APOLOGY[language]}]
