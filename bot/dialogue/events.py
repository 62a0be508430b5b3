"""Everything that can happen in a conversation, as Rasa 3 names and writes it; ours beside: `handoff`, `operator`.

Invariant: events are immutable, and `from_json(event.to_json()) == event`. What an event does: `situation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

ACTION_LISTEN = "action_listen"
ACTION_SESSION_START = "action_session_start"
SHOULD_NOT_BE_SET = "should_not_be_set"
"""What `null` means in a rule: the slot or form must be empty when the rule applies."""

E = TypeVar("E", bound="Event")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    timestamp: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    type_name: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """The event as Rasa's JSON. Nested values are shared, not copied."""
        body: dict[str, Any] = {"event": self.type_name, "timestamp": self.timestamp}
        if self.metadata:
            body["metadata"] = self.metadata
        for name in _FIELDS[type(self)]:
            body[name] = getattr(self, name)
        return body


@dataclass(frozen=True, kw_only=True, slots=True)
class UserUttered(Event):
    """`parse_data` is what was understood: intent, entities, intent_ranking, …, as Rasa's NLU returns it."""

    type_name: ClassVar[str] = "user"
    text: str | None = None
    parse_data: Mapping[str, Any] = field(default_factory=dict)
    input_channel: str | None = None
    message_id: str | None = None

    @property
    def intent(self) -> str | None:
        intent = self.parse_data.get("intent")
        return intent.get("name") if isinstance(intent, dict) else None

    @property
    def entities(self) -> list[dict[str, Any]]:
        entities: list[dict[str, Any]] = self.parse_data.get("entities") or []
        return entities


@dataclass(frozen=True, kw_only=True, slots=True)
class BotUttered(Event):
    """`data` holds only what is set of elements, quick_replies, buttons, attachment, image, custom."""

    type_name: ClassVar[str] = "bot"
    text: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionExecuted(Event):
    """`hide_rule_turn`: the turn was decided by a rule that occurs in no story; stories do not see it."""

    type_name: ClassVar[str] = "action"
    name: str | None = None
    policy: str | None = None
    confidence: float | None = None
    action_text: str | None = None
    hide_rule_turn: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionExecutionRejected(Event):
    type_name: ClassVar[str] = "action_execution_rejected"
    name: str | None = None
    policy: str | None = None
    confidence: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotSet(Event):
    type_name: ClassVar[str] = "slot"
    name: str
    value: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AllSlotsReset(Event):
    type_name: ClassVar[str] = "reset_slots"


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveLoop(Event):
    """A form began, or (None) ended."""

    type_name: ClassVar[str] = "active_loop"
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopInterrupted(Event):
    type_name: ClassVar[str] = "loop_interrupted"
    is_interrupted: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class UserFeaturization(Event):
    type_name: ClassVar[str] = "user_featurization"
    use_text_for_featurization: bool | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EntitiesAdded(Event):
    type_name: ClassVar[str] = "entities"
    entities: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class FollowupAction(Event):
    type_name: ClassVar[str] = "followup"
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Restarted(Event):
    type_name: ClassVar[str] = "restart"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionStarted(Event):
    type_name: ClassVar[str] = "session_started"


@dataclass(frozen=True, kw_only=True, slots=True)
class UserUtteranceReverted(Event):
    type_name: ClassVar[str] = "rewind"


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionReverted(Event):
    type_name: ClassVar[str] = "undo"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationPaused(Event):
    type_name: ClassVar[str] = "pause"


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationResumed(Event):
    type_name: ClassVar[str] = "resume"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoryExported(Event):
    type_name: ClassVar[str] = "export"
    path: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderScheduled(Event):
    type_name: ClassVar[str] = "reminder"
    intent: str | None = None
    entities: Any = None
    date_time: str | None = None
    name: str | None = None
    kill_on_user_msg: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ReminderCancelled(Event):
    type_name: ClassVar[str] = "cancel_reminder"
    name: str | None = None
    intent: str | None = None
    entities: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentUttered(Event):
    type_name: ClassVar[str] = "agent"
    text: str | None = None
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HandoffRequested(Event):
    """Ours: the customer wants a person. `contact` is how to reach them, where they left one."""

    type_name: ClassVar[str] = "handoff"
    contact: str | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorUttered(Event):
    """Ours: a person of the company answered."""

    type_name: ClassVar[str] = "operator"
    text: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    operator: str | None = None


_LEGACY_NAMES = {"form": "active_loop", "form_validation": "loop_interrupted"}
_KINDS: tuple[type[Event], ...] = (
    UserUttered,
    BotUttered,
    ActionExecuted,
    ActionExecutionRejected,
    SlotSet,
    AllSlotsReset,
    ActiveLoop,
    LoopInterrupted,
    UserFeaturization,
    EntitiesAdded,
    FollowupAction,
    Restarted,
    SessionStarted,
    UserUtteranceReverted,
    ActionReverted,
    ConversationPaused,
    ConversationResumed,
    StoryExported,
    ReminderScheduled,
    ReminderCancelled,
    AgentUttered,
    HandoffRequested,
    OperatorUttered,
)
_TYPES: dict[str, type[Event]] = {kind.type_name: kind for kind in _KINDS}
_FIELDS: dict[type[Event], tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind) if item.name not in ("timestamp", "metadata")) for kind in _KINDS
}


def to_json(event: Event) -> dict[str, Any]:
    """`event.to_json()`, as the counterpart of `from_json`."""
    return event.to_json()


def from_json(body: Mapping[str, Any]) -> Event:
    """The event that Rasa's JSON describes; unknown keys are left out.

    Raises:
        ValueError: no such event, or one of its fields is missing.
    """
    name = body.get("event")
    kind = _TYPES.get(_LEGACY_NAMES.get(str(name), str(name)))
    if kind is None:
        raise ValueError(f"unknown event '{name}'")
    values = {key: _checked(str(name), key, body[key]) for key in _FIELDS[kind] if key in body}
    if kind is LoopInterrupted and "validate" in body:
        values["is_interrupted"] = not body["validate"]
    if kind is BotUttered:
        values["data"] = {key: value for key, value in (body.get("data") or {}).items() if value is not None}
    try:
        metadata = body.get("metadata")
        stamp = float(body.get("timestamp") or 0.0)
        return kind(timestamp=stamp, metadata=metadata if isinstance(metadata, dict) else {}, **values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the event '{name}' cannot be read: {error}") from error


_OPTIONAL_TEXT = (str, type(None))
_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(["name", "text", "policy", "action_text", "input_channel", "message_id"], _OPTIONAL_TEXT),
    **dict.fromkeys(["contact", "reason", "operator", "path", "intent", "date_time"], _OPTIONAL_TEXT),
    **dict.fromkeys(["is_interrupted", "hide_rule_turn", "kill_on_user_msg"], (bool,)),
    "use_text_for_featurization": (bool, type(None)),
    "confidence": (int, float, type(None)),
    "data": (dict, type(None)),
    "parse_data": (dict,),
}


def _checked(event: str, key: str, value: Any) -> Any:
    """The field's value if the fold can live with it; custom actions may return anything."""
    expected = _FIELD_TYPES.get(key)
    is_valid = expected is None or isinstance(value, expected)
    if key == "name" and event == "slot":
        is_valid = isinstance(value, str)
    elif key == "parse_data" and is_valid:
        intent = value.get("intent")
        is_valid = (intent is None or _is_named(intent, "name")) and _are_entities(value.get("entities"))
    elif key == "entities" and event == "entities":
        is_valid = _are_entities(value)
    if not is_valid:
        raise ValueError(f"the event '{event}' has an impossible {key}: {value!r:.80}")
    return value


def _is_named(value: Any, key: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(key), _OPTIONAL_TEXT)


def _are_entities(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(_is_named(item, "entity") for item in value))


def at(event: E, timestamp: float) -> E:
    """The same event with another timestamp."""
    return replace(event, timestamp=timestamp)
