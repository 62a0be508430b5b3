"""Test conversations, played in memory: an assistant, a model, no database, no channel.

What must happen at each step stands in the assistant's `tests/conversations.yml`; whether a failure keeps a model from
serving is decided in `bot.learning`. Invariant: actions and slots are compared, never wording; nobody but the
assistant's own actions hears of the conversation, so that the domain words every response.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.assistant.loader import TestConversation, TestStep
from bot.dialogue.events import ActionExecuted
from bot.dialogue.manager import Turn, turn
from bot.dialogue.tracker import Tracker
from bot.settings import scratch_home
from bot.turns import Bot, Reading, drive, read_message, user_message
from bot.worker import WorkerLimits
from models.base import Understander

Progress = Callable[[str, int, int], None]

# They frame every turn alike; a test that listed them would test nothing.
UNNAMED_ACTIONS = frozenset({"action_listen", "action_session_start", "action_extract_slots"})
# Custom actions can tell a rehearsal from a customer by it.
SENDER_PREFIX = "rehearsal:"


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """The first step of a conversation that went another way.

    Attributes:
        step: counted from 1.
        read_as: intent and confidence the model gave, for people.
        slots: of the slots that differ, name → (expected, found).
    """

    step: int
    expected: TestStep
    read_as: str
    actions: tuple[str, ...]
    slots: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class ConversationResult:
    """How one test conversation went; `mismatch` is None when it went as written."""

    name: str
    language: str | None
    mismatch: Mismatch | None

    @property
    def passed(self) -> bool:
        return self.mismatch is None

    def diff(self) -> str:
        """What was expected and what happened instead, with the place in the file; empty when it passed."""
        if self.mismatch is None:
            return ""
        found, step = self.mismatch, self.mismatch.expected
        lines = [
            f"{step.where}: {self.name}, step {found.step}",
            f"  customer  {step.user}",
            f"  read as   {found.read_as}",
        ]
        if found.actions != step.actions:
            lines.append(f"  expected  {', '.join(step.actions) or '(nothing)'}")
            lines.append(f"  got       {', '.join(found.actions) or '(nothing)'}")
        lines += [
            f"  slot      {name}: expected {wanted!r}, got {got!r}" for name, (wanted, got) in found.slots.items()
        ]
        return "\n".join(lines)


async def play_conversations(
    bot: Bot,
    understander: Understander,
    conversations: Sequence[TestConversation],
    progress: Progress = lambda step, done, total: None,
) -> list[ConversationResult]:
    """Play each conversation from its start, with the assistant's real custom actions; one result each, in order.

    A conversation ends at its first mismatch: what follows would only repeat it. KEFU_HOME is an empty folder
    meanwhile, so that actions which remember things there mix with no customer's; not for a process that serves.

    Raises:
        ModelUnavailable: the model gave no answer.
    """
    results = []
    for done, conversation in enumerate(conversations):
        progress("conversations", done, len(conversations))
        with scratch_home():
            results.append(await _play(bot, understander, conversation))
    progress("conversations", len(conversations), len(conversations))
    return results


async def _play(bot: Bot, understander: Understander, conversation: TestConversation) -> ConversationResult:
    # A fresh sender each time: custom actions may remember senders, and one rehearsal must not change the next.
    sender_id = f"{SENDER_PREFIX}{secrets.token_hex(8)}"
    tracker = Tracker.empty(bot.assistant.domain, sender_id)
    mismatch = None
    for number, step in enumerate(conversation.steps, start=1):
        reading = await read_message(step.user, bot, understander)
        message = user_message(step.user, reading, input_channel="rehearsal", message_id=f"{number}", metadata={})
        # Seeded by place, so that champion and challenger draw the same variations.
        rng = random.Random(f"{conversation.name}:{number}")
        steps = turn(tracker, message, bot.dialogue, time.time(), rng)
        outcome = await drive(steps, bot.actions, WorkerLimits.action_deadline_s)
        tracker = outcome.tracker
        if mismatch := _compare(number, step, reading, outcome):
            break
    return ConversationResult(name=conversation.name, language=conversation.language, mismatch=mismatch)


def _compare(number: int, step: TestStep, reading: Reading, outcome: Turn) -> Mismatch | None:
    executed = (event.name for event in outcome.events if isinstance(event, ActionExecuted))
    actions = tuple(name for name in executed if name and name not in UNNAMED_ACTIONS)
    held = outcome.tracker.situation.slots
    slots = {name: (wanted, held.get(name)) for name, wanted in step.slots.items() if held.get(name) != wanted}
    if actions == step.actions and not slots:
        return None
    return Mismatch(step=number, expected=step, read_as=_read_as(reading), actions=actions, slots=slots)


def _read_as(reading: Reading) -> str:
    intent = reading.parse_data.get("intent") or {}
    named = f"{intent.get('name')} {intent.get('confidence') or 0.0:.2f}"
    seen = reading.understanding
    if seen is None or seen.intent.name == intent.get("name"):
        return named
    # The fallback's name hides what the model thought; an author needs both.
    unknown = ", out of scope" if seen.is_out_of_scope else ""
    return f"{named} (model: {seen.intent.name} {seen.intent.confidence:.2f}{unknown})"
