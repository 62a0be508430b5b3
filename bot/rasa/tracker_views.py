"""A stored conversation as Rasa's API shows it: the tracker's JSON, up to a moment, with the events asked for.

Nothing is stored here. A conversation that nobody has begun is shown with the session that its first message begins.
Invariant: pure; the view of a log is the same whoever asks and however often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from bot.assistant.domain import Domain
from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    BotUttered,
    Event,
    Restarted,
    SessionStarted,
    from_json,
)
from bot.dialogue.tracker import Tracker
from bot.rasa.http_requests import Verbosity

_BOT_DATA = ("elements", "quick_replies", "buttons", "attachment", "image", "custom")
_TICK_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class TrackerView:
    """A conversation's whole log, folded. `tracker` keeps the present session only, `events` everything."""

    tracker: Tracker
    events: Sequence[Event]

    @staticmethod
    def of(domain: Domain, sender_id: str, bodies: Sequence[dict[str, Any]]) -> TrackerView:
        """Fold Rasa's event JSON; 10,000 events take a fraction of a second, so not on the event loop."""
        events = [from_json(body) for body in bodies]
        return TrackerView(tracker=Tracker.fold(domain, sender_id, events), events=events)

    @staticmethod
    def begun(domain: Domain, sender_id: str, now: float) -> TrackerView:
        """A conversation in which nothing was said: its first session has just begun, as Rasa shows it."""
        events: list[Event] = [
            ActionExecuted(name=ACTION_SESSION_START, confidence=1.0, timestamp=now),
            SessionStarted(timestamp=now + _TICK_S),
            ActionExecuted(name=ACTION_LISTEN, timestamp=now + 2 * _TICK_S),
        ]
        return TrackerView(tracker=Tracker.fold(domain, sender_id, events), events=events)

    def until(self, moment: float | None) -> TrackerView:
        """The conversation as it was then; what happened in that very moment counts."""
        if moment is None:
            return self
        events = list(takewhile(lambda event: event.timestamp <= moment, self.events))
        folded = Tracker.fold(self.tracker.domain, self.tracker.sender_id, events)
        return TrackerView(tracker=folded, events=events)

    def as_json(self, verbosity: Verbosity) -> dict[str, Any]:
        """Rasa's tracker JSON; `events` is None for NONE."""
        chosen = self._chosen(verbosity)
        state = self.tracker.current_state()
        return {**state, "events": None if chosen is None else [event_json(event) for event in chosen]}

    def _chosen(self, verbosity: Verbosity) -> Sequence[Event] | None:
        if verbosity == "ALL":
            return self.events
        if verbosity == "APPLIED":
            return self.tracker.applied_events
        if verbosity == "AFTER_RESTART":
            restarts = [place for place, event in enumerate(self.events) if isinstance(event, Restarted)]
            return self.events[restarts[-1] + 1 :] if restarts else self.events
        return None


def event_json(event: Event) -> dict[str, Any]:
    """The event with all of Rasa's keys: a bot message names also what it does not have."""
    body = event.to_json()
    if isinstance(event, BotUttered):
        body["data"] = {**dict.fromkeys(_BOT_DATA), **event.data}
    return body
