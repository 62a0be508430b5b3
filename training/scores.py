"""Figures over predictions, as plain functions of arrays; which predictions, and what follows, is decided elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats

BINS = 15


def macro_f1(predicted: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """Mean F1 over every label that is a target or a prediction."""
    scores = []
    for label in np.union1d(predicted, targets):
        both = np.sum((predicted == label) & (targets == label))
        scores.append(2 * both / (np.sum(predicted == label) + np.sum(targets == label)))
    return float(np.mean(scores))


def reliability(confidence: Floats, right: NDArray[np.bool_]) -> tuple[tuple[float, float, int], ...]:
    """(mean confidence, accuracy, n) of each of 15 equal-width confidence bins that holds any."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        (float(confidence[bins == b].mean()), float(right[bins == b].mean()), int(np.sum(bins == b)))
        for b in range(BINS)
        if np.any(bins == b)
    )


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Mean gap between confidence and accuracy over the bins of `reliability`, weighted by how many fall there."""
    return sum(abs(mean - accuracy) * n for mean, accuracy, n in reliability(confidence, right)) / len(right)


def out_of_scope_auroc(in_scope: Floats, out_of_scope: Floats) -> float:
    """The chance that an out-of-scope text scores above an in-scope one; ties count half."""
    both = np.concatenate([in_scope, out_of_scope])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[len(in_scope) :].sum() - len(out_of_scope) * (len(out_of_scope) + 1) / 2
    return float(above / (len(in_scope) * len(out_of_scope)))
