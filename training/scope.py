"""Fit the out-of-scope score and its threshold from in-scope training messages alone.

Invariant: every held-out row is scored by logits and neighbours that did not include it, as a customer's message will
be.
"""

from __future__ import annotations

import numpy as np

from models.base import OUT_OF_SCOPE_INTENTS
from models.heads import Floats
from models.scope import Neighbourhood, ScopeScorer, Standard, energy
from training.fit import Fitted, Task

# The bank of neighbours stays under 30 MB; past this many messages a random part of them serves as well.
MAX_BANK = 20_000


def fit_scope(task: Task, fitted: Fitted, *, rejected_in_scope: float) -> tuple[ScopeScorer, float]:
    """The scorer, and the score that `rejected_in_scope` of the held-out in-scope messages exceed."""
    in_scope = np.array([k for k, label in enumerate(task.labels) if label not in OUT_OF_SCOPE_INTENTS], dtype=np.int64)
    belongs = np.isin(task.targets, in_scope)  # (N,)
    held = belongs[fitted.held_out]
    energies = energy(fitted.logits[held][:, in_scope])
    standard = Standard.of(energies)
    scores = standard.apply(energies)
    distance = neighbourhood = None
    if task.dense.shape[1]:
        distances = _held_out_distances(task, fitted.held_out[held], belongs)
        distance = Standard.of(distances)
        scores = scores + distance.apply(distances)
        neighbourhood = Neighbourhood.of(task.dense[_sample(np.flatnonzero(belongs))])
    scorer = ScopeScorer(in_scope=in_scope, energy=standard, distance=distance, neighbourhood=neighbourhood)
    return scorer, float(np.quantile(scores, 1 - rejected_in_scope))


def _held_out_distances(task: Task, rows: np.ndarray, belongs: np.ndarray) -> Floats:
    out = np.zeros(len(rows), dtype=np.float32)
    for fold in np.unique(task.folds[rows]):
        others = np.flatnonzero(belongs & (task.folds != fold))
        at = task.folds[rows] == fold
        dense = task.dense_without(int(fold))
        out[at] = Neighbourhood.of(dense[_sample(others)]).distance(dense[rows[at]])
    return out


def _sample(rows: np.ndarray) -> np.ndarray:
    if len(rows) <= MAX_BANK:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_BANK, replace=False))
