"""Calling a custom action from inside a turn: the effect, and its answer as events.

Invariant: `Rejection` and `Crash` never leave the turn; every crash is remembered in `failures`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.dialogue.effects import ActionCrashed, ActionRejected, Events, RunAction, Steps
from bot.dialogue.events import from_json
from bot.dialogue.responses import uttered_by_action
from bot.dialogue.tracker import Tracker

IDEMPOTENCY_KEY = "idempotency_key"


class Rejection(Exception):
    """An action declined to run (also a form that could extract nothing)."""


class Crash(Exception):
    """An action failed; it counts as executed, without events."""


@dataclass(kw_only=True)
class RemoteCall:
    """How this turn calls actions: the channel its responses are for, and what went wrong on the way.

    Attributes:
        turn_key: names the turn, and stays the same when it has to run again.
    """

    channels: Sequence[str]
    rng: random.Random
    turn_key: str = ""
    failures: list[str] = field(default_factory=list)
    calls: int = 0

    def run(self, name: str, tracker: Tracker) -> Steps[Events]:
        """Its messages, then its events; an event that cannot be read is left out.

        Raises:
            Rejection: the action declined.
            Crash: the action failed, hung, or does not exist.
        """
        result = yield RunAction(name=name, tracker=self._state(tracker), domain=tracker.domain.raw)
        if isinstance(result, ActionRejected):
            raise Rejection(result.reason)
        if isinstance(result, ActionCrashed):
            self.failures.append(f"{name} crashed: {result.error}")
            raise Crash(result.error)
        events: Events = []
        slots = tracker.situation.slots
        for response in result.responses:
            said = uttered_by_action(tracker.domain, response, slots, self.channels, self.rng)
            if said is None:
                self.failures.append(f"{name} says '{response.get('response')}', which is no response of the domain")
            else:
                events.append(said)
        for body in result.events:
            try:
                events.append(from_json(body))
            except ValueError as error:
                self.failures.append(f"{name} returned an event that is left out: {error}")
        return events

    def _state(self, tracker: Tracker) -> dict[str, Any]:
        """The tracker for the action; in its latest message's metadata a key of this very call.

        A turn that dies before it is committed runs again, and calls the action again with the same key.
        """
        self.calls += 1
        state = tracker.current_state()
        latest = state["latest_message"]
        metadata = latest.get("metadata")
        known = metadata if isinstance(metadata, dict) else {}
        state["latest_message"] = {**latest, "metadata": {**known, IDEMPOTENCY_KEY: f"{self.turn_key}-{self.calls}"}}
        return state
