"""Forms: activate, validate what was said, ask for the next slot, end. One run of a form is one action of the bot.

Invariant: reads the tracker it is given and changes nothing; its result is the events of the run, in Rasa's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.assistant.checks import ask_names
from bot.assistant.domain import REQUESTED_SLOT, Form
from bot.dialogue.effects import Events, Steps
from bot.dialogue.events import (
    ACTION_LISTEN,
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    Event,
    SlotSet,
)
from bot.dialogue.remote import Rejection, RemoteCall
from bot.dialogue.slots import extract_slots
from bot.dialogue.tracker import Tracker

AskAction = Callable[[str, Tracker], Steps[Events]]


def is_ended(events: Sequence[Event]) -> bool:
    """Whether the events so far end the form: nothing left to ask, or a validation said so. Never after a rejection."""
    if any(isinstance(event, ActionExecutionRejected) for event in events):
        return False
    for event in reversed(events):
        if isinstance(event, SlotSet) and event.name == REQUESTED_SLOT:
            if event.value is None:
                return True
            break
    last_loop = next((event for event in reversed(events) if isinstance(event, ActiveLoop)), None)
    return last_loop is not None and last_loop.name is None


def form_outcome(events: Sequence[Event]) -> str:
    """What a run of a form led to, for people."""
    asked = [event.value for event in events if isinstance(event, SlotSet) and event.name == REQUESTED_SLOT]
    if not asked:
        return ""
    return "complete" if asked[-1] is None else f"asks {asked[-1]}"


@dataclass(frozen=True, kw_only=True)
class FormRun:
    """One run of one form. `ask` runs the action that asks for a slot and returns its events."""

    form: Form
    tracker: Tracker
    call: RemoteCall
    ask: AskAction

    def run(self) -> Steps[Events]:
        """The events of the run.

        Raises:
            Rejection: a slot was asked for and the message filled nothing: another answer is needed.
            Crash: the validation or the asking action failed.
        """
        events: Events = []
        if self.tracker.situation.loop_name != self.form.name:
            events += yield from self._activate()
        if not is_ended(events):
            events += yield from self._proceed(events)
        if is_ended(events):
            events.append(ActiveLoop(name=None))
        return events

    def _activate(self) -> Steps[Events]:
        """Begin: slots that are filled already are validated once more."""
        begun = ActiveLoop(name=self.form.name)
        trial = self.tracker.copy()
        trial.apply(begun)
        extracted = yield from extract_slots(trial, self.call)
        for event in extracted:
            trial.apply(event)
        slots = [event for event in extracted if isinstance(event, SlotSet)]
        if not self._has_validation:
            return [begun, *slots]
        values = trial.situation.slots
        filled = [SlotSet(name=name, value=values[name]) for name in self._required if values.get(name) is not None]
        validated = yield from self._validate_slots(filled, trial)
        named = {event.name for event in validated if isinstance(event, SlotSet)}
        return [begun, *validated, *(event for event in slots if event.name not in named)]

    def _proceed(self, so_far: Events) -> Steps[Events]:
        events: Events = []
        if all(isinstance(event, ActiveLoop) for event in so_far):
            events += yield from self._validate_if_needed()
        if not any(isinstance(event, ActionExecutionRejected) for event in events):
            events += yield from self._request_next([*so_far, *events])
        return events

    def _validate_if_needed(self) -> Steps[Events]:
        situation = self.tracker.situation
        is_interrupted = situation.loop is not None and situation.loop.is_interrupted
        if situation.loop is None or (situation.action_name == ACTION_LISTEN and not is_interrupted):
            return (yield from self._validate())
        # Coming back from another answer there is nothing to validate, but a form with dynamic slots says what is next.
        return (yield from self._validate_slots([], self.tracker))

    def _validate(self) -> Steps[Events]:
        candidates = self._extracted()
        events = yield from self._validate_slots(candidates, self.tracker)
        was_validated = any(isinstance(event, SlotSet) and event.name != REQUESTED_SLOT for event in events)
        rejected = any(isinstance(event, ActionExecutionRejected) for event in events)
        if self._requested and not candidates and not was_validated and not rejected:
            raise Rejection(f"nothing was said that fills '{self._requested}'")
        return events

    def _validate_slots(self, candidates: Sequence[SlotSet], tracker: Tracker) -> Steps[Events]:
        if not self._has_validation:
            return []
        return (yield from self.call.run(f"validate_{self.form.name}", self._trial(tracker, candidates)))

    def _request_next(self, so_far: Events) -> Steps[Events]:
        if is_ended(so_far):
            return [SlotSet(name=REQUESTED_SLOT, value=None)]
        requested = next(
            (event.value for event in so_far if isinstance(event, SlotSet) and event.name == REQUESTED_SLOT), None
        )
        trial = self._trial(self.tracker, so_far)
        events: Events = []
        if not requested:
            values = trial.situation.slots
            requested = next((name for name in self._required if values.get(name) is None), None)
            events.append(SlotSet(name=REQUESTED_SLOT, value=requested))
        if not requested:
            return [SlotSet(name=REQUESTED_SLOT, value=None)]
        asks = ask_names(self.form.name, str(requested))
        name = next((name for name in asks if name in self.tracker.domain.action_names), None)
        if name is not None:
            events += yield from self.ask(name, trial)
        return events

    def _extracted(self) -> list[SlotSet]:
        """What the latest message filled among this form's slots, the last value of each."""
        wanted = {*self._required, self._requested} - {None}
        values = {
            event.name: event.value
            for event in self.tracker.events_since_user
            if isinstance(event, SlotSet) and event.name in wanted
        }
        return [SlotSet(name=name, value=value) for name, value in values.items()]

    def _trial(self, tracker: Tracker, events: Sequence[Event]) -> Tracker:
        """A copy in which the form has run: actions find the candidates as the last events, after the form's own."""
        trial = tracker.copy()
        is_active = tracker.situation.loop_name == self.form.name
        requested = tracker.situation.slots.get(REQUESTED_SLOT) if is_active else None
        trial.apply(SlotSet(name=REQUESTED_SLOT, value=requested))
        trial.apply(ActionExecuted(name=self.form.name))
        for event in events:
            trial.apply(event)
        return trial

    @property
    def _required(self) -> tuple[str, ...]:
        return self.form.required_slots

    @property
    def _requested(self) -> str | None:
        """The slot this form asked for; what another form asked for does not count."""
        if self.tracker.situation.loop_name != self.form.name:
            return None
        return self.tracker.situation.slots.get(REQUESTED_SLOT)

    @property
    def _has_validation(self) -> bool:
        return f"validate_{self.form.name}" in self.tracker.domain.custom_actions
