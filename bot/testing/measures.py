"""Figures of right and predicted names, in the shape of Rasa's reports.

Invariant: precision, recall and F1 are of the names that were meant; what was only predicted costs its precision alone.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics  # type: ignore[import-untyped]
from sklearn.exceptions import UndefinedMetricWarning  # type: ignore[import-untyped]

Report = dict[str, Any]
# Of one name, so many others that it was taken for are told.
_CONFUSED = 3


def classification_report(targets: Sequence[str], predicted: Sequence[str], exclude: str | None = None) -> Report:
    """Name → precision, recall, f1-score, support; `micro avg`, `macro avg`, `weighted avg` and `accuracy` beside.

    Args:
        exclude: a name that stands for "nothing": it is no row, but counts in `accuracy`.
    Returns:
        Empty where nothing was meant.
    """
    labels = sorted({target for target in targets if target != exclude})
    if not labels:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # a name that was never predicted: 0, as in Rasa
        report: Report = metrics.classification_report(targets, predicted, labels=labels, output_dict=True)
    if "accuracy" in report:
        accuracy, support = report["accuracy"], report["macro avg"]["support"]
        report["micro avg"] = dict.fromkeys(("precision", "recall", "f1-score"), accuracy) | {"support": support}
    else:
        report["accuracy"] = float(metrics.accuracy_score(targets, predicted))
    return {name: _plain(row) for name, row in report.items()}


def _plain(row: Any) -> Any:
    """Without NumPy's numbers; a support is whole."""
    if not isinstance(row, Mapping):
        return float(row)
    return {key: int(value) if key == "support" else float(value) for key, value in row.items()}


def confusions(targets: Sequence[str], predicted: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """(K, K) how often the row's name was taken for the column's, and the K names, ascending."""
    labels = sorted({*targets, *predicted})
    index = {label: k for k, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for target, name in zip(targets, predicted, strict=True):
        matrix[index[target], index[name]] += 1
    return matrix, labels


def with_confusions(
    report: Report, matrix: NDArray[np.int64], labels: Sequence[str], exclude: str | None = None
) -> Report:
    """The report with `confused_with` in each name's row: what it was taken for most often, and how often."""
    told: Report = {name: dict(row) if isinstance(row, Mapping) else row for name, row in report.items()}
    for k, label in enumerate(labels):
        if label == exclude or label not in told:
            continue
        most = np.argsort(matrix[k])[-min(_CONFUSED, len(labels)) :][::-1]
        told[label]["confused_with"] = {
            labels[other]: int(matrix[k, other])
            for other in most
            if other != k and matrix[k, other] > 0 and labels[other] != exclude
        }
    return told


def write_json(path: Path, value: object) -> None:
    """Write it as Rasa's reports are written: two spaces, no escapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str), encoding="utf-8")
