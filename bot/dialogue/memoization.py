"""Memoization: a conversation that went exactly like a story goes on like it. Augmented: its latest part did.

Invariant: only exact matches; a state sequence that leads to two actions is not remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.dialogue.events import ACTION_LISTEN, ActionExecuted, Event
from bot.dialogue.predictions import Prediction
from bot.dialogue.rules import Example
from bot.dialogue.situation import Situation
from bot.dialogue.states import Moment, RuleOnly, State, moment_of, story_view
from bot.dialogue.tracker import Tracker

PRIORITY = 3


@dataclass(frozen=True, kw_only=True)
class Memoization:
    """`max_history` None: all states since the session began. `longest`: the longest sequence remembered."""

    policy: str
    is_augmented: bool
    max_history: int | None
    uses_nlu_confidence: bool
    look_up: Mapping[tuple[State, ...], tuple[str, str]]
    longest: int

    def predict(self, tracker: Tracker, rule_only: RuleOnly) -> Prediction:
        """The remembered action with confidence 1 (or the understanding's), else nothing."""
        states = story_view(tracker.moments(), rule_only)
        found = self._recall(states)
        if found is None and self.is_augmented:
            found = self._recall_latest_part(tracker, states, rule_only)
        if found is None:
            return Prediction(policy=self.policy, priority=PRIORITY, why="no story fits")
        action, story = found
        return Prediction(
            policy=self.policy,
            priority=PRIORITY,
            scores={action: self._confidence(tracker)},
            why=f"story '{story}'",
        )

    def _confidence(self, tracker: Tracker) -> float:
        message = tracker.situation.message
        if not self.uses_nlu_confidence or message is None:
            return 1.0
        return float((message.parse_data.get("intent") or {}).get("confidence", 1.0))

    def _recall(self, states: Sequence[State]) -> tuple[str, str] | None:
        if self.max_history is None and len(states) > self.longest:
            return None
        key = tuple(states if self.max_history is None else states[-self.max_history :])
        return self.look_up.get(key)

    def _recall_latest_part(self, tracker: Tracker, tried: list[State], rule_only: RuleOnly) -> tuple[str, str] | None:
        """Forget the oldest events, action by action, until what is left is remembered."""
        events = tracker.applied_events
        for start in self._starts(events, tracker.moments()):
            states = story_view(_moments_of(events[start:], tracker), rule_only)
            if states != tried:
                found = self._recall(states)
                if found is not None:
                    return found
                tried = states
        return None

    def _starts(self, events: Sequence[Event], moments: Sequence[Moment]) -> list[int]:
        """Indices of the actions at which what is left may begin, the earliest first."""
        starts = [index for index, event in enumerate(events) if isinstance(event, ActionExecuted)]
        if self.max_history is None:
            return self._short_enough(starts, moments)
        # As in Rasa: back to the listen before the last `max_history` actions, and to the beginning without such one.
        # Slots set before are forgotten, so that an early start can be remembered where the whole is not.
        for count in range(self.max_history + 1, len(starts) + 1):
            event = events[starts[-count]]
            if isinstance(event, ActionExecuted) and event.name == ACTION_LISTEN:
                return starts[-count:]
        return starts

    def _short_enough(self, starts: list[int], moments: Sequence[Moment]) -> list[int]:
        """Without the starts that leave more visible states than any remembered sequence has."""
        visible = 0
        for count, moment in enumerate(reversed(moments[-len(starts) - 1 : -1]), start=1):
            visible += not moment.is_hidden and not moment.keeps_visibility
            if visible > self.longest:
                return starts[-count:]
        return starts


def _moments_of(events: Sequence[Event], tracker: Tracker) -> list[Moment]:
    """Moments of a conversation that begins with these events: slots set before are forgotten."""
    situation = Situation(tracker.domain)
    moments: list[Moment] = []
    for event in events:
        if isinstance(event, ActionExecuted):
            moments.append(moment_of(situation, is_hidden=event.hide_rule_turn))
        situation.apply(event)
    moments.append(moment_of(situation, is_hidden=False))
    return moments


def compile_memoization(policy: str, settings: Mapping[str, Any], examples: Iterable[Example]) -> Memoization:
    """Remember what the stories do; `policy` is MemoizationPolicy or AugmentedMemoizationPolicy."""
    max_history = settings.get("max_history")
    look_up: dict[tuple[State, ...], tuple[str, str]] = {}
    ambiguous: set[tuple[State, ...]] = set()
    for states, action, story in examples:
        key = tuple(states if max_history is None else states[-max_history:])
        if key in ambiguous:
            continue
        known = look_up.get(key)
        if known is None:
            look_up[key] = (action, story)
        elif known[0] != action:
            ambiguous.add(key)
            del look_up[key]
    return Memoization(
        policy=policy,
        is_augmented=policy == "AugmentedMemoizationPolicy",
        max_history=max_history,
        uses_nlu_confidence=bool(settings.get("use_nlu_confidence_as_score", False)),
        look_up=look_up,
        longest=max((len(key) for key in look_up), default=0),
    )
