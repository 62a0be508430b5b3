"""What a conversation is at one moment: slots, last message, last action, form. The effect of every event on it.

Invariant: a Situation is a pure function of the events applied to it; jumps back in time are the tracker's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bot.assistant.domain import Domain
from bot.dialogue.events import (
    ACTION_LISTEN,
    SHOULD_NOT_BE_SET,
    ActionExecuted,
    ActionExecutionRejected,
    ActiveLoop,
    AllSlotsReset,
    ConversationPaused,
    ConversationResumed,
    EntitiesAdded,
    Event,
    FollowupAction,
    LoopInterrupted,
    SlotSet,
    UserFeaturization,
    UserUttered,
    from_json,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopState:
    """The active form, and whether it was left for another answer."""

    name: str
    is_interrupted: bool = False
    rejected: bool = False
    trigger_message: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "is_interrupted": self.is_interrupted,
            "rejected": self.rejected,
            "trigger_message": self.trigger_message,
        }


class Situation:
    """Mutable; copied before it is shared. `assigned` names the slots that an event has set since the last reset."""

    __slots__ = (
        "added_entities",
        "assigned",
        "domain",
        "followup_action",
        "latest_action",
        "latest_action_text",
        "loop",
        "message",
        "paused",
        "slots",
        "use_text",
    )

    def __init__(self, domain: Domain) -> None:
        self.domain = domain
        self.slots: dict[str, Any] = {}
        self.assigned: set[str] = set()
        self.reset()

    def reset(self) -> None:
        """Back to the start of a conversation."""
        self.reset_slots()
        self.paused = False
        self.message: UserUttered | None = None
        self.use_text: bool | None = None
        self.added_entities: tuple[dict[str, Any], ...] = ()
        self.latest_action: str | None = None
        self.latest_action_text: str | None = None
        # As in Rasa: whatever resets a conversation makes the bot listen next, until an event says otherwise.
        self.followup_action: str | None = ACTION_LISTEN
        self.loop: LoopState | None = None

    def reset_slots(self) -> None:
        self.slots = {name: slot.initial_value for name, slot in self.domain.slots.items()}
        self.assigned = set()

    def copy(self) -> Situation:
        other = object.__new__(Situation)
        for name in Situation.__slots__:
            setattr(other, name, getattr(self, name))
        other.slots, other.assigned = dict(self.slots), set(self.assigned)
        return other

    @property
    def loop_name(self) -> str | None:
        """The active form; in training a rule's `active_loop: null` is none."""
        return self.loop.name if self.loop and self.loop.name != SHOULD_NOT_BE_SET else None

    @property
    def action_name(self) -> str | None:
        """The last action's name, or its text where it was an end-to-end one."""
        return self.latest_action or self.latest_action_text

    @property
    def entities(self) -> list[dict[str, Any]]:
        if self.message is None:
            return []
        return [*self.message.entities, *self.added_entities] if self.added_entities else self.message.entities

    def set_slot(self, name: str, value: Any) -> None:
        """An unknown slot is ignored, as in Rasa: its event stays in the log and changes nothing."""
        slot = self.domain.slots.get(name)
        if slot is None:
            return
        if slot.type == "list" and value and not isinstance(value, list) and value != SHOULD_NOT_BE_SET:
            value = [value]
        self.slots[name] = value
        self.assigned.add(name)

    def apply(self, event: Event) -> None:
        """Change by one event; those that go back in time (restart, rewind, undo, session) are not for here."""
        effect = _EFFECTS.get(type(event))
        if effect is not None:
            effect(self, event)

    def to_json(self) -> dict[str, Any]:
        return {
            "slots": self.slots,
            "assigned": sorted(self.assigned),
            "paused": self.paused,
            "message": self.message.to_json() if self.message else None,
            "use_text": self.use_text,
            "added_entities": list(self.added_entities),
            "latest_action": self.latest_action,
            "latest_action_text": self.latest_action_text,
            "followup_action": self.followup_action,
            "loop": self.loop.to_json() if self.loop else None,
        }

    @staticmethod
    def from_json(domain: Domain, body: dict[str, Any]) -> Situation:
        situation = Situation(domain)
        situation.slots |= {name: value for name, value in body["slots"].items() if name in situation.slots}
        situation.assigned = set(body["assigned"])
        situation.paused = body["paused"]
        message = from_json(body["message"]) if body["message"] else None
        situation.message = message if isinstance(message, UserUttered) else None
        situation.use_text = body["use_text"]
        situation.added_entities = tuple(body["added_entities"])
        situation.latest_action = body["latest_action"]
        situation.latest_action_text = body["latest_action_text"]
        situation.followup_action = body["followup_action"]
        situation.loop = LoopState(**body["loop"]) if body["loop"] else None
        return situation


def _user(situation: Situation, event: UserUttered) -> None:
    situation.message = event
    situation.added_entities = ()
    situation.followup_action = None
    situation.use_text = (
        True if event.text and not event.intent else (False if event.intent and not event.text else None)
    )


def _action(situation: Situation, event: ActionExecuted) -> None:
    situation.latest_action, situation.latest_action_text = event.name, event.action_text
    situation.followup_action = None
    loop = situation.loop
    if loop is None:
        return
    rejected = loop.rejected and event.name != loop.name
    if loop.is_interrupted or rejected != loop.rejected:
        situation.loop = LoopState(name=loop.name, rejected=rejected, trigger_message=loop.trigger_message)


def _rejected(situation: Situation, event: ActionExecutionRejected) -> None:
    loop = situation.loop
    if loop is not None and event.name == loop.name:
        situation.loop = LoopState(
            name=loop.name, is_interrupted=loop.is_interrupted, rejected=True, trigger_message=loop.trigger_message
        )
    if event.name == situation.followup_action:
        situation.followup_action = None


def _slot(situation: Situation, event: SlotSet) -> None:
    situation.set_slot(event.name, event.value)


def _reset_slots(situation: Situation, _: AllSlotsReset) -> None:
    situation.reset_slots()


def _loop(situation: Situation, event: ActiveLoop) -> None:
    message = situation.message
    trigger = dict(message.parse_data) if message else None
    situation.loop = LoopState(name=event.name, trigger_message=trigger) if event.name is not None else None


def _interrupted(situation: Situation, event: LoopInterrupted) -> None:
    loop = situation.loop
    if loop is not None:
        situation.loop = LoopState(
            name=loop.name,
            is_interrupted=event.is_interrupted,
            rejected=loop.rejected,
            trigger_message=loop.trigger_message,
        )


def _featurization(situation: Situation, event: UserFeaturization) -> None:
    situation.use_text = event.use_text_for_featurization


def _entities(situation: Situation, event: EntitiesAdded) -> None:
    situation.added_entities = (*situation.added_entities, *event.entities)


def _followup(situation: Situation, event: FollowupAction) -> None:
    situation.followup_action = event.name


def _paused(situation: Situation, _: ConversationPaused) -> None:
    situation.paused = True


def _resumed(situation: Situation, _: ConversationResumed) -> None:
    situation.paused = False


_EFFECTS: dict[type[Event], Any] = {
    UserUttered: _user,
    ActionExecuted: _action,
    ActionExecutionRejected: _rejected,
    SlotSet: _slot,
    AllSlotsReset: _reset_slots,
    ActiveLoop: _loop,
    LoopInterrupted: _interrupted,
    UserFeaturization: _featurization,
    EntitiesAdded: _entities,
    FollowupAction: _followup,
    ConversationPaused: _paused,
    ConversationResumed: _resumed,
}
