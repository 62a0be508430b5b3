"""Fit the response selectors: one head per retrieval intent, on the vectors and n-grams that the intent head reads.

Invariant: fitting them changes no other head; with no retrieval intent in the data there is nothing here to pay for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.heads import LinearHead
from models.ngrams import NgramVocabulary
from models.selection import intent_of
from training.dataset import Utterance, assign_folds
from training.fit import Search, Task, fit_head
from training.readings import Reading, label_indices


@dataclass(frozen=True, kw_only=True)
class Selector:
    """A fitted head; `held_out_accuracy` over `n` examples that their fit had not seen, None for a single response."""

    head: LinearHead
    n: int
    held_out_accuracy: float | None

    @property
    def intent(self) -> str:
        return intent_of(self.head.labels[0])


def fit_selectors(
    reading: Reading,
    vocabulary: NgramVocabulary,
    learn: Callable[[Sequence[str]], NgramVocabulary],
    search: Search,
    *,
    folds: int,
    seed: int,
) -> tuple[Selector, ...]:
    """One selector for each retrieval intent of the examples, by name.

    Args:
        reading: the intents' examples; those with a `response` are learned from.
        vocabulary, learn, search: as `fit_head` wants them.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, utterance in enumerate(reading.utterances):
        if utterance.response is not None:
            rows[utterance.label].append(row)
    return tuple(_fit(_task(reading, rows[intent], folds, seed), vocabulary, learn, search) for intent in sorted(rows))


def _task(reading: Reading, rows: Sequence[int], folds: int, seed: int) -> Task:
    utterances: list[Utterance] = [
        replace(reading.utterances[row], label=reading.utterances[row].response or "") for row in rows
    ]
    labels, targets = label_indices(utterances)
    # A tuned encoder has learned the intents and never saw which response fits: its vectors are as good as unseen here.
    return Task(
        texts=tuple(utterance.text for utterance in utterances),
        dense=reading.dense[list(rows)],
        targets=targets,
        labels=labels,
        folds=np.array(assign_folds(utterances, min(folds, len(utterances)), seed)),
    )


def _fit(
    task: Task,
    vocabulary: NgramVocabulary,
    learn: Callable[[Sequence[str]], NgramVocabulary],
    search: Search,
) -> Selector:
    if len(task.labels) == 1:
        return Selector(head=_certain(task, vocabulary), n=len(task.texts), held_out_accuracy=None)
    fitted = fit_head(task, vocabulary, learn, search, lambda done, total: None)
    is_right = fitted.logits.argmax(axis=1) == task.targets[fitted.held_out]
    return Selector(head=fitted.head, n=len(is_right), held_out_accuracy=float(np.mean(is_right)))


def _certain(task: Task, vocabulary: NgramVocabulary) -> LinearHead:
    """A head with one label, which is always right."""
    width = task.dense.shape[1]
    return LinearHead(
        labels=task.labels,
        dense=np.zeros((width, 1), dtype=np.float32) if width else None,
        sparse=np.zeros((len(vocabulary.grams), 1), dtype=np.float32),
        bias=np.zeros(1, dtype=np.float32),
        temperature=1.0,
    )
