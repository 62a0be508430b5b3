"""What is found for a question, best first, and the evidence that the best of it answers.

Vectors and words find candidates (`bot.answers.knowledge`); where a cross-encoder was trained it reads the first few
together with the question and orders them anew. Whether the evidence is enough is `bot.answers.gate`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bot.answers.knowledge import Hit, PassageIndex, Ranking
from models.cross_encoder import CrossEncoder
from models.embeddings import Embedder
from models.languages import is_asking

JUDGED = 5
"""Of the passages found, so many are evidence and are read again, however many were asked for."""
JUDGE_COUNTS = 0.02
"""How much the cross-encoder's log-odds add to a score. A guess; whether it helps is measured each time."""
LEAST_ODDS = -12.0
EARLIER_COUNTS = 0.4
"""How much of a follow-up question's vector is that of the question before. Chosen on 260 follow-ups of one author: R@1
.40 alone, .74 with it in English; .48 and .79 in Chinese; between .3 and .5 it differs little."""

Vector = NDArray[np.float32]
Index = TypeVar("Index", bound=PassageIndex, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The passages for a question, best first; `evidence` is empty where there are none."""

    question: str
    vector: Vector
    hits: Sequence[Hit]
    evidence: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Finder(Generic[Index]):
    """An index and what reads for it. Thread-safe."""

    index: Index
    embedder: Embedder
    judge: CrossEncoder | None = None

    def find(
        self, question: str, *, day: date, language: str | None = None, without: str | None = None,
        response_of: str | None = None, limit: int = JUDGED, vector: Vector | None = None, but_itself: bool = False,
    ) -> Found:  # fmt: skip
        """As `PassageIndex.search`. `vector`: the question's, where it is known already."""
        if vector is None:
            vector = self.embedder.questions([question])[0]
        ranking = self.index.search(
            question, vector, limit=max(limit, JUDGED), day=day, language=language, without=without,
            response_of=response_of, but_itself=but_itself,
        )  # fmt: skip
        hits, judged = ranking.hits, list[float]()
        if self.judge is not None and hits:
            hits, judged = self._read_again(question, hits)
        evidence = self._evidence(question, ranking, hits[:JUDGED], judged) if hits else []
        return Found(question=question, vector=vector, hits=hits[:limit], evidence=evidence)

    def together(self, question: str, earlier: str) -> tuple[str, Vector]:
        """A follow-up with what the customer said before, without which it means little: text and vector to find by."""
        own, before = self.embedder.questions([question, earlier])
        mixed = own + EARLIER_COUNTS * before
        return f"{earlier} {question}", mixed / np.linalg.norm(mixed)

    def _read_again(self, question: str, hits: Sequence[Hit]) -> tuple[list[Hit], list[float]]:
        assert self.judge is not None
        first, rest = hits[:JUDGED], hits[JUDGED:]
        odds = self.judge.score("answers", [(question, hit.passage.indexed) for hit in first])
        scores = [hit.score + JUDGE_COUNTS * float(odd) for hit, odd in zip(first, odds, strict=True)]
        order = sorted(range(len(first)), key=lambda place: -scores[place])
        reordered = [replace(first[place], score=scores[place]) for place in order]
        return [*reordered, *rest], [float(odds[place]) for place in order]

    def _evidence(self, question: str, ranking: Ranking, hits: Sequence[Hit], judged: Sequence[float]) -> list[float]:
        """How near the best one is, its lead, which of the question's words it and its document
        lack, what was asked before, whether anything was asked; and what the cross-encoder says of it."""
        index, best = self.index, hits[0]
        here = index.missing(question, [best.passage])
        document = index.missing(question, index.beside(best.passage))
        among_all = index.missing(question, [hit.passage for hit in hits])
        found = [
            best.cosine,
            (best.cosine - ranking.mean) / (ranking.spread or 1.0),
            float(np.mean([hit.cosine for hit in hits])),
            best.score - hits[min(1, len(hits) - 1)].score,
            best.score - hits[-1].score,
            best.coverage,
            here.heaviest,
            document.heaviest,
            document.share,
            among_all.share,
            here.unknown,
            float(is_asking(question)),
            best.asked,
            max(hit.asked for hit in hits),
            best.asked - ranking.of_none,
        ]
        if judged:
            found += [judged[0], max(judged[1:], default=LEAST_ODDS)]
        return found
