"""From a message to parse data (Rasa's NLU result): `/intent{…}` messages, and what a model read.

Invariant: parse data names only intents and entities as they came; whether to trust them is decided here, once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot.assistant.config import FallbackClassifier
from bot.assistant.domain import Domain
from models.base import OUT_OF_SCOPE_INTENTS, Entity, IntentScore, Understanding

FALLBACK_INTENT = "nlu_fallback"
KNOWLEDGE = "knowledge"
"""Where parse data, and the bot's message after it, say what the documents answered."""
MORE, CONTINUES = "more", "continues"
"""In both: a reply that is still being written goes on in another message; it began in an earlier one."""
SAFETY = "safety"
"""Where parse data say what kind of care a message needs, and why. With it, whatever answers keeps to written words."""
ANY_INTENT = "default"
"""Rasa's key of a response selected among those of all retrieval intents."""
RANKING_LENGTH = 10
"""Intents kept in an event, as Rasa's classifiers do by default; the prediction log has them all."""
_PAYLOAD = re.compile(r"^/(?P<intent>[^{@]+)(?P<confidence>@[0-9.]+)?(?P<entities>\{.+\})?(?P<rest>.*)", re.DOTALL)


def parse_payload(text: str, domain: Domain) -> dict[str, Any] | None:
    """The parse data of `/intent@0.9{"entity": "value"}`; None for ordinary text, also where the intent is unknown."""
    stripped = text.strip()
    found = _PAYLOAD.match(stripped) if stripped.startswith("/") else None
    if found is None:
        return None
    full = found["intent"].strip()
    name, slash, _ = full.partition("/")
    is_selected = slash and f"utter_{name}" in domain.retrieval_actions and f"utter_{full}" in domain.responses
    if not is_selected and full not in domain.intents:
        return None
    intent = {"name": name if is_selected else full, "confidence": _confidence(found["confidence"])}
    span = {"start": found.start("entities"), "end": found.end("entities"), "extractor": "RegexMessageHandler"}
    entities = [
        {"entity": entity, "value": value, **span}
        for entity, values in _payload_entities(found["entities"]).items()
        if entity in domain.entities
        for value in (values if isinstance(values, list) else [values])
    ]
    read = {"text": stripped, "intent": intent, "intent_ranking": [intent], "entities": entities}
    if is_selected:  # Rasa does not know this form and would read it as text
        score = IntentScore(name=full, confidence=1.0)
        read["response_selector"] = {"all_retrieval_intents": [name], name: _picked((score,), domain)}
    return read


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


def answered_by_knowledge(parse_data: Mapping[str, Any], intent: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """The parse data of a message that the documents answer: it asks for that, whatever else it was taken for."""
    return {**_taken_for(parse_data, intent, found["probability"]), KNOWLEDGE: dict(found)}


def said_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the metadata of the bot's message keep of what the documents answered."""
    return {key: found[key] for key in ("kind", "sources", "probability", "generation", MORE) if key in found}


def screened(parse_data: Mapping[str, Any], finding: Mapping[str, Any], intent: str | None) -> dict[str, Any]:
    """The parse data of a message that needs care; with an `intent` it is about that and nothing else."""
    if intent is not None:
        kept = {key: value for key, value in parse_data.items() if key not in ("also", "response_selector")}
        parse_data = _taken_for(kept, intent, 1.0)
    return {**parse_data, SAFETY: dict(finding)}


def _taken_for(parse_data: Mapping[str, Any], intent: str, confidence: float) -> dict[str, Any]:
    taken = {"name": intent, "confidence": confidence}
    ranking = [each for each in parse_data.get("intent_ranking", ()) if each["name"] not in (intent, FALLBACK_INTENT)]
    kept = {key: value for key, value in parse_data.items() if key != "fallback_reason"}
    return {**kept, "intent": taken, "intent_ranking": [taken, *ranking]}


def to_parse_data(
    understanding: Understanding,
    fallback: FallbackClassifier | None,
    domain: Domain | None = None,
    *,
    selects_across: bool = False,
) -> dict[str, Any]:
    """Rasa's parse data of what a model read, with `sentiment` and `language` beside.

    The intent becomes `nlu_fallback` when the best one is unlikely, when two are close, or when the whole message is
    out of scope; `fallback_reason` then says why in words.

    Args:
        domain: where the responses of retrieval intents stand; without it nothing is selected.
        selects_across: also select among the responses of all retrieval intents together, as Rasa's ResponseSelector
            does where its configuration names no intent.
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
    if domain is not None and (selection := _selection(understanding, domain, selects_across=selects_across)):
        parse_data["response_selector"] = selection
        if picked := selection.get(parse_data["intent"]["name"]):
            parse_data["intent"]["full_retrieval_intent_name"] = picked["response"]["intent_response_key"]
    return parse_data


def _selection(understanding: Understanding, domain: Domain, *, selects_across: bool) -> dict[str, Any]:
    """Rasa's `response_selector`; a response that the domain no longer has is not selected."""
    known = {
        intent: scores
        for intent, ranking in understanding.selected.items()
        if (scores := [score for score in ranking if f"utter_{score.name}" in domain.responses])
    }
    if not known:
        return {}
    selection: dict[str, Any] = {"all_retrieval_intents": sorted(known)}
    selection |= {intent: _picked(scores, domain) for intent, scores in known.items()}
    if selects_across:
        selection[ANY_INTENT] = _picked(_together(understanding, known), domain)
    return selection


def _together(understanding: Understanding, known: Mapping[str, Sequence[IntentScore]]) -> list[IntentScore]:
    """The responses of all retrieval intents, each as likely as its intent and it within that; they sum to 1."""
    chances = {score.name: score.confidence for score in understanding.ranking}
    joint = [
        IntentScore(name=score.name, confidence=chances.get(intent, 0.0) * score.confidence)
        for intent, scores in known.items()
        for score in scores
    ]
    total = sum(score.confidence for score in joint) or 1.0
    joint.sort(key=lambda score: -score.confidence)
    return [IntentScore(name=score.name, confidence=score.confidence / total) for score in joint]


def _picked(ranking: Sequence[IntentScore], domain: Domain) -> dict[str, Any]:
    best = ranking[0]
    utter_action = f"utter_{best.name}"
    return {
        "response": {
            "responses": [dict(variation.body) for variation in domain.responses[utter_action]],
            "confidence": best.confidence,
            "intent_response_key": best.name,
            "utter_action": utter_action,
        },
        "ranking": [
            {"confidence": score.confidence, "intent_response_key": score.name} for score in ranking[:RANKING_LENGTH]
        ],
    }


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
