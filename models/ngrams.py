"""Character and word n-grams as sparse features: the same plain Python and numpy when training and when serving.

No weights of a head here. Invariant: a text's features depend on the text and the vocabulary alone, never on its batch.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PIECE = re.compile(r"[㐀-鿿豈-﫿぀-ヿ가-힯]+|[^\W_]+|[^\w\s]", re.UNICODE)
_DIGIT = re.compile(r"\d")
# Words come back; a few thousand are most of what is written, and long runs seldom return.
_RECENT_WORDS = 8192
_SHORT_WORD = 16


@dataclass(frozen=True, kw_only=True)
class SparseVector:
    """Ascending feature indices and their weights; the weights' L2 norm is 1, or there are none."""

    indices: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class NgramVocabulary:
    """Which n-grams count, and how much each tells (inverse document frequency).

    Attributes:
        grams: the features, in the order of their indices.
        idf: one weight a gram.
        longest: characters in the longest n-gram inside a word of a script with blanks.
        word_pairs: whether pairs of neighbouring words are features beside single words.
    """

    grams: tuple[str, ...]
    idf: NDArray[np.float32]  # (V,)
    longest: int
    word_pairs: bool

    @classmethod
    def learn(
        cls, texts: Sequence[str], *, longest: int, word_pairs: bool, min_count: int, max_features: int
    ) -> NgramVocabulary:
        """Keep the grams that occur in at least `min_count` texts, at most `max_features` of the commonest."""
        seen: Counter[str] = Counter()
        for text in texts:
            pieces = _PIECE.findall(normalise(text))
            grams = {gram for piece in pieces for gram in _grams(piece, longest)}
            seen.update(grams.union(_pairs(pieces)) if word_pairs else grams)
        kept = sorted((g for g, n in seen.items() if n >= min_count), key=lambda g: (-seen[g], g))[:max_features]
        kept.sort()
        idf = [math.log((1 + len(texts)) / (1 + seen[gram])) + 1 for gram in kept]
        return cls(grams=tuple(kept), idf=np.asarray(idf, dtype=np.float32), longest=longest, word_pairs=word_pairs)

    @cached_property
    def index(self) -> Mapping[str, int]:
        return {gram: position for position, gram in enumerate(self.grams)}

    @cached_property
    def _recent(self) -> dict[str, list[int]]:
        return {}

    def vector(self, text: str) -> SparseVector:
        """The text's known grams, weighted (1 + log count) · idf and brought to length 1."""
        pieces = _PIECE.findall(normalise(text))
        places: list[int] = []
        for piece in pieces:
            places += self._places_in(piece)
        if self.word_pairs:
            place_of = self.index.get
            places += [place for pair in _pairs(pieces) if (place := place_of(pair)) is not None]
        counts = sorted(Counter(places).items())
        indices = np.array([place for place, _ in counts], dtype=np.int64)
        if not counts:
            return SparseVector(indices=indices, weights=np.zeros(0, dtype=np.float32))
        occurrences = np.array([count for _, count in counts], dtype=np.float32)
        weights = (1 + np.log(occurrences)) * self.idf[indices]
        weights /= np.linalg.norm(weights)
        return SparseVector(indices=indices, weights=weights.astype(np.float32))

    def _places_in(self, piece: str) -> list[int]:
        """Indices of the known grams of one word or run, remembered for the next text that holds it."""
        if (known := self._recent.get(piece)) is None:
            place_of = self.index.get
            known = [place for gram in _grams(piece, self.longest) if (place := place_of(gram)) is not None]
            if len(piece) <= _SHORT_WORD:
                if len(self._recent) >= _RECENT_WORDS:
                    self._recent.clear()
                self._recent[piece] = known
        return known

    def save(self, path: Path) -> None:
        """Write one `.npz`; no pickle inside."""
        # Grams hold neither line breaks nor NUL: `normalise` folds white space.
        blob = np.frombuffer("\n".join(self.grams).encode(), dtype=np.uint8)
        np.savez(path, grams=blob, idf=self.idf, longest=self.longest, word_pairs=self.word_pairs)

    @classmethod
    def load(cls, path: Path) -> NgramVocabulary:
        with np.load(path, allow_pickle=False) as stored:
            blob: NDArray[Any] = stored["grams"]
            text = blob.tobytes().decode()
            return cls(
                grams=tuple(text.split("\n")) if text else (),
                idf=stored["idf"],
                longest=int(stored["longest"]),
                word_pairs=bool(stored["word_pairs"]),
            )


def normalise(text: str) -> str:
    """What case, width and white space leave of a text: NFKC, folded, single spaces, every digit a 0.

    Digits become one symbol because an order number's digits name the order, never what the customer wants.
    """
    return _DIGIT.sub("0", " ".join(unicodedata.normalize("NFKC", text).casefold().split()))


def pieces(text: str) -> list[tuple[int, int]]:
    """Where the words, unspaced runs and signs of a normalised text stand, which all its grams are made of."""
    return [found.span() for found in _PIECE.finditer(text)]


def _grams(piece: str, longest: int) -> list[str]:
    """Character n-grams of one word or run, and the word; repeated as often as they occur."""
    # Blanks mark where a word starts and ends; in Chinese they mark the clause.
    padded = f" {piece} "
    # One Chinese character is a word often enough; three hold most words with a neighbour.
    unspaced = piece[0] > "⺀"
    grams = list(piece) if unspaced else [f"w:{piece}"]
    # Letters alone or in pairs occur everywhere and tell little: half the features, and no accuracy, were lost with
    # them.
    for size in range(2, 4) if unspaced else range(3, longest + 1):
        grams += [padded[start : start + size] for start in range(len(padded) - size + 1)]
    return grams


def _pairs(pieces: Sequence[str]) -> list[str]:
    """Pairs of neighbouring words."""
    return [f"w:{first} {second}" for first, second in pairwise(pieces)]
