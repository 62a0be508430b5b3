"""A task's labelled texts with what an encoder makes of them: what heads are fitted on.

Invariant: the rows of all arrays are the utterances, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats
from training.dataset import Utterance
from training.fit import Task

EMBED_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Reading:
    """N labelled texts.

    Attributes:
        folds: (N,), which fold each row is held out in; -1: in none.
        dense: (N, D) from the encoder that will serve; D is 0 without one.
        tuned: fold → (N, D) from an encoder tuned without that fold; empty for a frozen one.
    """

    utterances: Sequence[Utterance]
    folds: NDArray[np.int64]
    dense: Floats
    tuned: Mapping[int, Floats] = field(default_factory=dict)

    @classmethod
    def without_encoder(cls, utterances: Sequence[Utterance], folds: NDArray[np.int64]) -> Reading:
        return cls(utterances=utterances, folds=folds, dense=np.zeros((len(utterances), 0), dtype=np.float32))

    def task(self) -> Task:
        """As `fit_head` wants it."""
        labels, targets = label_indices(self.utterances)
        return Task(
            texts=tuple(u.text for u in self.utterances),
            dense=self.dense,
            targets=targets,
            labels=labels,
            folds=self.folds,
            tuned=self.tuned,
        )


def label_indices(utterances: Sequence[Utterance]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The labels in order, and each utterance's index among them, (N,)."""
    labels = tuple(sorted({u.label for u in utterances}))
    index = {label: k for k, label in enumerate(labels)}
    return labels, np.array([index[u.label] for u in utterances], dtype=np.int64)
