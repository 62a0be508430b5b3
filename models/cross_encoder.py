"""Two texts read together: whether a passage answers a question, and whether a source supports a sentence. No PyTorch.

A cross-encoder is an encoder (`models.encoder`) that was tuned on pairs (`training.finetune_cross_encoder`), and one
linear head a task on its sentence vector. It is slower than comparing vectors, and sees what they do not: a "not", a
"before", another number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.artifact import sha256_file
from models.base import ArtifactInvalid
from models.encoder import ENCODER_ONNX, Encoder

HEADS = "heads.npz"
MAX_TOKENS = 176
"""Of both texts together: about 60 words of question or sentence, and a section of 100."""
Task = Literal["answers", "supports"]
TASKS: tuple[Task, ...] = ("answers", "supports")


def joined(text: str, source: str) -> str:
    """How a pair is written: what e5 was trained to read apart."""
    return f"query: {text} passage: {source}"


class CrossEncoder:
    """The files of a folder, as `training.finetune_cross_encoder` writes them. Thread-safe; raises ArtifactInvalid."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._encoder = Encoder(folder, threads, MAX_TOKENS)
        try:
            with np.load(folder / HEADS, allow_pickle=False) as heads:
                self._heads = {task: (heads[f"{task}_weights"], float(heads[f"{task}_bias"])) for task in TASKS}
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactInvalid(f"{folder}: the cross-encoder does not load ({error}); tune again") from error
        self.name = cross_encoder_name(folder)

    def score(self, task: Task, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """B (text, source) pairs → (B,) log-odds that the source answers, or supports, the text."""
        if not pairs:
            return np.zeros(0, dtype=np.float32)
        weights, bias = self._heads[task]
        vectors = self._encoder.embed([joined(*pair) for pair in pairs], prefix="")
        scores: NDArray[np.float32] = (vectors @ weights + bias).astype(np.float32)
        return scores


def cross_encoder_name(folder: Path) -> str:
    """Another name whenever it judges otherwise."""
    made_of = sha256_file(folder / ENCODER_ONNX) + sha256_file(folder / HEADS)
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]
