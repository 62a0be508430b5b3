"""What a person reads about a version: its model card and its plots, written into the version folder.

Computes no figure of its own but sums. Invariant: a card is written without matplotlib too; then it has no pictures
and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from models.base import Manifest
from models.heads import Floats
from training.scores import macro_f1, reliability

CARD = "MODEL_CARD.md"
CONFUSION_PNG = "confusion.png"
RELIABILITY_PNG = "reliability.png"
# Past this many intents a picture's labels cannot be read; it then shows the intents that are confused most.
SHOWN_INTENTS = 30
CONFUSED_PAIRS = 10


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Predictions for training rows that the fit behind them did not see.

    Attributes:
        targets, predicted: (N,), indices into `labels`.
        confidence: (N,), after the temperature.
        floor: (N,), what character n-grams alone predict for the same rows.
        majority: the label index that most training rows carry.
    """

    task: str
    labels: tuple[str, ...]
    targets: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: Floats
    floor: NDArray[np.int64]
    majority: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the before/after table."""

    task: str
    model: str
    accuracy: float
    macro_f1: float


def before_after(tasks: Sequence[HeldOut], base: str) -> tuple[Line, ...]:
    """Always guessing the commonest label, n-grams alone, and this model, on the same held-out rows."""
    lines = []
    for task in tasks:
        guesses = np.full_like(task.targets, task.majority)
        for model, said in (("majority class", guesses), ("n-grams alone", task.floor), (base, task.predicted)):
            accuracy = float(np.mean(said == task.targets))
            lines.append(Line(task=task.task, model=model, accuracy=accuracy, macro_f1=macro_f1(said, task.targets)))
    return tuple(lines)


def before_after_table(manifest: Manifest) -> Table:
    """What `before_after` found when the version was trained, as a table for the terminal."""
    lines = [Line(**row) for row in cast("list[dict[str, Any]]", manifest.training["before_after"])]
    table = Table(title="Before and after, on held-out training messages", title_justify="left")
    for column in ("task", "model", "accuracy", "macro-F1"):
        table.add_column(column, justify="right" if column in ("accuracy", "macro-F1") else "left")
    for line in lines:
        table.add_row(line.task, line.model, f"{line.accuracy:.1%}", f"{line.macro_f1:.1%}")
    return table


def write_report(folder: Path, manifest: Manifest, tasks: Sequence[HeldOut], lines: Sequence[Line]) -> None:
    """Write `MODEL_CARD.md` and, where matplotlib is installed, its plots."""
    pictures = _plots(folder, tasks)
    (folder / CARD).write_text("\n".join(_card(manifest, tasks, lines, pictures)), encoding="utf-8")


def _card(manifest: Manifest, tasks: Sequence[HeldOut], lines: Sequence[Line], pictures: Sequence[str]) -> list[str]:
    intent = tasks[0]
    out = [
        f"# {manifest.assistant_id}: {manifest.kind} {manifest.version}",
        "",
        f"Trained {manifest.created_at} from {manifest.training['examples']} intent and "
        f"{manifest.training['sentiment_examples']} sentiment examples, base `{manifest.base}` "
        f"({manifest.base_source}), recipe `{manifest.recipe}`. Data SHA-256 `{manifest.data_sha256}`, "
        f"fingerprint `{manifest.fingerprint}`.",
        "",
        "It names the intent and the sentiment of customers' messages to this assistant, and says how far a message "
        "lies from what it was trained on. It has not been tested for anything else.",
        "",
        "## Before and after",
        "",
        f"On {len(intent.targets)} training messages, each predicted by a model that had not seen it. C, temperature "
        "and threshold were chosen on these messages too: expect a little less on new ones.",
        "",
        "| task | model | accuracy | macro-F1 |",
        "|---|---|---|---|",
        *(f"| {row.task} | {row.model} | {row.accuracy:.1%} | {row.macro_f1:.1%} |" for row in lines),
        "",
        "## Figures",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in manifest.metrics.items()),
        f"| temperature | {manifest.temperature:.3f} |",
        *(f"| threshold {name} | {value:.3f} |" for name, value in manifest.thresholds.items()),
        "",
        "## Confused most",
        "",
        "| meant | understood | times |",
        "|---|---|---|",
        *(f"| {meant} | {said} | {times} |" for meant, said, times in _confused(intent)),
        "",
        *(f"![{Path(name).stem}]({name})\n" for name in pictures),
    ]
    if not pictures:
        out += [
            "No plots: matplotlib was not installed when this version was trained (`pip install 'kefu[train]'`).",
            "",
        ]
    return out


def _confused(task: HeldOut) -> list[tuple[str, str, int]]:
    matrix = _matrix(task)
    np.fill_diagonal(matrix, 0)
    worst = np.argsort(-matrix, axis=None, kind="stable")[:CONFUSED_PAIRS]
    pairs = [divmod(int(cell), len(task.labels)) for cell in worst]
    return [(task.labels[m], task.labels[s], int(matrix[m, s])) for m, s in pairs if matrix[m, s]]


def _matrix(task: HeldOut) -> NDArray[np.int64]:
    matrix = np.zeros((len(task.labels), len(task.labels)), dtype=np.int64)
    np.add.at(matrix, (task.targets, task.predicted), 1)
    return matrix


def _plots(folder: Path, tasks: Sequence[HeldOut]) -> tuple[str, ...]:
    try:
        # The canvas is drawn directly: pyplot would choose a display and keep figures alive.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return ()
    confusion = Figure(figsize=(9, 8), layout="constrained")
    _draw_confusion(confusion.subplots(), tasks[0])
    curve = Figure(figsize=(4 * len(tasks), 4), layout="constrained")
    for axes, task in zip(np.atleast_1d(curve.subplots(1, len(tasks))), tasks, strict=True):
        _draw_reliability(axes, task)
    plain = {"Software": None}  # the same model gives the same bytes
    FigureCanvasAgg(confusion).print_png(str(folder / CONFUSION_PNG), metadata=plain)  # type: ignore[no-untyped-call]
    FigureCanvasAgg(curve).print_png(str(folder / RELIABILITY_PNG), metadata=plain)  # type: ignore[no-untyped-call]
    return (CONFUSION_PNG, RELIABILITY_PNG)


def _draw_confusion(axes: Any, task: HeldOut) -> None:
    matrix = _matrix(task)
    errors = matrix - np.diag(np.diag(matrix))
    shown = np.sort(np.argsort(-(errors.sum(axis=0) + errors.sum(axis=1)), kind="stable")[:SHOWN_INTENTS])
    names = [task.labels[k] for k in shown]
    axes.imshow(matrix[np.ix_(shown, shown)], cmap="Blues")
    axes.set_xticks(range(len(shown)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(shown)), names, fontsize=7)
    axes.set_xlabel("understood")
    axes.set_ylabel("meant")


def _draw_reliability(axes: Any, task: HeldOut) -> None:
    bins = reliability(task.confidence, task.predicted == task.targets)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.plot([b[0] for b in bins], [b[1] for b in bins], marker="o")
    axes.set_title(task.task)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
