"""Several wishes in one message: where to cut it, and which wishes beside the main one its parts carry.

Reading every part by itself would cost half as much again as reading the messages. So parts are first read in the
message's own token vectors, which costs nothing; by themselves only where that hints at another wish.
Invariant: a message is cut only between words, and one that says one thing names no second wish.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from models.encoder import Encoder
from models.heads import Features, Floats, LinearHead
from models.ngrams import NgramVocabulary
from models.spans import Span

# Sentence marks (ASCII ones only at a word's end: "89.90" and "1,299" are one number, a link is one word), and words
# that join two wishes.
_CUT = regex.compile(
    r"[。！？；，、…\n]+|[!?;,.]+(?=\s|\p{Han}|$)"
    r"|(?<![\p{L}\p{N}])(?:and(?:\s+also|\s+then)?|also|oh|btw|by\s+the\s+way|another\s+thing|besides|while\s+(?:i|you)\S*)(?![\p{L}\p{N}])"
    r"|还有就?是?|另外|顺便|顺带|对了|以及|同时|再(?=问|帮|查|说)|然后",
    regex.IGNORECASE,
)
# Less than this is no wish: "ok", "hi", "那".
_SHORTEST_WORDS = 2
_SHORTEST_HAN = 3
# More parts are a letter, not a chat message; the first ones say enough.
MOST_CLAUSES = 6
# A part that in its message's context names another intent with this probability is worth reading by itself.
GLANCE = 0.4

_WORD = regex.compile(r"[^\W\p{Han}]+")
_HAN = regex.compile(r"\p{Han}")


@dataclass(frozen=True, kw_only=True)
class Several:
    """When a part's intent counts as a wish of its own.

    Attributes:
        threshold: probability that a part must reach.
        companions: indices of intents that go along with others (a greeting, a thank-you) and are no wish there.
    """

    threshold: float
    companions: NDArray[np.int64]

    def beside(self, main: int, parts: Floats) -> list[tuple[int, float]]:
        """(intent, probability) of every wish beside the main one, in the order said.

        Args:
            parts: (P, K), the parts' probabilities; fewer than two parts give nothing.
        """
        if len(parts) < 2:
            return []
        found: dict[int, float] = {}
        for row in parts:
            best = int(row.argmax())
            if best != main and best not in self.companions and row[best] >= self.threshold:
                found[best] = max(found.get(best, 0.0), float(row[best]))
        # One part must still carry the main wish: else the whole was read better than its pieces.
        holds_main = any(int(row.argmax()) == main for row in parts)
        return list(found.items()) if holds_main else []

    def is_worth_reading(self, main: int, glances: Floats) -> bool:
        """Whether a part hints at another wish.

        Args:
            glances: (P, K), the parts' probabilities in their message's context.
        """
        best = glances.argmax(axis=1)
        return any(
            intent != main and intent not in self.companions and glances[row, intent] >= GLANCE
            for row, intent in enumerate(best.tolist())
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `several_from` reads back."""
        return {"several.threshold": np.array([self.threshold]), "several.companions": self.companions}


def several_from(arrays: dict[str, NDArray[Any]]) -> Several | None:
    """As stored, or None for a version that was trained without."""
    if "several.threshold" not in arrays:
        return None
    return Several(threshold=float(arrays["several.threshold"][0]), companions=arrays["several.companions"])


@dataclass(frozen=True, kw_only=True)
class PartsReader:
    """The intents of parts of messages, as one version's head reads them."""

    head: LinearHead
    vocabulary: NgramVocabulary
    encoder: Encoder | None

    def glances(self, features: Features, places: Mapping[int, Sequence[Span]]) -> dict[int, Floats]:
        """Row of a text → (P, K): its parts by the token vectors that were computed for the whole text."""
        if not places:
            return {}
        sparse = [self.vocabulary.vector(features.texts[row][a:b]) for row, found in places.items() for a, b in found]
        dense = None
        if (hidden := features.hidden) is not None:
            within = [_vectors_within(found, features.tokens[row].spans, hidden[row]) for row, found in places.items()]
            dense = np.concatenate(within)
        ends = np.cumsum([len(found) for found in places.values()])[:-1]
        chances = np.split(self._probabilities(Features(dense=dense, sparse=sparse)), ends)
        return dict(zip(places, chances, strict=True))

    def read(self, parts: Sequence[str]) -> Floats:
        """(P, K): each part by itself."""
        dense = None if self.encoder is None else self.encoder.embed(parts)
        return self._probabilities(Features(dense=dense, sparse=[self.vocabulary.vector(part) for part in parts]))

    def _probabilities(self, features: Features) -> Floats:
        return self.head.probabilities(self.head.logits(features))


def _vectors_within(places: Sequence[Span], spans: Sequence[Span], hidden: Floats) -> Floats:
    """(P, D): the mean of each place's tokens, of length 1; of all tokens where a place holds none."""
    out = np.empty((len(places), hidden.shape[1]), dtype=np.float32)
    for at, (start, end) in enumerate(places):
        rows = [row for row, span in enumerate(spans) if span[0] < span[1] and start < span[1] and span[0] < end]
        out[at] = hidden[rows].mean(axis=0) if rows else hidden.mean(axis=0)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return out


def clauses(text: str) -> list[Span]:
    """Where the parts of a message stand that could each be a wish; empty where there are not at least two."""
    ends = [(cut.start(), cut.end()) for cut in _CUT.finditer(text[:2000])]
    starts = [0, *(end for _, end in ends)]
    stops = [*(start for start, _ in ends), len(text[:2000])]
    kept = [
        _stripped(text, start, stop)
        for start, stop in zip(starts, stops, strict=True)
        if _is_long_enough(text[start:stop])
    ]
    return kept[:MOST_CLAUSES] if len(kept) > 1 else []


def _stripped(text: str, start: int, end: int) -> Span:
    part = text[start:end]
    return start + len(part) - len(part.lstrip()), start + len(part.rstrip())


def _is_long_enough(part: str) -> bool:
    return len(_WORD.findall(part)) >= _SHORTEST_WORDS or len(_HAN.findall(part)) >= _SHORTEST_HAN
