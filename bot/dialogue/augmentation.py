"""Stories glued end to start: what a learned policy sees beside the stories themselves, and no other policy does.

A customer who has been through one story often begins another; the slots of the first are still set then.
Invariant: same conversations and same `rng`, same result; what is glued is as valid a fold as its parts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from bot.dialogue.events import ACTION_LISTEN, ActionExecuted
from bot.dialogue.training import TrainingConversation

FACTOR = 50
"""As Rasa's default: this many conversations are continued in each round, and ten times as many are kept in all."""
ROUNDS = 3
_Item = TypeVar("_Item")


def glue_stories(
    conversations: Sequence[TrainingConversation],
    rng: random.Random,
    *,
    factor: int = FACTOR,
    rounds: int = ROUNDS,
) -> list[TrainingConversation]:
    """At most `10 * factor` longer conversations, of up to `rounds + 1` stories each; none of one story alone."""
    kept = 10 * factor
    ends = [conversation for conversation in conversations if _is_finished(conversation)]
    glued: list[TrainingConversation] = []
    for _ in range(rounds if ends else 0):
        firsts = _sample(ends, factor, rng)
        pairs = [(first, second) for first in range(len(firsts)) for second in range(len(conversations))]
        fresh = [_glue(firsts[first], conversations[second]) for first, second in _sample(pairs, kept, rng)]
        glued += fresh
        ends += [conversation for conversation in fresh if _is_finished(conversation)]
    return _sample(glued, kept, rng)


def _is_finished(conversation: TrainingConversation) -> bool:
    """Whether the story ends with the bot listening, and not at a checkpoint where nothing starts."""
    last = conversation.events[-1] if conversation.events else None
    return isinstance(last, ActionExecuted) and last.name == ACTION_LISTEN


def _glue(first: TrainingConversation, second: TrainingConversation) -> TrainingConversation:
    # The second story begins by listening, so the first one's last listen goes.
    before = first.events[:-1]
    return TrainingConversation(
        name=f"{first.name} > {second.name}",
        is_rule=False,
        events=(*before, *second.events),
        unpredictable=first.unpredictable | {index + len(before) for index in second.unpredictable},
        where=first.where,
    )


def _sample(items: Sequence[_Item], count: int, rng: random.Random) -> list[_Item]:
    """All of them in their order, or `count` drawn without repetition."""
    return list(items) if len(items) <= count else rng.sample(list(items), count)
