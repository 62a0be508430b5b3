"""An embedder without a model: words (and pairs of Chinese characters) hashed into a vector. Texts that share words are
near each other, and nothing else is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bot.answers.words import terms

DIMENSIONS = 512


class BagOfWords:
    """`embedded` are the passages that were asked for, in order."""

    def __init__(self, name: str = "bag") -> None:
        self.name = name
        self.embedded: list[str] = []

    def questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([_vector(text) for text in texts])

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.embedded += texts
        return np.stack([_vector(text) for text in texts])


def _vector(text: str) -> NDArray[np.float32]:
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for term in terms(text):
        vector[zlib.crc32(term.encode()) % DIMENSIONS] += 1
    return vector / (np.linalg.norm(vector) or 1.0)
