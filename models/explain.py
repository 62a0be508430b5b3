"""Which words drove an answer, found by leaving each of them out and reading again: cheap, with the model that serves.

Gradients, which need PyTorch, are `training/attribution.py`'s. Invariant: the parts of a text never overlap, and
every letter, digit and sign of it lies in one of them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from models.base import Understanding

Task = Literal["intent", "sentiment"]

# One reading a part; past this many, neighbours are left out together.
MAX_PARTS = 48
# Confidences this near to 0 or 1 are rounding.
_LEAST = 1e-7

_PART = re.compile(
    r"[㐀-鿿豈-﫿\U00020000-\U0003ffff]"  # a Chinese character is a word often enough
    r"|(?:(?![㐀-鿿豈-﫿\U00020000-\U0003ffff])\w)+(?:['’.@-](?:(?![㐀-鿿豈-﫿\U00020000-\U0003ffff])\w)+)*"
    r"|[^\w\s]+"
)


class Reader(Protocol):
    """What is explained: anything that reads texts at once."""

    def read(self, texts: Sequence[str]) -> list[Understanding]: ...


@dataclass(frozen=True, kw_only=True)
class Part:
    """A word, a Chinese character or a run of signs, by its code points; end exclusive."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Effect:
    """How much a part drove the answer.

    Attributes:
        effect: by how much the answer's log-odds (occlusion) or logit (gradients) is higher with it; below 0 where
            the part speaks against the answer.
        without: what the answer is when the part is left out; None where that was not tried.
    """

    part: Part
    effect: float
    without: str | None = None


def parts_of(text: str, most: int | None = None) -> tuple[Part, ...]:
    """Split a text into its parts; with `most`, neighbours are joined until there are no more than that."""
    spans = [found.span() for found in _PART.finditer(text)]
    if most is not None and len(spans) > most:
        step = math.ceil(len(spans) / most)
        spans = [(run[0][0], run[-1][1]) for run in (spans[i : i + step] for i in range(0, len(spans), step))]
    return tuple(Part(text=text[start:end], start=start, end=end) for start, end in spans)


def occlude(reader: Reader, text: str, task: Task = "intent") -> tuple[Effect, ...]:
    """Read the text with each part left out, in one batch; in reading order.

    A word whose meaning another word repeats shows little: leaving either out changes nothing. Where the mood turns,
    its former confidence is not known any more, only what is left for it: the effect is at least what is said.
    """
    parts = parts_of(text, MAX_PARTS)
    whole, *rest = reader.read([text, *(text[: part.start] + text[part.end :] for part in parts)])
    name = _answer(whole, task)
    before = _log_odds(whole, name, task)
    return tuple(
        Effect(part=part, effect=before - _log_odds(without, name, task), without=_answer(without, task))
        for part, without in zip(parts, rest, strict=True)
    )


def _answer(understanding: Understanding, task: Task) -> str:
    return understanding.intent.name if task == "intent" else understanding.sentiment


def _log_odds(understanding: Understanding, name: str, task: Task) -> float:
    """Of one answer against all others. The others are summed, not subtracted from 1, which near 1 is exact."""
    if task == "sentiment":
        same = understanding.sentiment == name
        chance = understanding.sentiment_confidence if same else 1 - understanding.sentiment_confidence
        others = 1 - chance
    else:
        chance = sum(score.confidence for score in understanding.ranking if score.name == name)
        others = sum(score.confidence for score in understanding.ranking if score.name != name)
    return math.log(max(chance, _LEAST)) - math.log(max(others, _LEAST))
