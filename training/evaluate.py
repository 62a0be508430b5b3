"""How good a model is on labelled utterances that it has not seen. No decision here (`gate.py` decides).

Invariant: figures come from predictions of the version folder that serves, read in by the loader that serves it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.heads import Floats
from models.pretrained import BaseModel
from models.understanding import TrainedUnderstander, load_understander
from training.dataset import DataError, UnderstandingData, Utterance, deduplicate
from training.finetune_understanding import Progress, Recipe, quiet, train_understanding
from training.readers import read_utterances
from training.scores import calibration_error, macro_f1, out_of_scope_auroc, reliability

READ_CHUNK = 256

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
class IntentReport:
    """Figures over one set of judged utterances.

    Attributes:
        ece: expected calibration error, 15 equal-width bins.
        oos_auroc: chance that an out-of-scope text scores above an in-scope one; None where no such texts were given.
        by_language: language → (accuracy, n).
        reliability: (mean confidence, accuracy, n) of each bin that holds any.
    """

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    oos_auroc: float | None
    by_intent: tuple[ClassScore, ...]
    by_language: dict[str, tuple[float, int]]
    reliability: tuple[tuple[float, float, int], ...]


def judge(reader: TrainedUnderstander, utterances: Sequence[Utterance], task: Task = "intent") -> tuple[Judged, ...]:
    """Read every utterance with the model and keep its answer to the task beside the right label."""
    out = []
    for start in range(0, len(utterances), READ_CHUNK):
        chunk = utterances[start : start + READ_CHUNK]
        for utterance, answer in zip(chunk, reader.read([u.text for u in chunk]), strict=True):
            is_intent = task == "intent"
            out.append(
                Judged(
                    text=utterance.text,
                    label=utterance.label,
                    language=utterance.language,
                    predicted=answer.intent.name if is_intent else answer.sentiment,
                    confidence=answer.intent.confidence if is_intent else answer.sentiment_confidence,
                    out_of_scope_score=answer.out_of_scope_score,
                )
            )
    return tuple(out)


def evaluate_intents(judged: Sequence[Judged], out_of_scope: Sequence[Judged] = ()) -> IntentReport:
    """Sum up judged utterances; `out_of_scope` holds texts that belong to no intent, their labels do not count."""
    labels = sorted({j.label for j in judged} | {j.predicted for j in judged})
    index = {label: k for k, label in enumerate(labels)}
    targets = np.array([index[j.label] for j in judged], dtype=np.int64)
    predicted = np.array([index[j.predicted] for j in judged], dtype=np.int64)
    confidence = np.array([j.confidence for j in judged], dtype=np.float32)
    right = predicted == targets
    return IntentReport(
        n=len(judged),
        accuracy=float(right.mean()),
        macro_f1=macro_f1(predicted, targets),
        ece=calibration_error(confidence, right),
        oos_auroc=out_of_scope_auroc(_scores(judged), _scores(out_of_scope)) if out_of_scope else None,
        by_intent=tuple(_class_score(label, predicted == k, targets == k) for label, k in index.items()),
        by_language=_by_language(judged),
        reliability=reliability(confidence, right),
    )


def evaluate_files(
    train: Path,
    test: Path,
    oos: Path | None,
    base: BaseModel,
    recipe: Recipe,
    seed: int,
    progress: Progress = quiet,
) -> dict[str, float | int | None]:
    """Train on one file, test the served artifact on another: what `kefu evaluate --task intent` writes.

    `train_s` is everything from labelled texts to a loadable version, export of a new base included; `predict_s`
    loads nothing.
    """
    learned, held = deduplicate(read_utterances(train)), read_utterances(test)
    strange = read_utterances(oos) if oos else ()
    if overlap := {u.label for u in held} - {u.label for u in learned}:
        raise DataError(
            f"{test}: intents that {train} lacks: {', '.join(sorted(overlap)[:5])}; give --oos a file for those"
        )
    with tempfile.TemporaryDirectory(prefix="kefu-evaluate-") as folder:
        started = time.perf_counter()
        data = UnderstandingData(intents=learned)
        train_understanding(data, replace(recipe, seed=seed), base, Path(folder) / "version", "evaluate", progress)
        train_s = time.perf_counter() - started
        reader = load_understander(Path(folder) / "version", recipe.threads)
        started = time.perf_counter()
        judged = judge(reader, held)
        predict_s = time.perf_counter() - started
        report = evaluate_intents(judged, judge(reader, strange))
    return {
        "accuracy": report.accuracy,
        "macro_f1": report.macro_f1,
        "ece": report.ece,
        "oos_auroc": report.oos_auroc,
        "n_train": len(learned),
        "n_test": len(held),
        "train_s": round(train_s, 2),
        "predict_s": round(predict_s, 2),
        "seed": seed,
    }


def _scores(judged: Sequence[Judged]) -> Floats:
    return np.array([j.out_of_scope_score for j in judged], dtype=np.float32)


def _class_score(label: str, said: NDArray[np.bool_], meant: NDArray[np.bool_]) -> ClassScore:
    both = float(np.sum(said & meant))
    return ClassScore(
        label=label,
        precision=both / max(1, int(said.sum())),
        recall=both / max(1, int(meant.sum())),
        f1=2 * both / max(1, int(said.sum() + meant.sum())),
        n=int(meant.sum()),
    )


def _by_language(judged: Sequence[Judged]) -> dict[str, tuple[float, int]]:
    out = {}
    for language in sorted({j.language for j in judged if j.language}):
        right = [j.is_right for j in judged if j.language == language]
        out[language] = (sum(right) / len(right), len(right))
    return out
