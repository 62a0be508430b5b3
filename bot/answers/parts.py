"""A reply that is said while it is written: its parts, as values. Who writes them is `writer.py`.

Invariant: each part has passed its checks; the last one says what the reply is as a whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from bot.answers.compose import Answer


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is said next.

    Attributes:
        answer: its `text` is this part's own.
        joined_by: what stands between the part before and this one.
        whole: with the last part, the reply as it would be said at once.
    """

    answer: Answer
    joined_by: str = ""
    whole: Answer | None = None


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What follows the first part of a reply. Whoever has it closes `parts`, heard or not: so the writing ends.

    Attributes:
        instead: what is said where nobody can go on: the passage, quoted.
    """

    parts: AsyncGenerator[Part, None]
    instead: Answer

    async def whole(self) -> Answer:
        """The whole reply, once it is written; the passage alone where the writing failed."""
        return await whole_of(self.parts)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """What documents say to a message, as JSON: all of it, or its beginning and the `rest`."""

    known: Mapping[str, Any]
    rest: Rest | None = None


async def whole_of(parts: AsyncGenerator[Part, None]) -> Answer:
    """What the last of these parts says that the reply is."""
    whole = None
    async for part in parts:
        whole = part.whole
    assert whole is not None, "the last part says it"
    return whole
