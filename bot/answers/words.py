"""Words that tell what a text is about, English and Chinese, and how much each tells among the passages of an index.

Pure: how often a word stands where is counted in memory here, and by a database elsewhere (`bot.storage.passages`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_TERMS = 300  # of a message; a customer who pastes pages asks in the first lines

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Of a question's words, what some passages lack. Weights are inverse document frequencies.

    `share`: of all their weight; `heaviest`: the weight of the one that tells most; `unknown`: the share of words that
    are in no passage at all.
    """

    share: float
    heaviest: float
    unknown: float


def words_of(question: str) -> list[str]:
    """Each word that counts, once."""
    return sorted(set(terms(question)[:MOST_TERMS]))


def weight_of(stands_in: int, n: int) -> float:
    """How much a word tells that stands in so many of n passages."""
    return math.log((n + 1) / (stands_in + 0.5))


def what_is_missing(stand_in: Mapping[str, int], n: int, is_there: Callable[[str], bool]) -> Missing:
    """Of a question's words, each with how many of n passages it stands in, those that are not there."""
    weights = {term: weight_of(count, n) for term, count in stand_in.items()}
    lacking = [weight for term, weight in weights.items() if not is_there(term)]
    return Missing(
        share=sum(lacking) / (sum(weights.values()) or 1.0),
        heaviest=max(lacking, default=0.0),
        unknown=sum(not count for count in stand_in.values()) / max(1, len(stand_in)),
    )


class Words:
    """Inverse document frequencies, and in which passages each word stands."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            for term in set(terms(text)):
                rows.setdefault(term, []).append(row)
        self._rows = {term: np.array(found, dtype=np.int32) for term, found in rows.items()}
        self._n = len(texts)

    def _stands_in(self, term: str) -> int:
        return len(self._rows[term]) if term in self._rows else 0

    def missing(self, question: str, rows: Sequence[int]) -> Missing:
        stand_in = {term: self._stands_in(term) for term in words_of(question)}
        return what_is_missing(
            stand_in, self._n, lambda term: term in self._rows and bool(np.isin(rows, self._rows[term]).any())
        )

    def coverage(self, question: str) -> Floats:
        """(N,): the share of the question's words in each passage, weighted by how rare they are."""
        covered, total = np.zeros(self._n, dtype=np.float32), 0.0
        for term in words_of(question):
            weight = weight_of(self._stands_in(term), self._n)
            total += weight
            if term in self._rows:
                covered[self._rows[term]] += weight
        return covered / total if total > 0 else covered


_HAN = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[a-z0-9]+(?:[.,][0-9]+)?")
_RUN = re.compile(r"[\u3400-\u9fff]+")
_ENDINGS = re.compile(r"(?<=[a-z]{3})(?:ing|ed|es|s|ly)$")
_COMMON = frozenset(
    """a an and any are as at be but by can could did do does for from had has have how i if in is it its me my no not
    of on or our please shall should so than that the their them then there they this to up us was we were what when
    where which who why will with would you your""".split()  # noqa: SIM905  a list of words, not of literals
)
_COMMON_ZH = frozenset("的了吗呢吧啊是我你您们请问一下这那个有没可以能不怎么什")


def terms(text: str) -> list[str]:
    """A text's words for counting: English ones without their endings, Chinese ones as pairs of characters."""
    folded = text.casefold()
    words = [_ENDINGS.sub("", word) for word in _LATIN.findall(folded) if word not in _COMMON]
    for run in _RUN.findall(folded):
        pairs = [run[start : start + 2] for start in range(len(run) - 1)] or [run]
        words += [pair for pair in pairs if not _COMMON_ZH.issuperset(pair)]
    return words


def script_of(text: str) -> str:
    """ "han" where there is a Chinese character in it, else "other": what is near and what is not differs by it."""
    return "han" if _HAN.search(text) else "other"
