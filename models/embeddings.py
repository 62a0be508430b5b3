"""Texts → vectors for search: the base's own encoder, told whether a text asks or is asked about. No PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.artifact import sha256_file
from models.encoder import ENCODER_ONNX, Encoder

MAX_TOKENS = 384
"""Of a passage with the headings above it: about 280 English words or 550 Chinese characters."""
PASSAGE_PREFIX = {"query: ": "passage: "}
"""What a base wants before a text that answers, by what it wants before one that asks (e5)."""


class Embedder(Protocol):
    """Anything that makes vectors of length 1 whose product is higher the better a passage answers a question."""

    @property
    def name(self) -> str:
        """Another name whenever the vectors would be others: what was embedded under the old one is embedded anew."""
        ...

    def questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts → (B, D)."""
        ...

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """B texts → (B, D)."""
        ...


class EncoderEmbedder:
    """The encoder files of a folder, as `training.export.exported_encoder` makes them. Thread-safe."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._encoder = Encoder(folder, threads, MAX_TOKENS)
        self._name = f"{sha256_file(folder / ENCODER_ONNX)[:16]}/{MAX_TOKENS}"

    @property
    def name(self) -> str:
        """See `Embedder`, as for the methods below."""
        return self._name

    def questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encoder.embed(texts)

    def passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        prefix = self._encoder.spec.prefix
        return self._encoder.embed(texts, PASSAGE_PREFIX.get(prefix, prefix))
