"""Fit linear heads on features: logistic regression, its regularisation by cross-validation, its temperature.

Plain matrices in, `models.heads.LinearHead` out; numpy, scipy and scikit-learn only, so that it runs where PyTorch is
not installed.
Invariant: every choice is made on predictions for rows that the fit did not see, all of them training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse as sp  # type: ignore[import-untyped]
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from models.heads import Floats, LinearHead, softmax
from models.ngrams import SparseVector

# Held-out predictions of one fold of five are enough once that fold holds this many rows: more folds only take longer.
ENOUGH_HELD_OUT = 800


@dataclass(frozen=True, kw_only=True)
class Design:
    """N training rows.

    Attributes:
        dense: (N, D); D is 0 without an encoder.
        sparse: (N, V), CSR.
        targets: (N,), indices into `labels`.
        folds: (N,), which fold each row is held out in.
    """

    dense: Floats
    sparse: Any
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    folds: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A head and the predictions that its choices were made on.

    Attributes:
        held_out: rows of the design that some fold held out.
        held_out_logits: (len(held_out), K), each from a fit that did not see the row.
        log_loss: of the held-out rows for each regularisation tried.
    """

    head: LinearHead
    regularisation: float
    held_out: NDArray[np.int64]
    held_out_logits: Floats
    log_loss: dict[float, float]


def to_csr(vectors: Sequence[SparseVector], features: int) -> Any:
    """(N, V) in CSR from N sparse vectors."""
    ends = np.cumsum([0, *(len(vector.indices) for vector in vectors)])
    indices = np.concatenate([np.zeros(0, dtype=np.int64), *(vector.indices for vector in vectors)])
    weights = np.concatenate([np.zeros(0, dtype=np.float32), *(vector.weights for vector in vectors)])
    return sp.csr_matrix((weights, indices, ends), shape=(len(vectors), features), dtype=np.float32)


def fit_head(
    design: Design, *, sparse_weight: float, grid: Sequence[float], tick: Callable[[int, int], None]
) -> Fitted:
    """Choose C on held-out log-loss, fit the temperature on the same predictions, then fit on all rows.

    Log-loss and not accuracy chooses: it is smooth on small data, and it is what confidences are judged by.

    Args:
        sparse_weight: scale of the n-gram features beside embeddings of length 1.
        grid: C values, ascending: each fit starts from the one before.
        tick: called with (fits done, fits in all).
    """
    joined = _join(design, sparse_weight)
    folds = sorted(set(design.folds.tolist()))
    if np.sum(design.folds == folds[0]) >= ENOUGH_HELD_OUT:
        folds = folds[:1]
    held_out = np.flatnonzero(np.isin(design.folds, folds))
    logits = {c: np.zeros((len(design.targets), len(design.labels)), dtype=np.float32) for c in grid}
    total, start = len(folds) * len(grid) + 1, {}
    for step, fold in enumerate(folds):
        seen, unseen = np.flatnonzero(design.folds != fold), np.flatnonzero(design.folds == fold)
        weights = None
        for rank, c in enumerate(grid):
            weights = _fit(joined[seen], design.targets[seen], len(design.labels), c, weights)
            logits[c][unseen] = _logits(joined[unseen], weights)
            start[c] = weights
            tick(step * len(grid) + rank + 1, total)
    targets = design.targets[held_out]
    calibrated = {c: fit_temperature(logits[c][held_out], targets) for c in grid}
    losses = {c: log_loss(logits[c][held_out] / calibrated[c], targets) for c in grid}
    best = min(grid, key=lambda c: losses[c])
    weights = _fit(joined, design.targets, len(design.labels), best, start[best])
    tick(total, total)
    return Fitted(
        head=_head(weights, design, sparse_weight, calibrated[best]),
        regularisation=best,
        held_out=held_out,
        held_out_logits=logits[best][held_out],
        log_loss=losses,
    )


def fit_temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    """The temperature with the smallest log-loss, between 0.05 and 20. Source: Guo et al. 2017."""
    found = minimize_scalar(
        lambda log_t: log_loss(logits / np.exp(log_t), targets), bounds=(np.log(0.05), np.log(20)), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(logits: Floats, targets: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the right label."""
    chances = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def _join(design: Design, sparse_weight: float) -> Any:
    if not design.dense.shape[1]:
        return design.sparse
    return sp.hstack([sp.csr_matrix(design.dense), design.sparse * np.float32(sparse_weight)], format="csr")


def _fit(rows: Any, targets: NDArray[np.int64], classes: int, c: float, start: Floats | None) -> Floats:
    """Weights (F + 1, K), bias last. Classes that the rows lack get a bias that never wins."""
    model = LogisticRegression(C=c, max_iter=300, tol=1e-3, warm_start=True)
    present = np.unique(targets)
    if start is not None and len(present) > 2:
        model.coef_, model.intercept_, model.classes_ = start[:-1, present].T.copy(), start[-1, present].copy(), present
    model.fit(rows, targets)
    coef, bias = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps one row of weights for two classes
        coef, bias = np.vstack([-coef / 2, coef / 2]), np.concatenate([-bias / 2, bias / 2])
    weights = np.zeros((rows.shape[1] + 1, classes), dtype=np.float32)
    weights[-1] = -30.0
    weights[:-1, present] = coef.T
    weights[-1, present] = bias
    return weights


def _logits(rows: Any, weights: Floats) -> Floats:
    out: Floats = np.asarray(rows @ weights[:-1] + weights[-1], dtype=np.float32)
    return out


def _head(weights: Floats, design: Design, sparse_weight: float, temperature: float) -> LinearHead:
    width = design.dense.shape[1]
    # The scale of the n-gram features moves into their weights: serving reads plain features.
    scale = np.float32(sparse_weight if width else 1.0)
    return LinearHead(
        labels=design.labels,
        dense=weights[:width].copy() if width else None,
        sparse=weights[width:-1] * scale,
        bias=weights[-1].copy(),
        temperature=temperature,
    )
