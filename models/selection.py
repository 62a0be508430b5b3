"""Which response of a retrieval intent fits: one small head per intent, beside the others in the same file.

Fitting them is `training/selection.py`'s. Invariant: a head's labels are full names (`faq/ask_hours`) of one intent.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from models.heads import LinearHead, head_from

_TASK = "selector"


def by_task(heads: Iterable[LinearHead]) -> dict[str, LinearHead]:
    """The heads under the names that `selectors_from` finds them by; numbers, since an intent may have any name."""
    return {f"{_TASK}{number}": head for number, head in enumerate(heads)}


def selectors_from(arrays: dict[str, NDArray[Any]]) -> dict[str, LinearHead]:
    """Retrieval intent → the head over its responses; empty where the version was trained without any."""
    heads: dict[str, LinearHead] = {}
    while (head := head_from(arrays, f"{_TASK}{len(heads)}")) is not None:
        heads[intent_of(head.labels[0])] = head
    return heads


def intent_of(response: str) -> str:
    """`faq` of `faq/ask_hours`."""
    return response.partition("/")[0]
