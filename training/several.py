"""When a part of a message counts as a wish of its own: learned from messages that are known to hold one.

Invariant: chosen on training messages alone; of those that can be cut, at most `SPLIT_WRONGLY` would be given a second
wish. The heads have seen the messages, though not the parts: on new ones the share may be higher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from models.base import OUT_OF_SCOPE_INTENTS
from models.clauses import PartsReader, Several, clauses
from models.heads import Features

SPLIT_WRONGLY = 0.05
# Close to 1 too: a tuned model is sure of most parts.
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 0.9999)
# No probability reaches it: where no threshold keeps single wishes whole, none is torn apart.
NEVER = 1.1
# An intent that is read in so many parts of messages with another wish goes along with wishes, it is none.
COMPANION = 0.04
MOST_ROWS = 1500


def fit_several(texts: Sequence[str], targets: Sequence[int], reader: PartsReader) -> Several:
    """Threshold and companions.

    Args:
        texts, targets: the training messages, one intent each.
        reader: of the model that will serve.
    """
    texts, targets = texts[:: -(-len(texts) // MOST_ROWS)], targets[:: -(-len(targets) // MOST_ROWS)]
    outside = {k for k, label in enumerate(reader.head.labels) if label in OUT_OF_SCOPE_INTENTS}
    cut_texts = [(text, target, found) for text, target in zip(texts, targets, strict=True) if (found := clauses(text))]
    if not cut_texts:
        return Several(threshold=NEVER, companions=np.array(sorted(outside), dtype=np.int64))
    features = _features([text for text, _, _ in cut_texts], reader)
    read = iter(reader.read([text[start:end] for text, _, found in cut_texts for start, end in found]))
    cut = [(target, np.stack([next(read) for _ in found])) for _, target, found in cut_texts]
    seen: Counter[int] = Counter()
    for target, rows in cut:
        seen.update({int(row.argmax()) for row in rows if row.max() >= THRESHOLDS[0]} - {target})
    often = {intent for intent, count in seen.items() if count >= max(3, COMPANION * len(cut))}
    companions = np.array(sorted(often | outside), dtype=np.int64)
    hints = Several(threshold=NEVER, companions=companions)
    glances = reader.glances(features, {row: found for row, (_, _, found) in enumerate(cut_texts)})
    is_hinted = [hints.is_worth_reading(target, glances[row]) for row, (_, target, _) in enumerate(cut_texts)]
    for threshold in THRESHOLDS:
        several = Several(threshold=threshold, companions=companions)
        wrong = sum(is_hinted[at] and bool(several.beside(target, rows)) for at, (target, rows) in enumerate(cut))
        if wrong <= SPLIT_WRONGLY * len(cut):
            return several
    return Several(threshold=NEVER, companions=companions)


def _features(texts: Sequence[str], reader: PartsReader) -> Features:
    if reader.encoder is None:
        return Features(dense=None, sparse=(), texts=texts)
    tokens = reader.encoder.tokens(texts)
    read = reader.encoder.run(tokens, with_hidden=True)
    return Features(dense=read.vectors, sparse=(), texts=texts, tokens=tokens, hidden=read.hidden)
