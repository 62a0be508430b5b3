"""A version's plots, drawn from its held-out predictions: calibration, confusions, coverage, out-of-scope scores.

What they mean is told in `report.py`. Invariant: the same predictions give the same bytes, and without matplotlib
there are no pictures and no error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats
from training.scores import reliability

CONFUSION_PNG = "confusion.png"
RELIABILITY_PNG = "reliability.png"
COVERAGE_PNG = "coverage.png"
SCOPE_PNG = "out_of_scope.png"
# More labels than this cannot be read in one picture: those that are confused most are shown.
SHOWN_INTENTS = 20
SCOPE_BINS = 40


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions for training rows that the fit behind them did not see.

    Attributes:
        targets, predicted: (N,), indices into `labels`.
        confidence: (N,), after the temperature.
        floor: (N,), what character n-grams alone predict for the same rows.
        majority: the label index that most training rows carry.
        texts, languages: (N,) each, for the slices; empty where they are not given.
        scope_scores: out-of-scope scores of held-out rows; `strange_scores` those of rows of an out-of-scope intent.
    """

    task: str
    labels: tuple[str, ...]
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: Floats
    floor: NDArray[np.int64]
    majority: int
    texts: tuple[str, ...] = ()
    languages: tuple[str | None, ...] = ()
    scope_scores: Floats | None = None
    strange_scores: Floats | None = None

    @property
    def right(self) -> NDArray[np.bool_]:
        right: NDArray[np.bool_] = self.predicted == self.targets
        return right


def confusion_matrix(task: HeldOut) -> NDArray[np.int64]:
    """(K, K): how often the label of the row was understood as that of the column."""
    matrix = np.zeros((len(task.labels), len(task.labels)), dtype=np.int64)
    np.add.at(matrix, (task.targets, task.predicted), 1)
    return matrix


def most_confused(task: HeldOut, most: int = SHOWN_INTENTS) -> NDArray[np.int64]:
    """The labels with most errors to their name, missed or invented, ascending."""
    matrix = confusion_matrix(task)
    errors = matrix - np.diag(np.diag(matrix))
    return np.sort(np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")[:most])


def draw(folder: Path, tasks: Sequence[HeldOut], threshold: float) -> tuple[str, ...]:
    """Write the pictures into the folder; returns their names, none where matplotlib is not installed."""
    try:
        # The canvas is drawn directly: pyplot would choose a display and keep figures alive.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ()
    intent = tasks[0]
    wide = (4.2 * len(tasks), 4.0)
    figures = {name: Figure(figsize=wide, layout="constrained") for name in (RELIABILITY_PNG, COVERAGE_PNG)}
    for name, plot in ((RELIABILITY_PNG, _reliability), (COVERAGE_PNG, _coverage)):
        for axes, task in zip(np.atleast_1d(figures[name].subplots(1, len(tasks))), tasks, strict=True):
            plot(axes, task)
    figures[CONFUSION_PNG] = Figure(figsize=(8, 7), layout="constrained")
    _confusion(figures[CONFUSION_PNG].subplots(), intent)
    if intent.scope_scores is not None:
        figures[SCOPE_PNG] = Figure(figsize=(7, 4), layout="constrained")
        _scope(figures[SCOPE_PNG].subplots(), intent, threshold)
    for name, figure in figures.items():
        # No version of the library in the file: the same model gives the same bytes.
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(str(folder / name), metadata={"Software": None})  # type: ignore[no-untyped-call]
    return tuple(figures)


def _confusion(axes: Any, task: HeldOut) -> None:
    shown = most_confused(task)
    matrix = confusion_matrix(task)[np.ix_(shown, shown)]
    names = [task.labels[k] for k in shown]
    axes.imshow(matrix, cmap="Blues")
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    dark = matrix.max(initial=1) / 2
    for row, column in zip(*np.nonzero(matrix), strict=True):
        times = int(matrix[row, column])
        colour = "white" if times > dark else "black"
        axes.text(column, row, str(times), ha="center", va="center", fontsize=6, color=colour)
    axes.set_xlabel("understood")
    axes.set_ylabel("meant")
    axes.set_title(f"the {len(shown)} intents confused most")


def _reliability(axes: Any, task: HeldOut) -> None:
    bins = reliability(task.confidence, task.right)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot([b[0] for b in bins], [b[1] for b in bins], marker="o")
    for mean, accuracy, n in bins:
        axes.annotate(str(n), (mean, accuracy), textcoords="offset points", xytext=(4, -8), fontsize=6)
    axes.set_title(f"{task.task}: is it as sure as it is right?")
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")


def _coverage(axes: Any, task: HeldOut) -> None:
    order = np.argsort(-task.confidence, kind="stable")
    answered = np.arange(1, len(order) + 1)
    axes.plot(answered / len(order), np.cumsum(task.right[order]) / answered)
    axes.set_title(f"{task.task}: answering only what is surest")
    axes.set_xlabel("share of messages answered")
    axes.set_ylabel("accuracy of the answers")
    axes.set_xlim(0, 1)


def _scope(axes: Any, task: HeldOut, threshold: float) -> None:
    scores = [("in scope", task.scope_scores), ("out of scope", task.strange_scores)]
    shown = [(name, found) for name, found in scores if found is not None and len(found)]
    every = np.concatenate([found for _, found in shown])
    bins = np.linspace(float(every.min()), float(every.max()) + 1e-6, SCOPE_BINS + 1)
    for name, found in shown:
        axes.hist(found, bins=bins, weights=np.full(len(found), 1 / len(found)), alpha=0.6, label=name)
    axes.axvline(threshold, color="black", linestyle="--", label="threshold")
    axes.set_xlabel("out-of-scope score")
    axes.set_ylabel("share of messages")
    axes.legend()
