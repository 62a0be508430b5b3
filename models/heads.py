"""Linear heads over dense and sparse features, in numpy: logits and calibrated probabilities.

Fitting them is `training/`'s. Invariant: probabilities are softmax(logits / temperature), sum to 1, and follow the
label order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.base import ArtifactInvalid
from models.ngrams import SparseVector
from models.tokens import Tokens

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Features:
    """B texts' features.

    Attributes:
        dense: (B, D), or None without an encoder.
        texts, tokens, hidden: the texts as the encoder read them, their tokens, and these tokens' vectors, B of (T, D);
            the vectors only where an entity tagger wants them.
    """

    dense: Floats | None
    sparse: Sequence[SparseVector]
    texts: Sequence[str] = ()
    tokens: Sequence[Tokens] = ()
    hidden: Sequence[Floats] | None = None


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """One task's labels and weights: dense (D, K) or None, sparse (V, K), bias (K,)."""

    labels: tuple[str, ...]
    dense: Floats | None
    sparse: Floats
    bias: Floats
    temperature: float

    def logits(self, features: Features) -> Floats:
        """(B, K), before the temperature."""
        out = np.tile(self.bias, (len(features.sparse), 1))
        if self.dense is not None and features.dense is not None:
            out += features.dense @ self.dense
        for row, vector in enumerate(features.sparse):
            if len(vector.indices):
                out[row] += vector.weights @ self.sparse[vector.indices]
        return out

    def probabilities(self, logits: Floats) -> Floats:
        return softmax(logits / self.temperature)


def softmax(logits: Floats) -> Floats:
    """Row-wise, in float64 inside so that rows sum to 1 within 1e-6."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    out: Floats = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return out


def save_heads(path: Path, heads: dict[str, LinearHead], extra: dict[str, NDArray[Any]]) -> None:
    """Write all heads, and `extra` arrays of other names, into one `.npz` without pickles."""
    arrays: dict[str, NDArray[Any]] = dict(extra)
    for task, head in heads.items():
        arrays[f"{task}.labels"] = np.frombuffer("\n".join(head.labels).encode(), dtype=np.uint8)
        arrays[f"{task}.sparse"] = head.sparse
        arrays[f"{task}.bias"] = head.bias
        arrays[f"{task}.temperature"] = np.float64(head.temperature).reshape(1)
        if head.dense is not None:
            arrays[f"{task}.dense"] = head.dense
    np.savez(path, **arrays)  # type: ignore[arg-type]


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise ArtifactInvalid(f"{path}: the heads do not load ({error}); train again") from error


def head_from(arrays: dict[str, NDArray[Any]], task: str) -> LinearHead | None:
    """The task's head, or None where the model was trained without that task."""
    if f"{task}.labels" not in arrays:
        return None
    return LinearHead(
        labels=tuple(arrays[f"{task}.labels"].tobytes().decode().split("\n")),
        dense=arrays.get(f"{task}.dense"),
        sparse=arrays[f"{task}.sparse"].astype(np.float32),
        bias=arrays[f"{task}.bias"],
        temperature=float(arrays[f"{task}.temperature"][0]),
    )
