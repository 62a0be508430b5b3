"""How good a model is on labelled utterances it has not seen. No training, no decision (`gate.py` decides).

Invariant: figures come from predictions of the artifact that serves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats

BINS = 15


def score_predictions(probabilities: Floats, targets: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, macro-F1 over the labels that occur, and expected calibration error (15 equal-width bins)."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    right = predicted == targets
    return {
        "accuracy": float(right.mean()),
        "macro_f1": macro_f1(predicted, targets),
        "ece": calibration_error(confidence, right),
    }


def macro_f1(predicted: NDArray[np.int64], targets: NDArray[np.int64]) -> float:
    """Mean F1 over every label that is a target or a prediction."""
    scores = []
    for label in np.union1d(predicted, targets):
        both = np.sum((predicted == label) & (targets == label))
        scores.append(2 * both / (np.sum(predicted == label) + np.sum(targets == label)))
    return float(np.mean(scores))


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by how many fall there."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [
        np.sum(bins == b) * abs(confidence[bins == b].mean() - right[bins == b].mean())
        for b in range(BINS)
        if np.any(bins == b)
    ]
    return float(sum(gaps) / len(right))
