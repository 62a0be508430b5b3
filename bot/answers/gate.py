"""Whether a passage that was found answers the question: learned from questions that say where their answer is, or that
there is none. Measuring the search on such questions is here too.

A question whose document is left out of the search has no answer either: so each that can be answered teaches both.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bot.answers.documents import DocumentProblem
from bot.answers.exchange import Exchange
from bot.answers.finder import Finder, Found
from bot.answers.knowledge import Asked, Gate, KnowledgeIndex, PassageIndex, is_from
from bot.answers.words import script_of
from models.languages import identify_language

Vector = NDArray[np.float32]
FEWEST = 30
"""Of answerable questions; with fewer the weights would be chance."""
FEWEST_OTHERS = 10
NEW, OF_THE_NEW = "/new", 2_000
"""Added to a script's name: the gate of passages without a known question, fitted on so many questions at most."""
AFTER = "/after"
"""Added to a script's name: the gate of questions that mean something only after the one before."""
MOST_WRONG, MOST_OFFERED = 0.04, 0.3
"""Of the questions without an answer, these shares may be answered, and may be offered what is nearest, where the gate
is fitted. The starter's are harder than most that customers ask: of 220 English and 220 Chinese ones by an author who
wrote what such a shop hears, the gate that was fitted with .03 believed .005 and .009, with .04 .014 and .023, before
it knew them."""
TOLD_AFTER = 3
"""Of the messages that ask nothing one in so many teaches what may come after a question."""
MOST_WRONG_AFTER = 0.05
"""The same of follow-ups: the harder half of them lacks just the one document that answers it."""
# For a project with too few questions of its own: fitted on the starter's, with multilingual-e5-small, as if none of
# them had been known.
DEFAULT_GATES: Mapping[str, Gate] = {
    "han": Gate(
        weights=(-4.18, -1.87, 67.4, 46.3, 90, -3.1, 0.541, 0.541, -1.35, -1.62, 1.11, 0.0133, 0, 0, 0),
        bias=-60.18,
        threshold=0.8888,
        worth_showing=0.5302,
    ),
    "other": Gate(
        weights=(0.932, -0.106, 41.4, 48.9, 26, -1.15, 0.0305, 0.15, 0.0142, 0.393, -0.553, -0.292, 0, 0, 0),
        bias=-37.41,
        threshold=0.9016,
        worth_showing=0.6121,
    ),
}


@dataclass(frozen=True, kw_only=True)
class SearchScores:
    """How well an index finds and knows when it does not. Shares of `n` answerable and `n_none` other questions.

    `answered`: the best passage is believed and is the right one; `wrong`: believed and not the right one;
    `answered_anyway`: of the questions without an answer, how many are answered.
    """

    n: int
    recall_at_1: float
    recall_at_5: float
    mrr: float
    answered: float
    wrong: float
    n_none: int
    answered_anyway: float


def read_asked(path: Path, *, unused: bool = False) -> tuple[list[Asked], list[DocumentProblem]]:
    """Questions of a `.jsonl` file: {"question": …, "passages": ["returns.md#how-long", …], …} a line.

    No `passages` mean that nothing answers it. A line with `"use": false` is not read.

    Args:
        unused: read those too.
    """
    asked: list[Asked] = []
    problems: list[DocumentProblem] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            each = _asked(json.loads(line))
            if unused or each.more.get("use", True):
                asked.append(each)
        except ValueError as error:
            why = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
            problems.append(DocumentProblem(path=path, message=f"line {number}: {why}"))
    return asked, problems


def _asked(value: object) -> Asked:
    if not isinstance(value, dict) or not isinstance(question := value.get("question"), str) or not question.strip():
        raise ValueError("`question` is missing")
    sources = value.get("passages") or []
    if not isinstance(sources, list):
        raise ValueError("`passages` must be a list")
    if not isinstance(value.get("use", True), bool):
        raise ValueError("`use` must be true or false")
    language = str(value.get("language") or identify_language(question))
    return Asked(question=question, sources=tuple(map(str, sources)), language=language, more=value)


def fit_gates(
    finder: Finder[KnowledgeIndex],
    asked: Sequence[Asked],
    told: Sequence[str],
    day: date,
    follow_ups: Sequence[Asked] = (),
) -> dict[str, Gate]:
    """A gate for each script in which enough was asked, one (NEW) for passages that nobody has asked about yet, and one
    (AFTER) for follow-ups, where enough are known.

    Args:
        told: messages that ask for nothing that documents could answer (greetings, complaints, orders).
        follow_ups: questions with what was said before (`earlier_of`).
    """
    gates = _of_each_script(_lessons(finder, asked, told, day))
    after = _of_each_script(_lessons_after(finder, follow_ups, told, day), MOST_WRONG_AFTER)
    gates |= {script + AFTER: gate for script, gate in after.items()}
    if finder.index.known.questions:
        some = [asked[place] for place in np.linspace(0, len(asked) - 1, min(len(asked), OF_THE_NEW)).astype(int)]
        found = _of_each_script(_lessons(finder, some, told, day, as_new=True))
        gates |= {script + NEW: gate for script, gate in found.items()}
    return gates


def _of_each_script(lessons: Iterable[_Lesson], most_wrong: float = MOST_WRONG) -> dict[str, Gate]:
    gates, lessons = {}, list(lessons)
    for script in sorted({lesson.script for lesson in lessons}):
        part = [lesson for lesson in lessons if lesson.script == script]
        right = sum(lesson.kind == "right" for lesson in part)
        if right >= FEWEST and len(part) - right >= FEWEST_OTHERS:
            gates[script] = _fitted(part, most_wrong)
    return gates


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    """`kind`: "right" (its passage was found), "none" (nothing answers it) or "told" (it asks nothing)."""

    kind: str
    script: str
    evidence: Sequence[float]


def _fitted(lessons: Sequence[_Lesson], most_wrong: float) -> Gate:
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import cross_val_predict  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    kinds = np.array([lesson.kind for lesson in lessons])
    x, y = np.array([lesson.evidence for lesson in lessons]), kinds == "right"
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1_000))
    held_out = cross_val_predict(model, x, y, cv=5, method="predict_proba")[:, 1]
    without = held_out[kinds == "none"] if (kinds == "none").any() else held_out[~y]
    threshold, worth_showing = (
        round(float(np.quantile(without, 1 - share)), 4) for share in (most_wrong, MOST_OFFERED)
    )
    model.fit(x, y)
    scaler, regression = model[0], model[-1]
    weights = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - (weights * scaler.mean_).sum())
    return Gate(weights=tuple(map(float, weights)), bias=bias, threshold=threshold, worth_showing=worth_showing)


def _lessons(
    finder: Finder[KnowledgeIndex], asked: Sequence[Asked], told: Sequence[str], day: date, *, as_new: bool = False
) -> list[_Lesson]:
    """Where few questions of a script are said to have no answer, each has none once its document is left out.

    Args:
        as_new: as if nothing had been asked before.
    """
    plain = KnowledgeIndex(finder.index.passages, finder.index.vectors, finder.index.embedder)
    searched = replace(finder, index=plain) if as_new else finder
    none = Counter(script_of(each.question) for each in asked if not each.sources)
    lessons: list[_Lesson] = []

    def add(kind: str, found: Found) -> None:
        if found.hits:
            lessons.append(_Lesson(kind=kind, script=script_of(found.question), evidence=found.evidence))

    for each, vector in _embedded(finder, asked):
        options: dict[str, Any] = {"day": day, "language": each.language, "vector": vector, "but_itself": True}
        found = searched.find(each.question, **options)
        if not each.sources:
            add("none", found)
        elif found.hits and is_from(found.hits[0].passage, each.sources):
            add("right", found)
        if each.sources and none[script_of(each.question)] < FEWEST:
            add("none", searched.find(each.question, without=each.sources[0].partition("#")[0], **options))
    for each, vector in _embedded(finder, [Asked(question=text) for text in told]):
        add("told", searched.find(each.question, day=day, vector=vector))
    return lessons


def _lessons_after(
    finder: Finder[KnowledgeIndex], follow_ups: Sequence[Asked], told: Sequence[str], day: date
) -> Iterator[_Lesson]:
    """Each follow-up with the question before it, and with its document left out; and what asks nothing, after one of
    those questions."""
    before = [(each, earlier) for each in follow_ups if (earlier := earlier_of(each))]
    for each, earlier in before:
        script, document = script_of(each.question), each.sources[0].partition("#")[0] if each.sources else None
        both, vector = finder.together(each.question, earlier.customer)
        options: dict[str, Any] = {"day": day, "language": each.language, "vector": vector}
        found = finder.find(both, **options)
        if not each.sources and found.hits:
            yield _Lesson(kind="none", script=script, evidence=found.evidence)
        if each.sources and found.hits and is_from(found.hits[0].passage, each.sources):
            yield _Lesson(kind="right", script=script, evidence=found.evidence)
        without = finder.find(both, without=document, **options) if document else None
        documents = [source.partition("#")[0] for source in each.sources]
        if without is not None and without.hits and not is_from(without.hits[0].passage, documents):
            yield _Lesson(kind="none", script=script, evidence=without.evidence)
    by_script: dict[str, list[Exchange]] = {}
    for each, earlier in before:
        by_script.setdefault(script_of(each.question), []).append(earlier)
    for place, text in enumerate(told[::TOLD_AFTER]):
        if some := by_script.get(script_of(text)):
            both, vector = finder.together(text, some[place % len(some)].customer)
            if (found := finder.find(both, day=day, vector=vector)).hits:
                yield _Lesson(kind="told", script=script_of(text), evidence=found.evidence)


def earlier_of(asked: Asked) -> Exchange | None:
    """What was said before a follow-up question; None where nothing is written."""
    match asked.more.get("earlier"):
        case {"customer": str(customer), "bot": str(bot)} if customer.strip() and bot.strip():
            return Exchange(customer=customer.strip(), bot=bot.strip())
    return None


def judge_after(finder: Finder[PassageIndex], found: Found, question: str) -> tuple[float, Gate] | None:
    """As `judge`, of a follow-up that was looked for together with the question before; None where too few follow-ups
    are known to judge by."""
    gate = finder.index.gates.get(script_of(question) + AFTER)
    return None if gate is None else (gate.probability(found.evidence[: len(gate.weights)]), gate)


def judge(finder: Finder[PassageIndex], found: Found) -> tuple[float, Gate]:
    """How probable it is that the best passage answers, and the gate that says so."""
    script, gates = script_of(found.question), finder.index.gates
    is_new = bool(found.hits) and not found.hits[0].asked
    gate = (gates.get(script + NEW) if is_new else None) or gates.get(script) or DEFAULT_GATES[script]
    return gate.probability(found.evidence[: len(gate.weights)]), gate


def measure(finder: Finder[PassageIndex], asked: Sequence[Asked], day: date) -> SearchScores:
    """Search and gate on questions that the gate was not fitted on."""
    ranks: list[int | None] = []
    believed_right = believed_wrong = anyway = none = 0
    for question, vector in _embedded(finder, asked):
        found = finder.find(
            question.question, day=day, language=question.language, limit=10, vector=vector, but_itself=True
        )
        hits, believed = found.hits, bool(found.hits) and _is_believed(*judge(finder, found))
        if not question.sources:
            none += 1
            anyway += believed
            continue
        rank = next((place for place, hit in enumerate(hits) if is_from(hit.passage, question.sources)), None)
        ranks.append(rank)
        believed_right += believed and rank == 0
        believed_wrong += believed and rank != 0
    n = len(ranks)

    def share(count: float) -> float:
        return count / n if n else float("nan")

    return SearchScores(
        n=n,
        recall_at_1=share(sum(rank == 0 for rank in ranks)),
        recall_at_5=share(sum(rank is not None and rank < 5 for rank in ranks)),
        mrr=share(sum(1 / (rank + 1) for rank in ranks if rank is not None)),
        answered=share(believed_right),
        wrong=share(believed_wrong),
        n_none=none,
        answered_anyway=anyway / none if none else float("nan"),
    )


def _is_believed(probability: float, gate: Gate) -> bool:
    return probability >= gate.threshold


def _embedded(finder: Finder[PassageIndex], asked: Sequence[Asked]) -> Iterable[tuple[Asked, Vector]]:
    """Each with its vector; what the index knows is not read again."""
    for start in range(0, len(asked), 64):
        part = asked[start : start + 64]
        fresh = [each.question for each in part if finder.index.known_vector(each.question) is None]
        made = dict(zip(fresh, finder.embedder.questions(fresh), strict=True)) if fresh else {}
        for each in part:
            vector = finder.index.known_vector(each.question)
            yield each, made[each.question] if vector is None else vector
