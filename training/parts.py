"""How well the parts of a message are found: entities, and several intents in one message.

Invariant: an entity counts as found only with exactly the right ends and type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.base import Understanding
from training.dataset import Utterance
from training.evaluate import Judged
from training.scores import Span, SpanScore, span_score

SEPARATOR = "+"  # between the intents of one message, in tests/several_*.yml


@dataclass(frozen=True, kw_only=True)
class EntityReport:
    """Span F1 over `n` messages: of all, by type, by language. Missed and invented spans as (text, meant, said)."""

    n: int
    all: SpanScore
    by_type: tuple[SpanScore, ...]
    by_language: tuple[SpanScore, ...]
    misses: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class SeveralReport:
    """Messages that want several things at once, and whether single ones are left whole.

    Attributes:
        exact: share of the `n` messages whose intents were named exactly, none missing and none added.
        any_found: share of which at least one intent was named.
        split_wrongly: share of the `n_single` messages of one intent in which several were seen.
        tricky_split: the same of the `n_tricky` that only look like two.
    """

    n: int
    exact: float
    any_found: float
    n_single: int
    split_wrongly: float
    n_tricky: int
    tricky_split: float


def entity_report(utterances: Sequence[Utterance], understood: Sequence[Understanding]) -> EntityReport | None:
    """Compare the annotated spans with the model's; None where no annotation tells where it stands.

    Only types that occur among the annotations count: a file that annotates products alone does not make an order
    number a mistake.
    """
    types = {value.entity for utterance in utterances for value in utterance.entities if value.start is not None}
    if not types:
        return None
    pairs = [(meant_spans(u), said_spans(answer, types)) for u, answer in zip(utterances, understood, strict=True)]
    by_language: dict[str, list[tuple[frozenset[Span], frozenset[Span]]]] = defaultdict(list)
    for utterance, answer, pair in zip(utterances, understood, pairs, strict=True):
        by_language[utterance.language or answer.language].append(pair)
    misses = [
        (utterance.text, _shown(utterance.text, meant - said), _shown(utterance.text, said - meant))
        for utterance, (meant, said) in zip(utterances, pairs, strict=True)
        if meant != said
    ]
    return EntityReport(
        n=len(utterances),
        all=span_score("all", pairs),
        by_type=tuple(span_score(kind, [(_of(m, kind), _of(s, kind)) for m, s in pairs]) for kind in sorted(types)),
        by_language=tuple(span_score(language, same) for language, same in sorted(by_language.items())),
        misses=tuple(misses),
    )


def judge_entities(utterances: Sequence[Utterance], understood: Sequence[Understanding]) -> tuple[Judged, ...]:
    """One judgement a message, for comparing models: right is who finds exactly its spans, none added.

    Only types that occur among the annotations count; without any annotation there is nothing to judge.
    """
    types = {value.entity for utterance in utterances for value in utterance.entities if value.start is not None}
    if not types:
        return ()
    return tuple(
        Judged(
            text=utterance.text,
            label=str(sorted(meant_spans(utterance))),
            language=utterance.language,
            predicted=str(sorted(said_spans(answer, types))),
            confidence=1.0,
            out_of_scope_score=answer.out_of_scope_score,
        )
        for utterance, answer in zip(utterances, understood, strict=True)
    )


def several_report(
    several: Sequence[Utterance], single: Sequence[Utterance], read: Callable[[Sequence[str]], Sequence[frozenset[str]]]
) -> SeveralReport:
    """Score the intents named in each message.

    Args:
        several: messages whose label joins their intents with `+`; those of one intent only look like two.
        single: messages of one intent each.
        read: B texts → the intents named in each.
    """
    tricky = [len(said) > 1 for said in read([u.text for u in several if SEPARATOR not in u.label])]
    several = [u for u in several if SEPARATOR in u.label]
    said = read([u.text for u in several])
    meant = [frozenset(u.label.split(SEPARATOR)) for u in several]
    alone = read([u.text for u in single])
    return SeveralReport(
        n=len(several),
        exact=_share([m == s for m, s in zip(meant, said, strict=True)]),
        any_found=_share([bool(m & s) for m, s in zip(meant, said, strict=True)]),
        n_single=len(single),
        split_wrongly=_share([len(intents) > 1 for intents in alone]),
        n_tricky=len(tricky),
        tricky_split=_share(tricky),
    )


def intents_of(understanding: Understanding) -> frozenset[str]:
    """Every intent that a model names in a message: the best one, and what it wants besides."""
    return frozenset({understanding.intent.name, *(score.name for score in understanding.also)})


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0


def meant_spans(utterance: Utterance) -> frozenset[Span]:
    """The annotated entities that tell where they stand."""
    return frozenset(
        (v.start, v.end, v.entity) for v in utterance.entities if v.start is not None and v.end is not None
    )


def said_spans(understanding: Understanding, types: set[str]) -> frozenset[Span]:
    """The model's entities of these types."""
    return frozenset((e.start, e.end, e.entity) for e in understanding.entities if e.entity in types)


def _of(spans: frozenset[Span], kind: str) -> frozenset[Span]:
    return frozenset(span for span in spans if span[2] == kind)


def _shown(text: str, spans: frozenset[Span]) -> str:
    return ", ".join(f"{kind} '{text[start:end]}'" for start, end, kind in sorted(spans))
