"""How good a model is on labelled utterances that it has not seen. No decision here (`gate.py` decides).

Several runs of one recipe are `experiment.py`'s, entities `parts.py`'s. Invariant: figures come from predictions of
the version folder that serves, read in by the loader that serves it.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.base import Understanding
from models.heads import Floats
from models.pretrained import BaseModel
from models.understanding import TrainedUnderstander, load_understander
from training.dataset import DataError, UnderstandingData, Utterance, deduplicate
from training.finetune_understanding import Progress, Recipe, quiet, train_understanding
from training.readers import as_moods, read_utterances
from training.scores import (
    CoverageRow,
    calibration_error,
    calibration_error_by_chance,
    coverage_risk,
    macro_f1,
    out_of_scope_auroc,
    reliability,
    wilson_interval,
)
from training.slices import Gap, SliceScore, gaps, slice_scores

READ_CHUNK = 256
CONFUSIONS = 20
# A version always names intents; where only moods are measured, so many messages a mood stand in for intents.
STAND_IN = 5

Task = Literal["intent", "sentiment"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """One utterance with its right label and what a model said."""

    text: str
    label: str
    language: str | None
    predicted: str
    confidence: float
    out_of_scope_score: float
    is_out_of_scope: bool = False

    @property
    def is_right(self) -> bool:
        return self.predicted == self.label


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """One label's precision, recall and F1 over `n` utterances that carry it."""

    label: str
    precision: float
    recall: float
    f1: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures over one set of judged utterances.

    Attributes:
        n: texts; read by several models, each counts once.
        low, high: 95 % Wilson interval of the accuracy.
        ece: expected calibration error, 15 equal-width bins.
        ece_by_chance: what that error would be, by chance alone, if every confidence were exactly right.
        oos_auroc: chance that an out-of-scope text scores above an in-scope one; None where no such texts were given.
        rejected: share of the texts that the served threshold takes for out of scope.
        caught: share of the out-of-scope texts that it does.
        reliability: (mean confidence, accuracy, n) of each bin that holds any.
        confusions: (meant, understood, times), most frequent first.
    """

    n: int
    accuracy: float
    low: float
    high: float
    macro_f1: float
    ece: float
    ece_by_chance: float
    oos_auroc: float | None
    rejected: float
    caught: float | None
    by_label: tuple[ClassScore, ...]
    slices: tuple[SliceScore, ...]
    gaps: tuple[Gap, ...]
    coverage: tuple[CoverageRow, ...]
    reliability: tuple[tuple[float, float, int], ...]
    confusions: tuple[tuple[str, str, int], ...]


def judge(reader: TrainedUnderstander, utterances: Sequence[Utterance], task: Task = "intent") -> tuple[Judged, ...]:
    """Read every utterance with the model and keep its answer to the task beside the right label."""
    return judged_as(utterances, read_all(reader, utterances), task)


def judged_as(utterances: Sequence[Utterance], understood: Sequence[Understanding], task: Task) -> tuple[Judged, ...]:
    """What was read, beside the right labels of one task."""
    return tuple(judged(utterance, answer, task) for utterance, answer in zip(utterances, understood, strict=True))


def read_all(reader: TrainedUnderstander, utterances: Sequence[Utterance]) -> list[Understanding]:
    """Everything that the model reads in each utterance, in order, a few hundred at a time."""
    starts = range(0, len(utterances), READ_CHUNK)
    return [a for start in starts for a in reader.read([u.text for u in utterances[start : start + READ_CHUNK]])]


def judged(utterance: Utterance, answer: Understanding, task: Task) -> Judged:
    """One answer beside its right label."""
    is_intent = task == "intent"
    return Judged(
        text=utterance.text,
        label=utterance.label,
        language=utterance.language,
        predicted=answer.intent.name if is_intent else answer.sentiment,
        confidence=answer.intent.confidence if is_intent else answer.sentiment_confidence,
        out_of_scope_score=answer.out_of_scope_score,
        is_out_of_scope=answer.is_out_of_scope,
    )


def sum_up(judged: Sequence[Judged], out_of_scope: Sequence[Judged] = (), *, repeats: int = 1) -> Report:
    """Sum up judged utterances.

    Args:
        out_of_scope: texts that belong to no intent; their labels do not count.
        repeats: how often each text occurs, once for each model that read it; intervals count it once.
    """
    labels = sorted({j.label for j in judged} | {j.predicted for j in judged})
    index = {label: k for k, label in enumerate(labels)}
    targets = np.array([index[j.label] for j in judged], dtype=np.int64)
    predicted = np.array([index[j.predicted] for j in judged], dtype=np.int64)
    confidence = np.array([j.confidence for j in judged], dtype=np.float32)
    right = predicted == targets
    accuracy, n = float(right.mean()), len(judged) // repeats
    low, high = wilson_interval(accuracy, n)
    slices = slice_scores([(j.text, j.language, j.is_right) for j in judged], repeats)
    wrong = Counter((j.label, j.predicted) for j in judged if not j.is_right)
    return Report(
        n=n,
        accuracy=accuracy,
        low=low,
        high=high,
        macro_f1=macro_f1(predicted, targets),
        ece=calibration_error(confidence, right),
        ece_by_chance=calibration_error_by_chance(confidence, repeats=repeats),
        oos_auroc=out_of_scope_auroc(_scores(judged), _scores(out_of_scope)) if out_of_scope else None,
        rejected=_rejected(judged),
        caught=_rejected(out_of_scope) if out_of_scope else None,
        by_label=tuple(_class_score(label, predicted == k, targets == k) for label, k in index.items()),
        slices=slices,
        gaps=gaps(slices),
        coverage=coverage_risk(confidence, right),
        reliability=reliability(confidence, right),
        confusions=tuple((meant, said, times) for (meant, said), times in wrong.most_common(CONFUSIONS)),
    )


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one trained model said, and what it took.

    `train_s` is everything from labelled texts to a loadable version, export of a new base included; `predict_s`
    loads nothing.
    """

    judged: tuple[Judged, ...]
    out_of_scope: tuple[Judged, ...]
    n_train: int
    train_s: float
    predict_s: float


def measure(
    learned: Sequence[Utterance],
    held: Sequence[Utterance],
    strange: Sequence[Utterance],
    base: BaseModel,
    recipe: Recipe,
    task: Task = "intent",
    progress: Progress = quiet,
) -> Measured:
    """Train a version on `learned`, load it as a server would, and judge it on `held` and `strange`."""
    learned = deduplicate(learned)
    with tempfile.TemporaryDirectory(prefix="kefu-evaluate-") as folder:
        started = time.perf_counter()
        version = Path(folder) / "version"
        train_understanding(_data(learned, task), recipe, base, version, "evaluate", progress)
        train_s = time.perf_counter() - started
        reader = load_understander(version, recipe.threads)
        started = time.perf_counter()
        answers = judge(reader, held, task)
        predict_s = time.perf_counter() - started
        return Measured(
            judged=answers,
            out_of_scope=judge(reader, strange, task),
            n_train=len(learned),
            train_s=round(train_s, 2),
            predict_s=round(predict_s, 2),
        )


def evaluate_files(
    train: Path,
    test: Path,
    oos: Path | None,
    base: BaseModel,
    recipe: Recipe,
    seed: int,
    progress: Progress = quiet,
    task: Task = "intent",
) -> dict[str, float | int | None]:
    """Train on one file, test the served artifact on another: the flat figures of one run, for benches."""
    learned, held = read_labelled(train, task), read_labelled(test, task)
    strange = read_utterances(oos) if oos else ()
    check_labels(learned, held, test, train)
    measured = measure(learned, held, strange, base, replace(recipe, seed=seed), task, progress)
    report = sum_up(measured.judged, measured.out_of_scope)
    return {
        "accuracy": report.accuracy,
        "macro_f1": report.macro_f1,
        "ece": report.ece,
        "oos_auroc": report.oos_auroc,
        "n_train": measured.n_train,
        "n_test": len(held),
        "train_s": measured.train_s,
        "predict_s": measured.predict_s,
        "seed": seed,
    }


def read_labelled(path: Path, task: Task) -> tuple[Utterance, ...]:
    """The file's rows, moods under their names where moods are measured."""
    rows = read_utterances(path)
    return as_moods(rows) if task == "sentiment" else rows


def check_labels(learned: Sequence[Utterance], held: Sequence[Utterance], test: Path | str, train: Path | str) -> None:
    """Raise DataError where the test holds labels that training cannot know."""
    if overlap := {u.label for u in held} - {u.label for u in learned}:
        raise DataError(f"{test}: labels that {train} lacks: {', '.join(sorted(overlap)[:5])}; give --oos those rows")


def _data(learned: Sequence[Utterance], task: Task) -> UnderstandingData:
    if task == "intent":
        return UnderstandingData(intents=tuple(learned))
    seen: Counter[str] = Counter()
    stand_in = []
    for utterance in learned:
        seen[utterance.label] += 1
        if seen[utterance.label] <= STAND_IN:
            stand_in.append(utterance)
    return UnderstandingData(intents=tuple(stand_in), sentiment=tuple(learned), intents_stand_in=True)


def _scores(judged: Sequence[Judged]) -> Floats:
    return np.array([j.out_of_scope_score for j in judged], dtype=np.float32)


def _rejected(judged: Sequence[Judged]) -> float:
    return sum(j.is_out_of_scope for j in judged) / len(judged)


def _class_score(label: str, said: NDArray[np.bool_], meant: NDArray[np.bool_]) -> ClassScore:
    both = float(np.sum(said & meant))
    return ClassScore(
        label=label,
        precision=both / max(1, int(said.sum())),
        recall=both / max(1, int(meant.sum())),
        f1=2 * both / max(1, int(said.sum() + meant.sum())),
        n=int(meant.sum()),
    )
