"""A conversation: the fold of its events. Only the current session is kept, and of a long one only the last turns.

Invariant: `fold(all events) == live tracker == restore(snapshot, later events)`. What a tracker knows is bounded:
events before the current session, and those beyond `MAX_EVENTS`, live on only as the situation they led to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.assistant.domain import Domain
from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    BotUttered,
    Event,
    Restarted,
    SessionStarted,
    SlotSet,
    UserFeaturization,
    UserUtteranceReverted,
    UserUttered,
    from_json,
)
from bot.dialogue.situation import Situation
from bot.dialogue.states import Moment, moment_of

FOLD_VERSION = 3
DISCLOSURE = "utter_disclosure"
MAX_EVENTS = 200
"""Events kept of one session (some 30 turns), and half as many more while rewinds reach over them."""
_KEPT_EVENTS = 100
MOST_EVENTS = 300
_MAX_CARRIED_SLOTS = 100


class SnapshotOutdated(Exception):
    """The snapshot was folded by another version or domain: fold all events instead."""


class Tracker:
    """One conversation. Mutable; `turn` works on a copy."""

    __slots__ = (
        "_applied",
        "_base",
        "_base_disclosed",
        "_carried",
        "_earlier",
        "_loop_names",
        "_moments",
        "_replayed",
        "_replayed_count",
        "domain",
        "event_count",
        "events",
        "is_disclosed",
        "latest_input_channel",
        "sender_id",
        "situation",
    )

    def __init__(self, domain: Domain, sender_id: str) -> None:
        self.domain = domain
        self.sender_id = sender_id
        self.event_count = 0
        self.events: list[Event] = []
        self._earlier: list[Event] = []
        self.latest_input_channel: str | None = None
        self._restart_from(Situation(domain), disclosed=False)

    @staticmethod
    def empty(domain: Domain, sender_id: str) -> Tracker:
        """A conversation in which nothing has happened."""
        return Tracker(domain, sender_id)

    def _restart_from(self, base: Situation, *, disclosed: bool) -> None:
        self._base = base
        self._base_disclosed = disclosed
        self._carried: tuple[dict[str, Any], ...] = ()  # as JSON: read only when a session begins
        self.situation = base.copy()
        self.is_disclosed = disclosed
        self._applied: list[Event] = []
        self._loop_names: set[str] = {base.loop.name} if base.loop else set()
        self._forget_replay()

    def copy(self) -> Tracker:
        other = object.__new__(Tracker)
        for name in Tracker.__slots__:
            setattr(other, name, getattr(self, name))
        other.events, other._applied = list(self.events), list(self._applied)
        other.situation, other._loop_names = self.situation.copy(), set(self._loop_names)
        other._moments = list(self._moments)
        other._replayed = self._replayed.copy()
        return other

    # ---- applying events ----

    def begin_turn(self) -> None:
        """Forget what only the turn before could see: the events of the session that it ended, a restart's wish for
        a new session. Rasa forgets both when it loads the conversation for the next message."""
        self._earlier = []
        if self.situation.followup_action == ACTION_SESSION_START and not self._applied:
            self.situation.followup_action = ACTION_LISTEN

    def apply(self, event: Event) -> None:
        """Append one event and take its effect."""
        self.events.append(event)
        self.event_count += 1
        if isinstance(event, SessionStarted):
            self._drop_earlier_sessions()
        self._take(event)
        if len(self.events) > MAX_EVENTS and isinstance(event, UserUttered):
            self._trim()

    def _take(self, event: Event) -> None:
        match event:
            case Restarted():
                self._restart_from(Situation(self.domain), disclosed=False)
                self.situation.followup_action = ACTION_SESSION_START
            case SessionStarted():
                self._restart_from(Situation(self.domain), disclosed=False)
            case UserUtteranceReverted():
                self._undo_until(UserUttered)
                self._undo_until(ActionExecuted)
                self._go_back()
            case ActionReverted():
                self._undo_until(ActionExecuted)
                self._go_back()
            case _:
                self._take_plain(event)

    def _take_plain(self, event: Event) -> None:
        if isinstance(event, ActiveLoop) and event.name:
            self._loop_names.add(event.name)
        elif isinstance(event, BotUttered) and event.metadata.get("utter_action") == DISCLOSURE:
            self.is_disclosed = True
        elif isinstance(event, UserUttered):
            self.latest_input_channel = event.input_channel
        if isinstance(event, ActionExecuted) and event.name in self._loop_names and self._repeats_happily(event.name):
            self._undo_loop_execution(event.name)
        else:
            self._applied.append(event)
        self.situation.apply(event)

    def _undo_until(self, kind: type[Event]) -> None:
        while self._applied:
            if isinstance(self._applied.pop(), kind):
                break
        self._forget_replay()

    def _go_back(self) -> None:
        self.situation = self._base.copy()
        for event in self._applied:
            self.situation.apply(event)

    def _repeats_happily(self, loop: str) -> bool:
        """True when the form ran before, and since then nothing but filling it happened."""
        next_action: str | None = None
        for event in reversed(self._applied):
            if isinstance(event, ActiveLoop) and event.name is None:
                return False
            if isinstance(event, ActionExecutionRejected) and event.name == loop:
                return False
            if isinstance(event, UserUttered) and next_action is not None and next_action != loop:
                return False
            if isinstance(event, ActionExecuted):
                if event.name == loop:
                    return True
                next_action = event.name
        return False

    def _undo_loop_execution(self, loop: str) -> None:
        """Policies see a happily filled form as one turn: drop what lies between its two runs, but not the slots."""
        kept: list[Event] = []
        while self._applied:
            event = self._applied[-1]
            if isinstance(event, ActionExecuted) and event.name == loop:
                break
            self._applied.pop()
            if not isinstance(event, (ActionExecuted, UserUttered, UserFeaturization)):
                kept.append(event)
        self._applied += reversed(kept)
        self._forget_replay()

    # ---- keeping it bounded ----

    def _drop_earlier_sessions(self) -> None:
        """Keep the `action_session_start` that stands right before the session's own first event."""
        before = self.events[-2] if len(self.events) > 1 else None
        is_started_by_action = isinstance(before, ActionExecuted) and before.name == ACTION_SESSION_START
        count = 2 if is_started_by_action else 1
        self._earlier = self._earlier + self.events[:-count]
        self.events = self.events[-count:]

    def _trim(self) -> None:
        cut = self._where_to_cut()
        if not cut:
            return
        kept = self.events[cut:]
        before = self._replay(self.events[:cut])
        carried = tuple(event.to_json() for event in before.carried_slots)
        self._restart_from(before.situation, disclosed=before.is_disclosed)
        self._carried = carried
        self.events = kept
        self._take_stored(kept)

    def _where_to_cut(self) -> int | None:
        """Index of a listening bot before a message, with about `_KEPT_EVENTS` after it.

        Where there is one, it is one behind which no later rewind reached: what stood then still stands now.
        """
        size = len(self.events)
        replay = self._replay(())
        turns, lasting = [], []
        for index, event in enumerate(self.events[:-1]):
            replay._forget_wish_before(event, self.events[index - 1] if index else None)
            if _is_listen(event) and isinstance(self.events[index + 1], UserUttered) and index >= size - MOST_EVENTS:
                depth = len(replay._applied)
                turns.append(index)
                if depth == 0 or (depth <= len(self._applied) and self._applied[depth - 1] is replay._applied[-1]):
                    lasting.append(index)
            replay._take(event)
        choices = lasting or turns
        before = [index for index in choices if index < size - _KEPT_EVENTS]
        return before[-1] if before else choices[0] if choices else None

    def _replay(self, events: Iterable[Event]) -> Tracker:
        """The situation that these of the kept events led to."""
        replay = Tracker(self.domain, self.sender_id)
        replay._restart_from(self._base, disclosed=self._base_disclosed)
        replay._carried = self._carried
        replay._take_stored(events)
        return replay

    # ---- what policies and actions read ----

    @property
    def slots(self) -> Mapping[str, Any]:
        return self.situation.slots

    @property
    def applied_events(self) -> Sequence[Event]:
        """The session's events without what was taken back, and with a happily filled form as one turn."""
        return self._applied

    def moments(self) -> list[Moment]:
        """One moment before each applied action, and the present one last."""
        self._catch_up()
        return [*self._moments, moment_of(self._replayed, is_hidden=False)]

    def _forget_replay(self) -> None:
        self._moments: list[Moment] = []
        self._replayed = self._base.copy()
        self._replayed_count = 0

    def _catch_up(self) -> None:
        for event in self._applied[self._replayed_count :]:
            if isinstance(event, ActionExecuted):
                self._moments.append(moment_of(self._replayed, is_hidden=event.hide_rule_turn))
            self._replayed.apply(event)
        self._replayed_count = len(self._applied)

    @property
    def carried_slots(self) -> list[SlotSet]:
        """The slot events that a new session takes over, oldest first; where they are many, each slot's last one."""
        carried = [event for body in self._carried if isinstance(event := from_json(body), SlotSet)]
        carried += [
            SlotSet(name=event.name, value=event.value, metadata=event.metadata)
            for event in self._applied
            if isinstance(event, SlotSet)
        ]
        if len(carried) <= _MAX_CARRIED_SLOTS:
            return carried
        last = {event.name: index for index, event in enumerate(carried)}
        return [carried[index] for index in sorted(last.values())]

    @property
    def last_applied_user(self) -> UserUttered | None:
        for event in reversed(self._applied):
            if isinstance(event, UserUttered):
                return event
        return self._base.message

    @property
    def events_of_turn(self) -> list[Event]:
        """`events`, in the turn that began a session those of the session before it too."""
        return [*self._earlier, *self.events]

    @property
    def last_timestamp(self) -> float:
        return self.events[-1].timestamp if self.events else 0.0

    @property
    def events_since_user(self) -> list[Event]:
        """The events from the latest message (or restart) on."""
        message = self.situation.message
        for index in range(len(self.events) - 1, -1, -1):
            if self.events[index] is message or isinstance(self.events[index], Restarted):
                return self.events[index:]
        return list(self.events)

    def actions_since_listen(self) -> int:
        """How many actions ran since the bot last waited for the customer."""
        count = 0
        for event in reversed(self.events):
            if isinstance(event, ActionExecuted):
                if event.name in (ACTION_LISTEN, ACTION_SESSION_START):
                    break
                count += 1
        return count

    @property
    def rejected_action(self) -> str | None:
        """The action that rejected to run, if nothing ran since."""
        for event in reversed(self.events):
            if isinstance(event, ActionExecutionRejected):
                return event.name
            if isinstance(event, ActionExecuted):
                return None
        return None

    def current_state(self) -> dict[str, Any]:
        """The tracker as Rasa's JSON, the form in which custom actions receive it."""
        situation = self.situation
        message = situation.message
        latest = {**message.parse_data, "entities": situation.entities} if message else _EMPTY_MESSAGE
        action = {"action_name": situation.latest_action, "action_text": situation.latest_action_text}
        return {
            "sender_id": self.sender_id,
            "slots": dict(situation.slots),
            "latest_message": latest,
            "latest_event_time": self.last_timestamp or None,
            "followup_action": situation.followup_action,
            "paused": situation.paused,
            "events": [event.to_json() for event in self.events],
            "latest_input_channel": self.latest_input_channel,
            "active_loop": situation.loop.to_json() if situation.loop else {},
            "latest_action": {key: value for key, value in action.items() if value is not None},
            "latest_action_name": situation.action_name,
        }

    # ---- snapshots ----

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on from here, as JSON of bounded size. Nested values are shared, not copied."""
        return {
            "fold_version": FOLD_VERSION,
            "domain_hash": self.domain.state_hash,
            "sender_id": self.sender_id,
            "event_count": self.event_count,
            "is_disclosed": self._base_disclosed,
            "input_channel": self.latest_input_channel,
            "base": self._base.to_json(),
            "carried": list(self._carried),
            "events": [event.to_json() for event in self.events],
        }

    @staticmethod
    def restore(domain: Domain, snapshot: dict[str, Any], events_after: Iterable[dict[str, Any]]) -> Tracker:
        """The tracker of a snapshot and the events stored after it.

        Raises:
            SnapshotOutdated: folded by another version or over another domain.
            ValueError: an event cannot be read.
        """
        if snapshot.get("fold_version") != FOLD_VERSION or snapshot.get("domain_hash") != domain.state_hash:
            raise SnapshotOutdated
        tracker = Tracker(domain, snapshot["sender_id"])
        tracker._restart_from(Situation.from_json(domain, snapshot["base"]), disclosed=snapshot["is_disclosed"])
        tracker._carried = tuple(snapshot["carried"])
        tracker.events = [from_json(body) for body in snapshot["events"]]
        tracker._take_stored(tracker.events)
        tracker.event_count = snapshot["event_count"]
        tracker.latest_input_channel = snapshot["input_channel"]
        for body in events_after:
            tracker._apply_stored(from_json(body))
        return tracker

    def _apply_stored(self, event: Event) -> None:
        """Append an event of an earlier turn. After a `restart` one that begins no session was logged from outside,
        when the restart's wish for a session was forgotten already: see `begin_turn`."""
        self._forget_wish_before(event, self.events[-1] if self.events else None)
        self.apply(event)

    def _forget_wish_before(self, event: Event, latest: Event | None) -> None:
        begins = isinstance(event, ActionExecuted) and event.name == ACTION_SESSION_START
        if isinstance(latest, Restarted) and not begins:
            self.situation.followup_action = ACTION_LISTEN

    def _take_stored(self, events: Iterable[Event]) -> None:
        """Take events that were appended before, as `_apply_stored` would."""
        latest: Event | None = None
        for event in events:
            self._forget_wish_before(event, latest)
            self._take(event)
            latest = event

    @staticmethod
    def fold(domain: Domain, sender_id: str, events: Iterable[Event]) -> Tracker:
        """The conversation in which exactly these events happened."""
        tracker = Tracker(domain, sender_id)
        for event in events:
            tracker._apply_stored(event)
        return tracker


_EMPTY_MESSAGE: dict[str, Any] = {
    "intent": {},
    "entities": [],
    "text": None,
    "message_id": None,
    "metadata": {},
}


def _is_listen(event: Event) -> bool:
    return isinstance(event, ActionExecuted) and event.name == ACTION_LISTEN
