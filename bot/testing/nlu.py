"""What a model reads in labelled messages, and the files that `rasa test nlu` writes of it.

Which messages and which model is `run`'s to say. Invariant: names, keys and shapes of the files are Rasa's; a fallback
does not hide what the model read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.assistant.nlu_data import IntentExample
from bot.dialogue.parsing import ANY_INTENT, FALLBACK_INTENT
from bot.testing.measures import Report, classification_report, confusions, with_confusions, write_json
from bot.testing.pictures import draw_confidences, draw_confusions

NO_ENTITY = "no_entity"
# Their values are found by rules that no example taught; Rasa leaves them out as well.
PRETRAINED = frozenset({"DucklingEntityExtractor", "SpacyEntityExtractor"})
# Words, each Chinese character by itself, and what stands inside a word (order-no, 3.5).
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+(?:[^\w\s][^\W\u3400-\u9fff]+)*")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One labelled message with what was read. `response`: `faq/ask_hours`; entities are those of Rasa's parse data."""

    text: str
    intent: str
    predicted: str
    confidence: float
    response: str | None
    predicted_response: str | None
    response_confidence: float
    entities: tuple[Mapping[str, Any], ...]
    predicted_entities: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class NluFigures:
    """The few figures that are printed; None where there is nothing to measure."""

    n: int
    intent_accuracy: float | None
    intent_f1: float | None
    entity_f1: Mapping[str, float]
    response_accuracy: float | None


def answer_of(example: IntentExample, parse_data: Mapping[str, Any]) -> Answer:
    """The example beside the parse data of its text."""
    intent = _understood(parse_data)
    response, confidence = _selected(example.intent, parse_data)
    found = parse_data.get("entities") or ()
    return Answer(
        text=example.text,
        intent=example.intent,
        predicted=intent.get("name") or "",
        confidence=intent.get("confidence") or 0.0,
        response=example.response,
        predicted_response=response,
        response_confidence=confidence,
        entities=tuple(_annotated(example)),
        predicted_entities=tuple(entity for entity in found if entity.get("extractor") not in PRETRAINED),
    )


def _understood(parse_data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The intent before the fallback took its place."""
    intent: Mapping[str, Any] = parse_data.get("intent") or {}
    ranking: list[Mapping[str, Any]] = parse_data.get("intent_ranking") or []
    return ranking[1] if intent.get("name") == FALLBACK_INTENT and len(ranking) > 1 else intent


def _selected(intent: str, parse_data: Mapping[str, Any]) -> tuple[str | None, float]:
    selector = parse_data.get("response_selector") or {}
    response = (selector.get(intent) or selector.get(ANY_INTENT) or {}).get("response") or {}
    return response.get("intent_response_key"), response.get("confidence") or 0.0


def _annotated(example: IntentExample) -> Iterator[Mapping[str, Any]]:
    for span in example.entities:
        yield {"start": span.start, "end": span.end, **span.as_entity()}


def write_nlu_reports(
    answers: Sequence[Answer], out: Path, *, successes: bool = False, pictures: bool = True
) -> NluFigures:
    """Write every file of the messages into `out`, which is made; the figures that a person wants first.

    As in Rasa intents are measured where there are two, responses too, and entities where any message has one.
    """
    intent: Report = {}
    if len({answer.intent for answer in answers}) > 1:
        intent = _names(answers, out, _INTENT, successes=successes, pictures=pictures)
    asked = [answer for answer in answers if answer.response]
    response: Report = {}
    if len({answer.response for answer in asked}) > 1:
        response = _names(asked, out, _RESPONSE, successes=successes, pictures=pictures)
    entity_f1: dict[str, float] = {}
    if any(answer.entities for answer in answers):
        for extractor in sorted({e["extractor"] for a in answers for e in a.predicted_entities if "extractor" in e}):
            report = _entities(answers, extractor, out, successes=successes, pictures=pictures)
            entity_f1[extractor] = report["weighted avg"]["f1-score"]
    return NluFigures(
        n=len(answers),
        intent_accuracy=intent.get("accuracy"),
        intent_f1=intent["weighted avg"]["f1-score"] if intent else None,
        entity_f1=entity_f1,
        response_accuracy=response.get("accuracy"),
    )


# ---- intents and responses ----


@dataclass(frozen=True, kw_only=True)
class _Named:
    """How one kind of name is called in Rasa's files."""

    prefix: str
    target: str  # the key of what was meant, in the lists of errors and successes
    prediction: str
    title: str
    is_response: bool = False

    def pair(self, answer: Answer) -> tuple[str, str, float]:
        if self.is_response:
            return answer.response or "", answer.predicted_response or "", answer.response_confidence
        return answer.intent, answer.predicted, answer.confidence

    def entry(self, answer: Answer) -> dict[str, Any]:
        meant, said, confidence = self.pair(answer)
        told = {"name": said, "confidence": confidence}
        return {"text": answer.text, self.target: meant, self.prediction: told}


_INTENT = _Named(prefix="intent", target="intent", prediction="intent_prediction", title="Intent")
_RESPONSE = _Named(
    prefix="response_selection",
    target="intent_response_key_target",
    prediction="intent_response_key_prediction",
    title="Response Selection",
    is_response=True,
)


def _names(answers: Sequence[Answer], out: Path, kind: _Named, *, successes: bool, pictures: bool) -> Report:
    pairs = [kind.pair(answer) for answer in answers]
    targets, predicted = [meant for meant, _, _ in pairs], [said for _, said, _ in pairs]
    matrix, labels = confusions(targets, predicted)
    report = with_confusions(classification_report(targets, predicted), matrix, labels)
    write_json(out / f"{kind.prefix}_report.json", report)
    right = [kind.entry(answer) for answer in answers if kind.pair(answer)[0] == kind.pair(answer)[1]]
    wrong = [kind.entry(answer) for answer in answers if kind.pair(answer)[0] != kind.pair(answer)[1]]
    _write_some(out / f"{kind.prefix}_errors.json", wrong)
    if successes:
        _write_some(out / f"{kind.prefix}_successes.json", right)
    if pictures:
        draw_confusions(out / f"{kind.prefix}_confusion_matrix.png", matrix, labels, f"{kind.title} Confusion matrix")
        sure = [confidence for meant, said, confidence in pairs if meant == said]
        unsure = [confidence for meant, said, confidence in pairs if meant != said]
        title = f"{kind.title} Prediction Confidence Distribution"
        draw_confidences(out / f"{kind.prefix}_histogram.png", sure, unsure, title)
    return report


def _write_some(path: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """As in Rasa there is no file without an entry; one of an earlier run would be a lie."""
    if entries:
        write_json(path, entries)
    else:
        path.unlink(missing_ok=True)


# ---- entities ----


def _entities(answers: Sequence[Answer], extractor: str, out: Path, *, successes: bool, pictures: bool) -> Report:
    tokens = [list(_tokens(answer, extractor)) for answer in answers]
    flat = [token for row in tokens for token in row]
    targets, predicted = [meant for meant, _, _ in flat], [said for _, said, _ in flat]
    matrix, labels = confusions(targets, predicted)
    report = with_confusions(
        classification_report(targets, predicted, exclude=NO_ENTITY), matrix, labels, exclude=NO_ENTITY
    )
    write_json(out / f"{extractor}_report.json", report)
    wrong, right = [], []
    for answer, row in zip(answers, tokens, strict=True):
        if any(meant != said for meant, said, _ in row):
            wrong.append(_entry(answer))
        if any(meant == said != NO_ENTITY for meant, said, _ in row):
            right.append(_entry(answer))
    _write_some(out / f"{extractor}_errors.json", wrong)
    if successes:
        _write_some(out / f"{extractor}_successes.json", right)
    if pictures:
        draw_confusions(out / f"{extractor}_confusion_matrix.png", matrix, labels, "Entity Confusion matrix")
        sure = [c for meant, said, c in flat if meant == said != NO_ENTITY and c is not None]
        unsure = [c for meant, said, c in flat if said not in (NO_ENTITY, meant) and c is not None]
        title = "Entity Prediction Confidence Distribution"
        draw_confidences(out / f"{extractor}_histogram.png", sure, unsure, title)
    return report


def _entry(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "entities": answer.entities, "predicted_entities": answer.predicted_entities}


def _tokens(answer: Answer, extractor: str) -> Iterator[tuple[str, str, float | None]]:
    """Of each token: the entity that was meant, the one that was found, and how surely."""
    found = [entity for entity in answer.predicted_entities if entity.get("extractor") == extractor]
    for token in _TOKEN.finditer(answer.text):
        said = _covering(token.span(), found)
        yield _label(_covering(token.span(), answer.entities)), _label(said), (said or {}).get("confidence_entity")


def _covering(span: tuple[int, int], entities: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entity that shares most characters with the token."""
    start, end = span
    shared = [(min(end, entity["end"]) - max(start, entity["start"]), entity) for entity in entities]
    best = max(shared, key=lambda pair: pair[0], default=None)
    return best[1] if best is not None and best[0] > 0 else None


def _label(entity: Mapping[str, Any] | None) -> str:
    """The entity with its group and role: `city.destination`."""
    if entity is None:
        return NO_ENTITY
    return ".".join(str(entity[key]) for key in ("entity", "group", "role") if entity.get(key))
