"""Fit one linear head on embeddings and n-grams: logistic regression, its settings by cross-validation, its
temperature.

Texts and matrices in, `models.heads.LinearHead` out; numpy, scipy and scikit-learn only, so that it runs without
PyTorch.
Invariant: every choice is made on predictions for rows that the fit did not see, all of them training rows.

The n-grams' tens of thousands of columns are projected onto their few hundred main directions before the fit, and the
weights
back onto n-grams after it: the same linear model at a tenth of the time (measured on BANKING77: 92.6 against 92.7,
validation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse as sp  # type: ignore[import-untyped]
from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.utils.extmath import randomized_svd  # type: ignore[import-untyped]

from models.heads import Floats, LinearHead, softmax
from models.ngrams import NgramVocabulary, SparseVector

# Held-out predictions of one fold of five are enough once that fold holds this many rows: more folds only take longer.
ENOUGH_HELD_OUT = 500
# Settings are compared on fits of at most this many rows; what they choose is then fitted on all.
SEARCH_ROWS = 4000
# A few dozen messages, all understood, would ask for certainty; real data gave 0.4 to 1.
TEMPERATURES = (0.25, 20.0)
# A label that the rows of one fold lack must never win there.
NEVER = -30.0
# The n-grams' share of the logits, where both are fitted apart.
SHARES = tuple(round(0.1 * k, 1) for k in range(11))
# Up to this many rows the exact decomposition is the faster one.
SMALL = 1500

Tick = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """N labelled texts.

    Attributes:
        dense: (N, D); D is 0 without an encoder.
        targets: (N,), indices into `labels`.
        folds: (N,), which fold each row is held out in; -1: in none.
        tuned: fold → (N, D), what an encoder tuned without that fold makes of all rows; empty for a frozen encoder.
            Then only these folds are held out.
    """

    texts: tuple[str, ...]
    dense: Floats
    targets: NDArray[np.int64]
    labels: tuple[str, ...]
    folds: NDArray[np.int64]
    tuned: Mapping[int, Floats] = field(default_factory=dict)

    def dense_without(self, fold: int) -> Floats:
        """(N, D), made without the labels of `fold`."""
        return self.tuned.get(fold, self.dense)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What is tried. Each list is climbed from its start while held-out log-loss falls.

    Attributes:
        rank: main directions kept of the n-grams.
        regularisation, start_c: values of C (larger = freer), ascending, and the first one tried.
        sparse_weights, start_weight: scale of the n-grams beside embeddings of mean length 1.
        is_apart: fit embeddings and n-grams each by itself and add what they say.
    """

    rank: int
    regularisation: tuple[float, ...]
    start_c: float
    sparse_weights: tuple[float, ...]
    start_weight: float
    is_apart: bool = False


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A head, and the predictions that its settings were chosen on.

    Attributes:
        held_out: (M,), rows of the task that some fold held out.
        logits: (M, K), each from a fit that did not see the row.
        floor: (M, K), the same from n-grams alone.
        sparse_weight: the n-grams' scale; fitted apart, their share.
    """

    head: LinearHead
    regularisation: float
    sparse_weight: float
    held_out: NDArray[np.int64]
    logits: Floats
    floor: Floats


@dataclass(frozen=True, kw_only=True)
class _Space:
    """Where embeddings and n-grams lie after centring and projection, learned from some rows."""

    mean: Floats  # (D,)
    scale: float
    directions: Floats  # (V, R)


@dataclass(frozen=True, kw_only=True)
class _Fold:
    """One fold's rows, all texts in the space learned for it, and the rows that comparing settings is done on."""

    seen: NDArray[np.int64]
    unseen: NDArray[np.int64]
    searched: NDArray[np.int64]
    dense: Floats  # (N, D)
    sparse: Floats  # (N, R)
    grams: Any  # (N, V), before the projection


def fit_head(
    task: Task,
    vocabulary: NgramVocabulary,
    learn: Callable[[Sequence[str]], NgramVocabulary],
    search: Search,
    tick: Tick,
) -> Fitted:
    """Choose C and the n-grams' weight on held-out log-loss, calibrate on the same predictions, then fit on all rows.

    Log-loss and not accuracy chooses: it is smooth on small data, and it is what confidences are judged by.

    Args:
        vocabulary: of the head that is returned.
        learn: makes a fold's own vocabulary, so that held-out texts are as new to it as customers' texts will be.
        tick: called with (fits done, fits expected).
    """
    grams = to_csr([vocabulary.vector(text) for text in task.texts], len(vocabulary.grams))
    is_apart = search.is_apart and task.dense.shape[1] > 0
    rank = 0 if is_apart else search.rank  # apart, n-grams need no projection
    space = _learn_space(task.dense, grams, rank)
    folds = list(_folds(task, grams, space, learn, rank))
    held_out = np.concatenate([fold.unseen for fold in folds])
    targets = task.targets[held_out]
    if is_apart:
        return _fit_apart(task, grams, space, folds, held_out, search, tick)
    tried: dict[tuple[float, float], Floats] = {}

    def loss(c: float, weight: float) -> float:
        if (c, weight) not in tried:
            tried[c, weight] = np.concatenate([_logits(task, fold, fold.searched, c, weight) for fold in folds])
            tick(len(tried), max(8, len(tried) + 2))
        logits = tried[c, weight]
        return log_loss(logits / fit_temperature(logits, targets), targets)

    weight = search.start_weight if task.dense.shape[1] else 1.0
    c = _climb(search.regularisation, search.start_c, lambda value: loss(value, weight))
    floor = np.concatenate([_logits(task, fold, fold.seen, search.start_c, None) for fold in folds])
    if task.dense.shape[1]:
        weight = _climb(search.sparse_weights, weight, lambda value: loss(c, value))
    logits = np.concatenate([_logits(task, fold, fold.seen, c, weight) for fold in folds])
    head = _final(task, grams, space, c, weight, fit_temperature(logits, targets))
    tick(len(tried) + 2, len(tried) + 2)
    return Fitted(head=head, regularisation=c, sparse_weight=weight, held_out=held_out, logits=logits, floor=floor)


def _fit_apart(
    task: Task,
    grams: Any,
    space: _Space,
    folds: Sequence[_Fold],
    held_out: NDArray[np.int64],
    search: Search,
    tick: Tick,
) -> Fitted:
    """One head of two that are fitted alone: on embeddings, and on all n-grams without a projection.

    What a tuned encoder makes of the very rows that it learned from tells their labels; fitted together, the n-grams
    would get next to no weight. On the development part of waimai_10k: 91.2 together, 91.4 apart.
    """
    targets, classes = task.targets[held_out], len(task.labels)
    done = 0

    def held(columns_of: Callable[[_Fold], Any], c: float) -> Floats:
        nonlocal done
        fits = [(fold, *_fit(columns_of(fold)[fold.seen], task.targets[fold.seen], classes, c)) for fold in folds]
        done += 1
        tick(done, max(10, done + 2))
        return np.concatenate([columns_of(fold)[fold.unseen] @ weights + bias for fold, weights, bias in fits])

    def best(columns_of: Callable[[_Fold], Any]) -> tuple[float, Floats, float]:
        tried: dict[float, Floats] = {}

        def loss(c: float) -> float:
            logits = tried[c] = tried[c] if c in tried else held(columns_of, c)
            return log_loss(logits / fit_temperature(logits, targets), targets)

        c = _climb(search.regularisation, search.start_c, loss)
        return c, tried[c], fit_temperature(tried[c], targets)

    c_dense, on_dense, heat_dense = best(lambda fold: fold.dense)
    c_sparse, on_sparse, heat_sparse = best(lambda fold: fold.grams)
    # Only how the two compare is decided by their temperatures; how sure the sum may be, by the last one alone.
    balance = np.sqrt(heat_dense * heat_sparse)
    heat_dense, heat_sparse = heat_dense / balance, heat_sparse / balance

    def mixed(share: float) -> Floats:
        out: Floats = (on_dense / heat_dense * (1 - share) + on_sparse / heat_sparse * share).astype(np.float32)
        return out

    share = _climb(SHARES, 0.5, lambda one: log_loss(mixed(one) / fit_temperature(mixed(one), targets), targets))
    logits = mixed(share)
    dense, dense_bias = _fit((task.dense - space.mean) / space.scale, task.targets, classes, c_dense)
    sparse, sparse_bias = _fit(grams, task.targets, classes, c_sparse)
    dense_part, sparse_part = np.float32((1 - share) / heat_dense), np.float32(share / heat_sparse)
    dense = dense / np.float32(space.scale)
    bias = (dense_bias - space.mean @ dense) * dense_part + sparse_bias * sparse_part
    head = LinearHead(
        labels=task.labels,
        dense=dense * dense_part,
        sparse=sparse * sparse_part,
        bias=bias.astype(np.float32),
        temperature=fit_temperature(logits, targets),
    )
    tick(done + 2, done + 2)
    return Fitted(
        head=head, regularisation=c_dense, sparse_weight=share, held_out=held_out, logits=logits, floor=on_sparse
    )


def probe(dense: Floats, targets: NDArray[np.int64], classes: int, c: float) -> tuple[Floats, Floats]:
    """Weights (D, K) and bias (K,) of a logistic regression on plain vectors (N, D): where a tuning begins from."""
    mean, scale = _centre(dense)
    weights, bias = _fit((dense - mean) / scale, targets, classes, c)
    weights = weights / np.float32(scale)
    return weights, (bias - mean @ weights).astype(np.float32)


def fit_temperature(logits: Floats, targets: NDArray[np.int64]) -> float:
    """The temperature with the smallest log-loss, within `TEMPERATURES`. Source: Guo et al. 2017."""
    found = minimize_scalar(
        lambda log_t: log_loss(logits / np.exp(log_t), targets), bounds=tuple(np.log(TEMPERATURES)), method="bounded"
    )
    return float(np.exp(found.x))


def log_loss(logits: Floats, targets: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the right label."""
    chances = softmax(logits)[np.arange(len(targets)), targets]
    return float(-np.log(np.maximum(chances, 1e-12)).mean())


def to_csr(vectors: Sequence[SparseVector], features: int) -> Any:
    """(N, V) in CSR from N sparse vectors."""
    ends = np.cumsum([0, *(len(vector.indices) for vector in vectors)])
    indices = np.concatenate([np.zeros(0, dtype=np.int64), *(vector.indices for vector in vectors)])
    weights = np.concatenate([np.zeros(0, dtype=np.float32), *(vector.weights for vector in vectors)])
    return sp.csr_matrix((weights, indices, ends), shape=(len(vectors), features), dtype=np.float32)


def _climb(values: Sequence[float], start: float, loss: Callable[[float], float]) -> float:
    """Walk from `start` to a neighbour while that lowers the loss; up first."""
    at = values.index(start)
    for step in (1, -1):
        moved = False
        while 0 <= at + step < len(values) and loss(values[at + step]) < loss(values[at]):
            at, moved = at + step, True
        if moved:
            break
    loss(values[at])
    return values[at]


def _folds(
    task: Task, grams: Any, space: _Space, learn: Callable[[Sequence[str]], NgramVocabulary], rank: int
) -> Iterator[_Fold]:
    numbers = sorted(task.tuned) or sorted(set(task.folds[task.folds >= 0].tolist()))
    is_large = int(np.sum(task.folds == numbers[0])) >= ENOUGH_HELD_OUT
    for number in numbers[:1] if is_large else numbers:
        seen, unseen = np.flatnonzero(task.folds != number), np.flatnonzero(task.folds == number)
        dense, columns = task.dense_without(number), grams
        if not is_large:  # among thousands, what held-out texts add to vocabulary and directions (no labels) is nothing
            vocabulary = learn([task.texts[row] for row in seen])
            columns = to_csr([vocabulary.vector(text) for text in task.texts], len(vocabulary.grams))
            space = _learn_space(dense[seen], columns[seen], rank)
        elif task.tuned:
            mean, scale = _centre(dense[seen])
            space = replace(space, mean=mean, scale=scale)
        yield _Fold(
            seen=seen,
            unseen=unseen,
            searched=_thinned(seen, task.targets),
            dense=(dense - space.mean) / space.scale,
            sparse=columns @ space.directions,
            grams=columns,
        )


def _thinned(rows: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `SEARCH_ROWS` of the rows, every label in its share."""
    step = -(-len(rows) // SEARCH_ROWS)
    return np.sort(rows[np.argsort(targets[rows], kind="stable")][::step])


def _learn_space(dense: Floats, grams: Any, rank: int) -> _Space:
    mean, scale = _centre(dense)
    rank = min(rank, grams.shape[0] - 1, grams.shape[1] - 1)
    if rank < 1:
        return _Space(mean=mean, scale=scale, directions=np.zeros((grams.shape[1], 0), dtype=np.float32))
    return _Space(mean=mean, scale=scale, directions=_main_directions(grams, rank))


def _centre(dense: Floats) -> tuple[Floats, float]:
    """Mean (D,) and mean distance to it.

    Some encoders (e5) put all texts into a narrow cone; centred and scaled, C means the same for every base.
    """
    mean = dense.mean(axis=0)
    spread = float(np.sqrt(((dense - mean) ** 2).sum(axis=1).mean())) if dense.shape[1] else 1.0
    return mean, spread or 1.0  # a single row lies at its own mean


def _main_directions(grams: Any, rank: int) -> Floats:
    """(V, R), orthonormal columns: what a truncated singular value decomposition keeps."""
    if grams.shape[0] > SMALL:
        _, _, found = randomized_svd(grams, n_components=rank, n_iter=2, random_state=0)
        return np.ascontiguousarray(found.T, dtype=np.float32)
    # Few rows: their inner products hold the same directions, exactly and faster.
    squares, left = np.linalg.eigh((grams @ grams.T).toarray().astype(np.float64))  # ascending
    kept = np.flatnonzero(squares > 1e-6 * squares[-1])[-rank:][::-1]
    out: Floats = (grams.T @ (left[:, kept] / np.sqrt(squares[kept]))).astype(np.float32)
    return out


def _logits(task: Task, fold: _Fold, rows: NDArray[np.int64], c: float, sparse_weight: float | None) -> Floats:
    """Logits of the fold's unseen rows, from a fit on `rows`; `sparse_weight` None leaves the embeddings out."""
    columns = fold.sparse if sparse_weight is None else np.hstack([fold.dense, fold.sparse * np.float32(sparse_weight)])
    weights, bias = _fit(columns[rows], task.targets[rows], len(task.labels), c)
    out: Floats = columns[fold.unseen] @ weights + bias
    return out


def _fit(rows: Floats, targets: NDArray[np.int64], classes: int, c: float) -> tuple[Floats, Floats]:
    """Weights (F, K) and bias (K,). One class, or no column, leaves nothing to fit but how common each label is."""
    present, counts = np.unique(targets, return_counts=True)
    if len(present) < 2 or not rows.shape[1]:
        bias = np.full(classes, NEVER, dtype=np.float32)
        bias[present] = np.log(counts / counts.sum())
        return np.zeros((rows.shape[1], classes), dtype=np.float32), bias
    model = LogisticRegression(C=c, max_iter=300, tol=1e-4)
    model.fit(rows, targets)
    coef, intercept = model.coef_, model.intercept_
    if len(present) == 2:  # scikit-learn keeps one row of weights for two classes
        coef, intercept = np.vstack([-coef / 2, coef / 2]), np.concatenate([-intercept / 2, intercept / 2])
    weights = np.zeros((rows.shape[1], classes), dtype=np.float32)
    bias = np.full(classes, NEVER, dtype=np.float32)
    weights[:, present], bias[present] = coef.T, intercept
    return weights, bias


def _final(task: Task, grams: Any, space: _Space, c: float, sparse_weight: float, temperature: float) -> LinearHead:
    dense = (task.dense - space.mean) / space.scale
    columns = np.hstack([dense, (grams @ space.directions) * np.float32(sparse_weight)])
    weights, bias = _fit(columns, task.targets, len(task.labels), c)
    width = task.dense.shape[1]
    # Centring, scaling and projection move into the weights: serving reads plain embeddings and plain n-grams.
    on_dense = weights[:width] / np.float32(space.scale)
    return LinearHead(
        labels=task.labels,
        dense=on_dense if width else None,
        sparse=(space.directions @ weights[width:] * np.float32(sparse_weight)).astype(np.float32),
        bias=(bias - space.mean @ on_dense).astype(np.float32),
        temperature=temperature,
    )
