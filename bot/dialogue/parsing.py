"""From a message to parse data (Rasa's NLU result): `/intent{…}` messages, and what a model read.

Invariant: parse data names only intents and entities as they came; whether to trust them is decided here, once.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bot.assistant.config import FallbackClassifier
from bot.assistant.domain import Domain
from models.base import OUT_OF_SCOPE_INTENTS, Entity, Understanding

FALLBACK_INTENT = "nlu_fallback"
RANKING_LENGTH = 10
"""Intents kept in an event, as Rasa's classifiers do by default; the prediction log has them all."""
_PAYLOAD = re.compile(r"^/(?P<intent>[^{@]+)(?P<confidence>@[0-9.]+)?(?P<entities>\{.+\})?(?P<rest>.*)", re.DOTALL)


def parse_payload(text: str, domain: Domain) -> dict[str, Any] | None:
    """The parse data of `/intent@0.9{"entity": "value"}`; None for ordinary text, also where the intent is unknown."""
    stripped = text.strip()
    found = _PAYLOAD.match(stripped) if stripped.startswith("/") else None
    name = found["intent"].strip() if found else None
    if found is None or name not in domain.intents:
        return None
    intent = {"name": name, "confidence": _confidence(found["confidence"])}
    span = {"start": found.start("entities"), "end": found.end("entities"), "extractor": "RegexMessageHandler"}
    entities = [
        {"entity": entity, "value": value, **span}
        for entity, values in _payload_entities(found["entities"]).items()
        if entity in domain.entities
        for value in (values if isinstance(values, list) else [values])
    ]
    return {"text": stripped, "intent": intent, "intent_ranking": [intent], "entities": entities}


def _confidence(written: str | None) -> float:
    if written is None:
        return 1.0
    try:
        return min(1.0, float(written[1:]))
    except ValueError:
        return 0.0


def _payload_entities(written: str | None) -> dict[str, Any]:
    if written is None:
        return {}
    try:
        values = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def to_parse_data(understanding: Understanding, fallback: FallbackClassifier | None) -> dict[str, Any]:
    """Rasa's parse data of what a model read, with `sentiment` and `language` beside.

    The intent becomes `nlu_fallback` when the best one is unlikely, when two are close, or when the whole message is
    out of scope; `fallback_reason` then says why in words.
    """
    best = understanding.ranking[:RANKING_LENGTH]
    ranking = [{"name": score.name, "confidence": score.confidence} for score in best]
    intent: dict[str, Any] = dict(ranking[0]) if ranking else {"name": None, "confidence": 0.0}
    parse_data: dict[str, Any] = {
        "text": understanding.text,
        "intent": intent,
        "entities": [_entity(entity, understanding.text) for entity in understanding.entities],
        "intent_ranking": ranking,
        "sentiment": {"name": understanding.sentiment, "confidence": understanding.sentiment_confidence},
        "language": understanding.language,
        "model_version": understanding.model_version,
    }
    # Rasa knows neither; both are said only where there is something to say.
    if understanding.also:
        parse_data["also"] = [{"name": score.name, "confidence": score.confidence} for score in understanding.also]
    if understanding.is_code_switched:
        parse_data["code_switched"] = True
    reason = _fallback_reason(understanding, fallback)
    if reason:
        confidence = fallback.threshold if fallback else intent["confidence"]
        parse_data["intent"] = {"name": FALLBACK_INTENT, "confidence": confidence}
        parse_data["intent_ranking"] = [parse_data["intent"], *ranking]
        parse_data["fallback_reason"] = reason
    return parse_data


def _fallback_reason(understanding: Understanding, fallback: FallbackClassifier | None) -> str | None:
    ranking = understanding.ranking
    if not ranking:
        return "nothing was understood"
    # An assistant that has an intent for what it cannot help with has an answer to it as well.
    if understanding.is_out_of_scope and ranking[0].name not in OUT_OF_SCOPE_INTENTS:
        return f"out of scope (score {understanding.out_of_scope_score:.2f})"
    if fallback is None:
        return None
    best = ranking[0].confidence
    if best < fallback.threshold:
        return f"confidence {best:.2f} < {fallback.threshold:.2f}"
    if len(ranking) > 1 and best - ranking[1].confidence < fallback.ambiguity_threshold:
        return f"'{ranking[0].name}' and '{ranking[1].name}' are {best - ranking[1].confidence:.2f} apart"
    return None


def _entity(entity: Entity, text: str) -> dict[str, Any]:
    described: dict[str, Any] = {
        "entity": entity.entity,
        "value": entity.value,
        "start": entity.start,
        "end": entity.end,
        "extractor": entity.extractor,
    }
    if entity.role is not None:
        described["role"] = entity.role
    if entity.group is not None:
        described["group"] = entity.group
    if entity.additional_info is not None:
        # Rasa's DucklingEntityExtractor writes these keys, and `confidence` where learned extractors have another name.
        described["text"] = text[entity.start : entity.end]
        described["confidence"] = entity.confidence
        described["additional_info"] = dict(entity.additional_info)
    elif entity.confidence is not None:
        described["confidence_entity"] = entity.confidence
    return described
