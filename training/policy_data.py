"""What a learned dialogue policy learns from, as plain values: the states before each action of a story, and it.

Where stories come from is `bot.dialogue.learned`'s, how they are learned `finetune_policy`'s.
Invariant: nothing of an assistant's files is needed to read a lesson; equal lessons and settings, equal hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

Features = Mapping[str, float]
"""A state by the names of what it holds; what is not named is 0."""
MAX_STATES = 32
"""A policy looks back on no more, whatever `max_history` says: about ten turns, and the bound of a turn's cost."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One decision of a story.

    Attributes:
        states: before the action, oldest first, the present one last; never empty.
        story: lessons of one story are never on both sides of a split.
        is_glued: of an augmented conversation: stories glued end to start.
    """

    states: tuple[Features, ...]
    action: str
    story: str
    is_glued: bool = False


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """How a policy is trained; names and meaning of TEDPolicy's settings, defaults of our own.

    Attributes:
        max_history: states looked back on; None: as many as the longest story has, at most `MAX_STATES`.
        epochs: passes over the lessons, at most; training ends earlier where nothing is left to learn.
        constrain_similarities: each action's score also says by itself whether it fits, not only beside the others'.
    """

    max_history: int | None = None
    epochs: int = 100
    batch_size: int = 64
    learning_rate: float = 2e-3
    random_seed: int = 0
    constrain_similarities: bool = False


def data_hash(lessons: Sequence[Lesson], settings: PolicySettings) -> str:
    """SHA-256 of everything that decides what is learned."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for lesson in lessons:
        states = [sorted(state.items()) for state in lesson.states]
        line = [states, lesson.action, lesson.story, lesson.is_glued]
        digest.update(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()
