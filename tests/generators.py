"""A generator that says what it is told, and a judge that finds what it is told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.generation import GenerationFailed, Message, Usage


@dataclass
class Scripted:
    """A generator that says these pieces, then fails where it is told to."""

    pieces: Sequence[str]
    failure: str | None = None
    asked: list[list[Message]] = field(default_factory=list)
    heard: int = 0
    name: str = "scripted/1"
    usage: Usage = field(default_factory=Usage)

    async def stream(
        self, messages: Sequence[Message], *, max_tokens: int, deadline_s: float
    ) -> AsyncGenerator[str, None]:
        self.asked.append(list(messages))
        for piece in self.pieces:
            self.heard += 1
            yield piece
        if self.failure:
            raise GenerationFailed(self.failure)

    async def close(self) -> None:
        return


@dataclass
class Judge:
    """Finds all sentences supported but those that hold one of these words."""

    against: tuple[str, ...] = ()

    def score(self, task: str, pairs: Sequence[tuple[str, str]]) -> Any:
        assert task == "supports"
        return np.array([-9.0 if any(word in text for word in self.against) else 9.0 for text, _ in pairs])
