"""Spans of a text that hold something, and which of overlapping ones stay. What they hold is the caller's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Span = tuple[int, int]
"""(start, end) in code points, end exclusive."""


@dataclass(frozen=True, kw_only=True)
class Found(Generic[T]):
    """`start` and `end` are code-point offsets, end exclusive."""

    start: int
    end: int
    value: T


def longest(found: Iterable[Found[T]], size: int) -> list[Found[T]]:
    """Of overlapping spans of a text of `size` characters the longest, the first of equals; in reading order."""
    taken = bytearray(size)
    kept = []
    for one in sorted(found, key=lambda each: each.start - each.end):
        if not any(taken[one.start : one.end]):
            taken[one.start : one.end] = b"\1" * (one.end - one.start)
            kept.append(one)
    return sorted(kept, key=lambda one: one.start)
