"""When a part of a message counts as a wish of its own: learned from messages that are known to hold one.

Invariant: chosen on training messages alone; of those that can be cut, at most `SPLIT_WRONGLY` would be given a second
wish. The heads have seen the messages, though not the parts: on new ones the share may be higher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from models.base import OUT_OF_SCOPE_INTENTS
from models.clauses import Several, cut_all
from models.heads import Floats

SPLIT_WRONGLY = 0.05
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
# No probability reaches it: where no threshold keeps single wishes whole, none is torn apart.
NEVER = 1.1
# An intent that is read in so many parts of messages with another wish goes along with wishes, it is none.
COMPANION = 0.04
MOST_ROWS = 1500


def fit_several(
    texts: Sequence[str], targets: Sequence[int], labels: Sequence[str], read: Callable[[Sequence[str]], Floats]
) -> Several:
    """Threshold and companions.

    Args:
        texts, targets: the training messages, one intent each.
        read: texts → probabilities (N, K) of the model that will serve.
    """
    texts, targets = texts[:: -(-len(texts) // MOST_ROWS)], targets[:: -(-len(targets) // MOST_ROWS)]
    parts, places = cut_all(texts)
    outside = {k for k, label in enumerate(labels) if label in OUT_OF_SCOPE_INTENTS}
    if not parts:
        return Several(threshold=NEVER, companions=np.array(sorted(outside), dtype=np.int64))
    chances = read(parts)
    cut = [(target, chances[place.start : place.stop]) for target, place in zip(targets, places, strict=True) if place]
    seen: Counter[int] = Counter()
    for target, rows in cut:
        seen.update({int(row.argmax()) for row in rows if row.max() >= THRESHOLDS[0]} - {target})
    often = {intent for intent, count in seen.items() if count >= max(3, COMPANION * len(cut))}
    companions = np.array(sorted(often | outside), dtype=np.int64)
    for threshold in THRESHOLDS:
        several = Several(threshold=threshold, companions=companions)
        wrong = sum(bool(several.beside(target, rows)) for target, rows in cut)
        if wrong <= SPLIT_WRONGLY * len(cut):
            return several
    return Several(threshold=NEVER, companions=companions)
