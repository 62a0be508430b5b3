"""Fit the out-of-scope score and its threshold from in-scope training messages alone.

Invariant: every held-out row is scored by logits and Gaussians that did not include it, as a customer's message will
be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf  # type: ignore[import-untyped]

from models.base import OUT_OF_SCOPE_INTENTS
from models.heads import Floats
from models.scope import Gaussians, ScopeScorer, Standard, added, signals
from training.fit import Fitted, Task

# Directions that the training messages hardly use would weigh everything: none gets more than this times the mean's.
FLATTEST = 1e-3


@dataclass(frozen=True, kw_only=True)
class FittedScope:
    """The scorer, and what it says of held-out training messages.

    Attributes:
        threshold: the score that a given share of the in-scope messages exceed.
        scores: of held-out in-scope messages.
        strange: of held-out examples of an intent that stands for everything else.
    """

    scorer: ScopeScorer
    threshold: float
    scores: Floats
    strange: Floats


def fit_scope(task: Task, fitted: Fitted, *, rejected_in_scope: float) -> FittedScope:
    """Fit on all in-scope messages; scales and threshold from held-out ones, of which `rejected_in_scope` exceed it."""
    in_scope = np.array([k for k, label in enumerate(task.labels) if label not in OUT_OF_SCOPE_INTENTS], dtype=np.int64)
    belongs = np.isin(task.targets, in_scope)  # (N,)
    held = belongs[fitted.held_out]
    logits = fitted.logits[:, in_scope]
    gaussians = fit_gaussians(task.dense[belongs], task.targets[belongs]) if task.dense.shape[1] else None
    found = _held_out_signals(task, fitted.held_out, logits, belongs)
    standards = tuple(Standard.of(one[held]) for one in found)
    scores = added(found, standards)
    return FittedScope(
        scorer=ScopeScorer(in_scope=in_scope, gaussians=gaussians, standards=standards),
        threshold=float(np.quantile(scores[held], 1 - rejected_in_scope)),
        scores=scores[held],
        strange=scores[~held],
    )


def fit_gaussians(dense: Floats, targets: NDArray[np.int64]) -> Gaussians:
    """From N vectors (N, D) and their intents (N,); covariances shrunk as Ledoit and Wolf (2004) do."""
    labels, index = np.unique(targets, return_inverse=True)
    means = np.stack([dense[index == k].mean(axis=0) for k in range(len(labels))])  # (K, D)
    within = _whitening(dense - means[index])
    total = _whitening(dense - dense.mean(axis=0))
    return Gaussians(means=means @ within, within=within, total=total, mean=dense.mean(axis=0) @ total)


def _whitening(centred: Floats) -> Floats:
    """(D, D), W with W @ W.T the inverse covariance of centred rows (N, D)."""
    covariance, _ = ledoit_wolf(centred.astype(np.float64), assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, FLATTEST * values.mean() + 1e-12)
    out: Floats = (vectors / np.sqrt(values)).astype(np.float32)
    return out


def _held_out_signals(
    task: Task, rows: NDArray[np.int64], logits: Floats, belongs: NDArray[np.bool_]
) -> tuple[Floats, ...]:
    if not task.dense.shape[1]:
        return signals(logits, None, None)
    out = np.zeros((3, len(rows)), dtype=np.float32)
    for fold in np.unique(task.folds[rows]):
        others = np.flatnonzero(belongs & (task.folds != fold))
        at = task.folds[rows] == fold
        dense = task.dense_without(int(fold))
        out[:, at] = signals(logits[at], dense[rows[at]], fit_gaussians(dense[others], task.targets[others]))
    return tuple(out)
