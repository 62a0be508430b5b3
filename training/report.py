"""What a person reads about a version: its model card, written into the version folder with its pictures.

Computes no figure of its own but sums; drawing is `pictures.py`'s. Invariant: a card is written without matplotlib
too; then it has no pictures and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.table import Table

from models.base import Manifest
from models.pretrained import NGRAM, licences
from models.understanding import OUT_OF_SCOPE
from training.pictures import HeldOut, confusion_matrix, draw
from training.scores import coverage_risk, macro_f1, wilson_interval
from training.slices import gaps, slice_scores

__all__ = ["CARD", "HeldOut", "Line", "before_after", "before_after_table", "write_report"]

CARD = "MODEL_CARD.md"
CONFUSED_PAIRS = 10
MEANING = {
    "confusion": "Rows: what was meant; columns: what was understood.",
    "reliability": "On the grey line a message read with 80 % confidence is right in 80 % of the cases; the numbers "
    "are messages.",
    "coverage": "How right the answers are if the bot answers only the messages that it is surest of.",
    "out_of_scope": "Right of the dashed line a message counts as out of scope.",
}


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
    pictures = draw(folder, tasks, manifest.thresholds[OUT_OF_SCOPE])
    sections = (
        _made_from(manifest),
        _use(manifest),
        _figures(manifest, tasks, lines),
        _slices(tasks),
        _coverage(tasks),
        _confusions(tasks[0]),
        _shown(pictures),
    )
    text = "\n".join(line for section in sections for line in (*section, ""))
    (folder / CARD).write_text(text, encoding="utf-8")


def _made_from(manifest: Manifest) -> Iterator[str]:
    training = manifest.training
    yield f"# {manifest.assistant_id}: {manifest.kind} {manifest.version}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| trained | {manifest.created_at}, {float(str(training['seconds'])):.0f} s |"
    yield f"| base | `{manifest.base}` ({manifest.base_source}), recipe `{manifest.recipe}` |"
    yield f"| licence | {_licence(manifest)} |"
    yield (
        f"| data | {training['examples']} messages of {len(manifest.intents)} intents and "
        f"{training['sentiment_examples']} with a mood, in {', '.join(manifest.languages) or 'no stated language'} |"
    )
    yield f"| data SHA-256 | `{manifest.data_sha256}` |"
    yield f"| fingerprint | `{manifest.fingerprint}` |"


def _licence(manifest: Manifest) -> str:
    if manifest.base_source == NGRAM:
        return "no pretrained weights: the data's own alone"
    found = next((one for one in licences() if one.name == manifest.base), None)
    if found is None:
        return f"the base's own; read it where `{manifest.base}` comes from. The data's beside it"
    return f"{found.weights} (weights of {found.origin}), and the data's own beside it"


def _use(manifest: Manifest) -> Iterator[str]:
    languages = " and ".join(manifest.languages) or "its examples' language"
    yield "## What it is for"
    yield ""
    yield (
        "It names the intent, the mood and the entities of customers' messages to this one assistant, and says how far "
        "a message lies from what it was trained on. It has not been tested for anything else: not to judge people, "
        "not for other assistants, not to decide what a customer is entitled to."
    )
    yield ""
    yield "## Limits"
    yield ""
    yield f"- It has learned from messages in {languages}; of others it knows what its base does."
    yield "- Messages unlike the examples (dialect, slang, great length) are understood less well; see the slices."
    yield "- A message that resembles the examples but wants something else is the hardest: the threshold lets some by."
    yield "- Irony is often read by its words."


def _figures(manifest: Manifest, tasks: Sequence[HeldOut], lines: Sequence[Line]) -> Iterator[str]:
    yield "## Figures"
    yield ""
    yield (
        f"On {len(tasks[0].targets)} training messages, each predicted by a model that had not seen it. Settings, "
        "temperature and threshold were chosen on these messages too: expect a little less on new ones. "
        "`kefu evaluate` measures on the assistant's own tests."
    )
    yield ""
    yield "| task | model | n | accuracy | 95 % interval | macro-F1 |"
    yield "|---|---|---|---|---|---|"
    counts = {task.task: len(task.targets) for task in tasks}
    for row in lines:
        n = counts[row.task]
        low, high = wilson_interval(row.accuracy, n)
        yield (f"| {row.task} | {row.model} | {n} | {row.accuracy:.1%} | {low:.1%} – {high:.1%} | {row.macro_f1:.1%} |")
    yield ""
    yield "| figure | value |"
    yield "|---|---|"
    yield from (f"| {name} | {value:.4f} |" for name, value in manifest.metrics.items())
    yield f"| temperature | {manifest.temperature:.3f} |"
    yield from (f"| threshold {name} | {value:.3f} |" for name, value in manifest.thresholds.items())


def _slices(tasks: Sequence[HeldOut]) -> Iterator[str]:
    told = [task for task in tasks if task.texts]
    if not told:
        return
    yield "## For whom"
    yield ""
    yield "| task | by | slice | n | accuracy | 95 % interval |"
    yield "|---|---|---|---|---|---|"
    widest = []
    for task in told:
        languages = task.languages or (None,) * len(task.texts)
        rows = list(zip(task.texts, languages, task.right.tolist(), strict=True))
        scores = slice_scores(rows)
        for one in scores:
            interval = f"{one.low:.1%} – {one.high:.1%}"
            yield f"| {task.task} | {one.dimension} | {one.name} | {one.n} | {one.accuracy:.1%} | {interval} |"
        widest += [
            f"- {task.task}, by {gap.dimension}: {gap.best} is {100 * gap.difference:.1f} points above {gap.worst}"
            for gap in gaps(scores)
        ]
    yield ""
    yield from widest


def _coverage(tasks: Sequence[HeldOut]) -> Iterator[str]:
    yield "## Answering only what is surest"
    yield ""
    yield "| task | answered | n | from confidence | accuracy |"
    yield "|---|---|---|---|---|"
    for task in tasks:
        for row in coverage_risk(task.confidence, task.right):
            share = f"{row.coverage:.0%} | {row.n} | {row.threshold:.3f} | {row.accuracy:.1%}"
            yield f"| {task.task} | {share} |"


def _confusions(task: HeldOut) -> Iterator[str]:
    matrix = confusion_matrix(task)
    np.fill_diagonal(matrix, 0)
    worst = np.argsort(-matrix, axis=None, kind="stable")[:CONFUSED_PAIRS]
    yield "## Confused most"
    yield ""
    yield "| meant | understood | times |"
    yield "|---|---|---|"
    for cell in worst.tolist():
        meant, said = divmod(cell, len(task.labels))
        if matrix[meant, said]:
            yield f"| {task.labels[meant]} | {task.labels[said]} | {matrix[meant, said]} |"


def _shown(pictures: Sequence[str]) -> Iterator[str]:
    if not pictures:
        yield "No plots: matplotlib was not installed when this version was trained (`pip install 'kefu[train]'`)."
        return
    yield "## Pictures"
    for name in pictures:
        yield ""
        yield f"![{Path(name).stem}]({name})"
        yield ""
        yield MEANING[Path(name).stem]
