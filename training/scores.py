"""Figures over predictions, as plain functions of arrays; which predictions, and what follows, is decided elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats

BINS = 15
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
Z95 = 1.959964


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


def calibration_error_by_chance(confidence: Floats, *, repeats: int = 1, draws: int = 200, seed: int = 0) -> float:
    """Mean of `calibration_error` where every answer is right with exactly its confidence.

    Few answers fill the bins unevenly: 350 of them show about 0.05 without any fault of the confidences. Source:
    Bröcker & Smith 2007 (consistency resampling).

    Args:
        repeats: how often each text occurs, all texts once, then all again; its luck is the same each time.
    """
    rng = np.random.default_rng(seed)
    luck = np.tile(rng.random((draws, len(confidence) // repeats)), repeats)
    return float(np.mean([calibration_error(confidence, drawn < confidence) for drawn in luck]))


def out_of_scope_auroc(in_scope: Floats, out_of_scope: Floats) -> float:
    """The chance that an out-of-scope text scores above an in-scope one; ties count half."""
    both = np.concatenate([in_scope, out_of_scope])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    above = ranks[len(in_scope) :].sum() - len(out_of_scope) * (len(out_of_scope) + 1) / 2
    return float(above / (len(in_scope) * len(out_of_scope)))


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in `n` independent trials; honest near 0 and 1. Source: Wilson 1927."""
    if n < 1:
        return 0.0, 1.0
    spread = Z95**2 / n
    middle = (rate + spread / 2) / (1 + spread)
    half = Z95 * float(np.sqrt(rate * (1 - rate) / n + spread / (4 * n))) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval by Student's t, of one figure over several runs; at least two."""
    from scipy.stats import t  # type: ignore[import-untyped]

    found = np.asarray(values, dtype=np.float64)
    half = float(t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    mean = float(found.mean())
    return mean, mean - half, mean + half


@dataclass(frozen=True, kw_only=True)
class CoverageRow:
    """What answering only the surest messages would give.

    Attributes:
        coverage: share of the messages that is answered, equal confidences together.
        threshold: the confidence from which on is answered.
        accuracy: of the `n` that are answered.
    """

    coverage: float
    threshold: float
    accuracy: float
    n: int


def coverage_risk(confidence: Floats, right: NDArray[np.bool_]) -> tuple[CoverageRow, ...]:
    """Accuracy of the surest 100, 95, 90, 80, 70, 60 and 50 %. Source: El-Yaniv & Wiener 2010."""
    order = np.argsort(-confidence, kind="stable")
    rows: list[CoverageRow] = []
    for share in COVERAGES:
        threshold = float(confidence[order[max(1, round(share * len(order))) - 1]])
        answered = confidence >= threshold
        row = CoverageRow(
            coverage=float(answered.mean()),
            threshold=threshold,
            accuracy=float(right[answered].mean()),
            n=int(answered.sum()),
        )
        if row not in rows:
            rows.append(row)
    return tuple(rows)


Span = tuple[int, int, str]


@dataclass(frozen=True, kw_only=True)
class SpanScore:
    """Precision, recall and F1 of spans; `n` were to be found, `said` were."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int
    said: int


def span_score(name: str, pairs: Sequence[tuple[frozenset[Span], frozenset[Span]]]) -> SpanScore:
    """Micro F1 over texts: (meant, said) spans of each; right are those with exactly the same ends and type.

    Without any span on either side nothing was missed: 1.
    """
    both = sum(len(meant & said) for meant, said in pairs)
    meant_n, said_n = sum(len(meant) for meant, _ in pairs), sum(len(said) for _, said in pairs)
    return SpanScore(
        name=name,
        precision=both / said_n if said_n else float(meant_n == 0),
        recall=both / meant_n if meant_n else 1.0,
        f1=2 * both / (meant_n + said_n) if meant_n + said_n else 1.0,
        n=meant_n,
        said=said_n,
    )
