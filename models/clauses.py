"""Several wishes in one message: where to cut it, and which wishes beside the main one its parts carry.

Invariant: a message is cut only between words, and one that says one thing names no second wish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import regex
from numpy.typing import NDArray

from models.heads import Floats

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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `several_from` reads back."""
        return {"several.threshold": np.array([self.threshold]), "several.companions": self.companions}


def several_from(arrays: dict[str, NDArray[Any]]) -> Several | None:
    """As stored, or None for a version that was trained without."""
    if "several.threshold" not in arrays:
        return None
    return Several(threshold=float(arrays["several.threshold"][0]), companions=arrays["several.companions"])


def clauses(text: str) -> list[str]:
    """The parts of a message that could each be a wish; empty where there are not at least two."""
    parts = [part.strip() for part in _CUT.split(text[:2000]) if part]
    kept = [part for part in parts if _is_long_enough(part)]
    return kept[:MOST_CLAUSES] if len(kept) > 1 else []


def _is_long_enough(part: str) -> bool:
    return len(_WORD.findall(part)) >= _SHORTEST_WORDS or len(_HAN.findall(part)) >= _SHORTEST_HAN


def cut_all(texts: Sequence[str]) -> tuple[list[str], list[range]]:
    """The parts of many messages in one list, and where each message's own lie in it."""
    parts: list[str] = []
    places: list[range] = []
    for text in texts:
        own = clauses(text)
        places.append(range(len(parts), len(parts) + len(own)))
        parts += own
    return parts, places
