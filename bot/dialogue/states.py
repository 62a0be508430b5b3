"""A conversation as policies see it: one state before each action, slots as features.

Two views: rules see every turn; stories (memoization) do not see turns that only rules decided.
Invariant: equal states are equal tuples; slots stand in the order of the domain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from bot.assistant.domain import OTHER_CATEGORY, Domain, Slot
from bot.dialogue.events import ACTION_LISTEN, SHOULD_NOT_BE_SET
from bot.dialogue.situation import Situation

Features = tuple[float, ...] | str
"""A slot's features, or `should_not_be_set` in a rule."""


class State(NamedTuple):
    intent: str | None = None
    text: str | None = None
    entities: tuple[str, ...] = ()
    slots: tuple[tuple[str, Features], ...] = ()
    action: str | None = None
    action_text: str | None = None
    loop: str | None = None

    @property
    def has_action(self) -> bool:
        return self.action is not None or self.action_text is not None

    @property
    def follows_listen(self) -> bool:
        return self.action == ACTION_LISTEN

    @property
    def active_loop(self) -> str | None:
        return None if self.loop == SHOULD_NOT_BE_SET else self.loop

    def to_json(self) -> dict[str, Any]:
        """The nested form whose length decides between rules (see `rules`)."""
        user = {"intent": self.intent, "text": self.text, "entities": self.entities}
        action = {"action_name": self.action, "action_text": self.action_text}
        parts: dict[str, dict[str, Any]] = {
            "user": {key: value for key, value in user.items() if value},
            "slots": dict(self.slots),
            "prev_action": {key: value for key, value in action.items() if value is not None},
            "active_loop": {"name": self.loop} if self.loop is not None else {},
        }
        return {key: part for key, part in parts.items() if part}


class Moment(NamedTuple):
    """The state before one action and what the story view must know about that action."""

    state: State
    is_hidden: bool
    keeps_visibility: bool


@dataclass(frozen=True, kw_only=True)
class RuleOnly:
    """Slots and forms that occur in rules and in no story: invisible in the story view."""

    slots: frozenset[str] = frozenset()
    loops: frozenset[str] = frozenset()


def slot_features(slot: Slot, value: Any) -> tuple[float, ...]:
    """The slot's features; all zero where it counts as unset."""
    match slot.type:
        case "text":
            return (1.0 if value is not None else 0.0,)
        case "bool":
            truth = _truth(value)
            return (0.0, 0.0) if truth is None else (1.0, float(truth))
        case "float":
            return _float_features(slot, value)
        case "list":
            return (1.0 if _has_items(value) else 0.0,)
        case "categorical":
            return _category_features(slot, value)
        case _:
            return ()


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return value == 1.0
    if isinstance(value, str):
        if value.isnumeric():
            try:
                return float(value) == 1.0
            except ValueError:
                return None
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def _float_features(slot: Slot, value: Any) -> tuple[float, float]:
    try:
        capped = max(slot.min_value, min(slot.max_value, float(value)))
    except (TypeError, ValueError, OverflowError):
        return (0.0, 0.0)
    return (1.0, (capped - slot.min_value) / (slot.max_value - slot.min_value))


def _has_items(value: Any) -> bool:
    try:
        return value is not None and len(value) > 0
    except TypeError:
        return False


def _category_features(slot: Slot, value: Any) -> tuple[float, ...]:
    if value is None:
        return tuple(0.0 for _ in slot.values)
    name = str(value).lower()
    chosen = name if name in slot.values else OTHER_CATEGORY
    return tuple(1.0 if candidate == chosen else 0.0 for candidate in slot.values)


def _slot_state(situation: Situation, *, omit_unset: bool) -> tuple[tuple[str, Features], ...]:
    featurized: list[tuple[str, Features]] = []
    for slot in situation.domain.featurized_slots:
        if omit_unset and slot.name not in situation.assigned:
            continue
        value = situation.slots.get(slot.name)
        if isinstance(value, str) and value == SHOULD_NOT_BE_SET:
            featurized.append((slot.name, SHOULD_NOT_BE_SET))
            continue
        features = slot_features(slot, value)
        if any(features):
            featurized.append((slot.name, features))
    return tuple(featurized)


def _entity_labels(domain: Domain, intent: str | None, entities: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    labels: set[str] = set()
    for entity in entities:
        if "entity" not in entity:
            continue
        name = entity["entity"]
        labels.add(name)
        labels |= {f"{name}#{entity[key]}" for key in ("role", "group") if key in entity}
    if not labels:
        return ()
    known = domain.intents.get(intent or "")
    return tuple(sorted(labels & known.used_entities if known else labels))


def state_of(situation: Situation, *, omit_unset: bool = False) -> State:
    """The state a policy sees now. Intent wins over text, as everywhere but right after a listen in a text rule."""
    intent = text = None
    entities: tuple[str, ...] = ()
    message = situation.message
    if message is not None:
        if situation.use_text:
            text = message.text or None
        else:
            intent = message.intent or None
            entities = _entity_labels(situation.domain, intent, situation.entities)
    return State(
        intent=intent,
        text=text,
        entities=entities,
        slots=_slot_state(situation, omit_unset=omit_unset),
        action=situation.latest_action,
        action_text=situation.latest_action_text,
        loop=situation.loop.name if situation.loop else None,
    )


def moment_of(situation: Situation, *, is_hidden: bool, omit_unset: bool = False) -> Moment:
    """The moment before an action. A follow-up, or a form that just ran, does not change whether the turn is hidden."""
    keeps = situation.followup_action is not None or situation.action_name == situation.loop_name
    return Moment(state_of(situation, omit_unset=omit_unset), is_hidden, keeps)


def story_view(moments: Iterable[Moment], rule_only: RuleOnly) -> list[State]:
    """The states without the turns, slots and forms that only rules know."""
    states: list[State] = []
    is_hidden = False
    action: str | None = None
    action_text: str | None = None
    for state, hides, keeps_visibility in moments:
        if not is_hidden:
            action, action_text = state.action, state.action_text
        if not keeps_visibility:
            is_hidden = hides
        if is_hidden:
            continue
        visible = _without_rule_only(state, rule_only) if state.slots or state.loop else state
        if states and not state.follows_listen:
            last = states[-1]
            if last[:3] != visible[:3]:
                visible = visible._replace(intent=last.intent, text=last.text, entities=last.entities)
        if (action is not None or action_text is not None) and (action, action_text) != visible[4:6]:
            visible = visible._replace(action=action, action_text=action_text)
        states.append(visible)
    return states


def _without_rule_only(state: State, rule_only: RuleOnly) -> State:
    if rule_only.slots and state.slots:
        state = state._replace(slots=tuple(item for item in state.slots if item[0] not in rule_only.slots))
    if state.loop in rule_only.loops:
        state = state._replace(loop=None)
    return state
