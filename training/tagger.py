"""Fit the entity tagger: annotated spans → tags of tokens → a linear model over token vectors.

What a tag means and how tags are read is `models/tagging.py`'s. Invariant: entities that a pattern of the assistant
finds already are not learned again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

from models.heads import Floats
from models.tagging import OUTSIDE, Tagger, TagName, in_context, tags_of
from models.tokens import Tokens
from training.dataset import EntityValue, Utterance

# Fewer annotated_spans than this teach nothing that a lookup would not know.
FEW = 8
# Rows of tokens that the fit sees: all that carry an entity, and of the others as many as fit.
MOST_TOKENS = 30_000
# Freer weights find more by themselves, and beside patterns and lookups only add what is wrong: on a fifth of the
# starter's training messages (frozen encoder, en / zh) F1 of all together .87 / .85 with 1, .86 / .84 with 10.
C = 1.0
MOST_STEPS = 200


def annotated_spans(utterance: Utterance, learned: frozenset[str]) -> list[tuple[str, int, int]]:
    """(tag name, start, end) of the utterance's annotated_spans of entities in `learned`."""
    out = []
    for value in utterance.entities:
        start = value.start if value.start is not None else utterance.text.find(value.text)
        if value.entity in learned and start >= 0:
            out.append((_tag(value), start, start + len(value.text)))
    return out


def learnable(utterances: Sequence[Utterance], patterns: Sequence[str]) -> frozenset[str]:
    """Entities with annotated_spans enough to learn from and without a pattern."""
    counts = Counter(value.entity for utterance in utterances for value in utterance.entities)
    return frozenset(name for name, count in counts.items() if count >= FEW and name not in patterns)


def tag_labels(utterances: Sequence[Utterance], learned: frozenset[str]) -> tuple[str, ...]:
    """ "O" and every entity's two tags, in a fixed order."""
    names = sorted({name for utterance in utterances for name, _, _ in annotated_spans(utterance, learned)})
    return (OUTSIDE, *(f"{side}-{name}" for name in names for side in "BI"))


def tag_targets(
    utterances: Sequence[Utterance], tokens: Sequence[Tokens], learned: frozenset[str], labels: Sequence[str]
) -> list[NDArray[np.int64]]:
    """N arrays (T,) of indices into `labels`; -1 for tokens that stand for no text."""
    index = {label: k for k, label in enumerate(labels)}
    out = []
    for utterance, read in zip(utterances, tokens, strict=True):
        tags = tags_of(read.spans, annotated_spans(utterance, learned))
        out.append(
            np.array(
                [index[tag] if span[0] < span[1] else -1 for tag, span in zip(tags, read.spans, strict=True)],
                dtype=np.int64,
            )
        )
    return out


def fit_tagger(
    hidden: Sequence[Floats], targets: Sequence[NDArray[np.int64]], labels: tuple[str, ...], seed: int
) -> Tagger:
    """A multinomial logistic regression over token vectors in their context.

    Args:
        hidden: N arrays (T, D).
        targets: N arrays (T,), as from `tag_targets`.
    """
    tags = np.concatenate(targets)
    counted = np.flatnonzero(tags >= 0)
    kept = counted[_thinned(tags[counted], seed)]
    # Thinned before the vectors are put together: three of them for each token of a large project fill the memory.
    ends = np.cumsum([len(one) for one in targets])
    shares = np.split(kept, np.searchsorted(kept, ends[:-1]))
    starts = ends - [len(one) for one in targets]
    rows = np.concatenate([in_context(one)[k - s] for one, k, s in zip(hidden, shares, starts, strict=True)])
    tags = tags[kept]
    mean = rows.mean(axis=0)
    scale = float(np.sqrt(((rows - mean) ** 2).sum(axis=1).mean())) or 1.0
    model = LogisticRegression(C=C, max_iter=MOST_STEPS, tol=1e-3)
    model.fit((rows - mean) / scale, tags)
    weights = np.zeros((rows.shape[1], len(labels)), dtype=np.float32)
    bias = np.full(len(labels), -30.0, dtype=np.float32)
    coef, intercept = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row of weights for two classes
        coef, intercept = np.vstack([-coef / 2, coef / 2]), np.concatenate([-intercept / 2, intercept / 2])
    weights[:, model.classes_] = coef.T / scale
    bias[model.classes_] = intercept - mean @ (coef.T / scale)
    return Tagger(labels=labels, weights=weights, bias=bias)


def _thinned(tags: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    inside, outside = np.flatnonzero(tags > 0), np.flatnonzero(tags == 0)
    room = max(len(inside), MOST_TOKENS - len(inside))
    if len(outside) > room:
        outside = np.random.default_rng(seed).choice(outside, room, replace=False)
    return np.sort(np.concatenate([inside, outside]))


def _tag(value: EntityValue) -> str:
    return str(TagName(entity=value.entity, role=value.role, group=value.group))
