"""The pictures of `kefu test`: what was taken for what, and how sure the model was where it was right and wrong.

Invariant: without matplotlib (kefu[train]) nothing is drawn and nothing fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 25
# Beyond these, names cannot be read; the picture grows with the names up to here.
LARGEST_INCHES = 40.0


def draw_confusions(path: Path, matrix: NDArray[np.int64], labels: Sequence[str], title: str) -> bool:
    """Draw a (K, K) matrix with its K names; whether it was drawn."""
    size = min(LARGEST_INCHES, max(5.0, 0.35 * len(labels) + 3.0))
    figure = _figure(size, size)
    if figure is None:
        return False
    axes = figure.subplots()
    # Roots instead of counts: one confusion beside a thousand right answers must be seen.
    axes.imshow(np.sqrt(matrix), cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    dark = np.sqrt(matrix.max(initial=1)) / 2
    for row, column in zip(*np.nonzero(matrix), strict=True):
        n = int(matrix[row, column])
        colour = "white" if np.sqrt(n) > dark else "black"
        axes.text(column, row, str(n), ha="center", va="center", color=colour, fontsize=7)
    axes.set_title(title)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _save(figure, path)


def draw_confidences(path: Path, right: Sequence[float], wrong: Sequence[float], title: str) -> bool:
    """Draw how sure the model was, of right answers to the left, of wrong ones to the right; whether it was drawn."""
    figure = _figure(8.0, 6.0)
    if figure is None or not (right or wrong):
        return False
    bins = np.linspace(0.0, 1.0, BINS + 1)
    left, other = figure.subplots(1, 2, sharey=True)
    for axes, values, name, colour in ((left, right, "correct", "#009292"), (other, wrong, "wrong", "#920000")):
        axes.hist(np.clip(values, 0.0, 1.0), bins=bins, orientation="horizontal", color=colour)
        axes.set_title(f"{name} ({len(values)})")
        axes.set_xlabel("messages")
    left.invert_xaxis()
    left.set_ylabel("confidence")
    figure.suptitle(title)
    return _save(figure, path)


def _figure(width: float, height: float) -> Any | None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path) -> bool:
    # The canvas is drawn directly: pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path), metadata={"Software": None})  # type: ignore[no-untyped-call]
    return True
