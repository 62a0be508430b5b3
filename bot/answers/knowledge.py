"""The passages of a company's documents, found by meaning and by words, and how sure it is that one of them answers.

How an index is made and kept is `bot.answers.index_files`'s; its words are counted by `bot.answers.words`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from bot.answers.documents import Passage
from bot.answers.words import Missing, Words, script_of

WORDS_COUNT = 0.1
"""How much all of a question's words in a passage add to a cosine. Chosen on the starter's training questions."""
ASKED_COUNTS = 1.0
"""How much a passage gains for being the answer to a known question nearby: by how much that one is nearer than known
questions about different passages are to each other (UNRELATED, a quantile of the nearest), in each script by itself.
Chosen on questions of five authors with the others' known: R@1 of one's English questions .553 to .658 (n = 228), of
another's Chinese ones .785 and .785 (n = 237), against .2 for both scripts together."""
UNRELATED = 0.01
MOST_COMPARED, BLOCK = 4_000, 256
"""Known questions that are compared with all others to find that quantile, and how many of them at a time."""
OTHER_LANGUAGE_COSTS = 0.06
"""What a passage in another language than the customer's must be better by. Chosen on training questions of documents
that a tuned encoder had not learned from: own language first .949 to .969 in English (n = 392), .947 to .971 in Chinese
(n = 339)."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A passage that was found.

    Attributes:
        score: cosine of question and passage, plus what the shared words add; higher is better.
        coverage: which share of the question's words, by how much they tell, is in the passage; 0–1.
        asked: cosine of the question and the nearest known one that this passage answers; 0 where none is known.
    """

    passage: Passage
    score: float
    cosine: float
    coverage: float
    asked: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What was found for a question.

    Attributes:
        hits: best first.
        mean, spread: of the cosines of the question and every passage there is, found or not.
        of_none: cosine of the question and the nearest known one that no document answers; 0 where there is none.
    """

    hits: Sequence[Hit] = ()
    mean: float = 0.0
    spread: float = 0.0
    of_none: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Whether the best passage answers: a logistic regression over the evidence of `bot.answers.gate`.

    From `threshold` on it is believed, from `worth_showing` on it may be offered.
    """

    weights: tuple[float, ...]
    bias: float
    threshold: float
    worth_showing: float = 1.0

    def probability(self, found: Sequence[float]) -> float:
        logit = self.bias + sum(w * x for w, x in zip(self.weights, found, strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


@dataclass(frozen=True, kw_only=True)
class Known:
    """Questions that were asked before, and what answers them.

    Attributes:
        questions: Q texts.
        rows: for each the passages that answer it, as their places in the index; none: no document does.
        vectors: (Q, D).
    """

    questions: tuple[str, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 1), dtype=np.float32))


class PassageIndex(Protocol):
    """What is searched in: `KnowledgeIndex` has all of it in memory, a database may have it instead. Thread-safe."""

    @property
    def embedder(self) -> str:
        """The name of what made its vectors."""
        ...

    @property
    def judge(self) -> str | None:
        """The name of the cross-encoder that its gates were fitted with."""
        ...

    @property
    def gates(self) -> Mapping[str, Gate]:
        """By script."""
        ...

    @property
    def size(self) -> int:
        """How many passages there are."""
        ...

    def search(
        self, question: str, vector: Floats, *, limit: int = 5, day: date, language: str | None = None,
        without: str | None = None, response_of: str | None = None, but_itself: bool = False,
    ) -> Ranking:  # fmt: skip
        """The passages that answer best.

        Args:
            vector: the question's, (D,).
            day: what is not valid then is not found.
            language: passages in it come before equally good ones in another.
            without: a document (`Passage.source`) that is left out.
            response_of: the intent whose response is found too; others' never are.
            but_itself: a known question does not count for itself: so it teaches, and measures, what others will see.
        """
        ...

    def missing(self, question: str, passages: Sequence[Passage]) -> Missing:
        """What of the question's words stands in none of these passages."""
        ...

    def beside(self, passage: Passage) -> Sequence[Passage]:
        """All passages of its document, itself among them."""
        ...

    def find(self, passage_id: str) -> Passage | None:
        """None where it is not there."""
        ...

    def known_vector(self, question: str) -> Floats | None:
        """(D,) of a known question; None where it is none."""
        ...


class KnowledgeIndex:
    """What was read from one folder of documents. Thread-safe: nothing changes after it was made.

    A `PassageIndex`, whose methods say more.
    """

    def __init__(
        self, passages: Sequence[Passage], vectors: Floats, embedder: str, gates: Mapping[str, Gate] | None = None,
        known: Known | None = None, judge: str | None = None,
    ) -> None:  # fmt: skip
        self.passages, self.vectors, self.embedder, self.judge = tuple(passages), vectors, embedder, judge
        self.gates: Mapping[str, Gate] = gates or {}
        self.known = known or Known()

    @property
    def size(self) -> int:
        return len(self.passages)

    def asked(self, question: str, vector: Floats, *, but_itself: bool = False) -> tuple[Floats, float]:
        """Cosines to what was asked before: (N,) of each passage's nearest known question, and of the nearest one that
        no document answers; 0 where there is none.

        Args:
            but_itself: a known question does not count for itself: so it teaches, and measures, what others will see.
        """
        nearest, of_none = np.zeros(len(self.passages), dtype=np.float32), 0.0
        if not self.known.questions:
            return nearest, of_none
        cosines = self.known.vectors @ vector
        if but_itself and (itself := self._place.get(question)) is not None:
            cosines[itself] = 0.0
        places, owners = self._owners
        np.maximum.at(nearest, owners, cosines[places])
        return nearest, float(cosines[self._of_none].max(initial=0.0))

    def known_vector(self, question: str) -> Floats | None:
        place = self._place.get(question)
        return None if place is None else self.known.vectors[place]

    @cached_property
    def _place(self) -> Mapping[str, int]:
        return {question: place for place, question in enumerate(self.known.questions)}

    @cached_property
    def _of_none(self) -> NDArray[np.bool_]:
        return np.array([not rows for rows in self.known.rows], dtype=bool)

    @cached_property
    def _owners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Each pair of a known question and a passage that answers it."""
        pairs = [(place, row) for place, rows in enumerate(self.known.rows) for row in rows]
        both = np.array(pairs, dtype=np.intp).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    @cached_property
    def unrelated(self) -> Mapping[str, float]:
        """By script, how near known questions about different passages come to each other, at the least."""
        places, owners = self._owners
        scripts = np.array([script_of(self.known.questions[place]) for place in places])
        return {
            script: _nearest_other(self.known.vectors, places[scripts == script], owners[scripts == script])
            for script in set(scripts.tolist())
        }

    @cached_property
    def _words(self) -> Words:
        return Words([passage.indexed for passage in self.passages])

    def search(
        self, question: str, vector: Floats, *, limit: int = 5, day: date, language: str | None = None,
        without: str | None = None, response_of: str | None = None, but_itself: bool = False,
    ) -> Ranking:  # fmt: skip
        if not self.passages:
            return Ranking()
        cosines = self.vectors @ vector
        coverage = self._words.coverage(question)
        asked, of_none = self.asked(question, vector, but_itself=but_itself)
        unrelated = self.unrelated.get(script_of(question), 1.0)
        scores = cosines + WORDS_COUNT * coverage + ASKED_COUNTS * np.maximum(asked - unrelated, 0)
        if language is not None:
            is_other = np.array([passage.language != language for passage in self.passages])
            scores = scores - OTHER_LANGUAGE_COSTS * is_other
        hits = []
        for place in np.argsort(-scores, kind="stable"):
            passage = self.passages[place]
            is_wanted = passage.response in (None, response_of) and passage.source != without
            if is_wanted and passage.is_valid(day):
                found = (float(each[place]) for each in (scores, cosines, coverage, asked))
                names = ("score", "cosine", "coverage", "asked")
                hits.append(Hit(passage=passage, **dict(zip(names, found, strict=True))))
            if len(hits) == limit:
                break
        return Ranking(hits=hits, mean=float(cosines.mean()), spread=float(cosines.std()), of_none=of_none)

    def missing(self, question: str, passages: Sequence[Passage]) -> Missing:
        return self._words.missing(question, [self._row[passage.id] for passage in passages])

    def beside(self, passage: Passage) -> list[Passage]:
        return self._documents[passage.source]

    def find(self, passage_id: str) -> Passage | None:
        row = self._row.get(passage_id)
        return None if row is None else self.passages[row]

    @cached_property
    def _row(self) -> Mapping[str, int]:
        return {passage.id: row for row, passage in enumerate(self.passages)}

    @cached_property
    def _documents(self) -> Mapping[str, list[Passage]]:
        found: dict[str, list[Passage]] = {}
        for passage in self.passages:
            found.setdefault(passage.source, []).append(passage)
        return found


def _nearest_other(vectors: Floats, places: NDArray[np.intp], owners: NDArray[np.intp]) -> float:
    """The UNRELATED quantile of the cosines to the nearest other question with another owner. A question's place is its
    row of `vectors`; one that several passages answer stands there with each."""
    if len(set(owners.tolist())) < 2:
        return 1.0
    seen = np.linspace(0, len(owners) - 1, min(len(owners), MOST_COMPARED)).astype(np.intp)
    among = vectors[places]
    nearest = []
    for start in range(0, len(seen), BLOCK):
        rows = seen[start : start + BLOCK]
        is_same = (owners[rows, None] == owners) | (places[rows, None] == places)
        cosines = np.where(is_same, -1.0, among[rows] @ among.T)
        nearest.append(cosines.max(axis=1))
    return float(np.quantile(np.concatenate(nearest), UNRELATED))


def today_in(timezone: str) -> date:
    """The day there: what a document says until a day is true until that day ends in the shop's own time zone."""
    return datetime.now(ZoneInfo(timezone)).date()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question to judge the search by. `sources`: where its answer is (`returns.md`, `returns.md#how-long`); none:
    nowhere, it must be left unanswered."""

    question: str
    sources: tuple[str, ...] = ()
    language: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def is_from(passage: Passage, sources: Iterable[str]) -> bool:
    return any(source in (passage.source, f"{passage.source}#{passage.anchor}") for source in sources)
