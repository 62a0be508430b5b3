"""Filling slots from what the customer said: the mappings of the domain, after each message.

Invariant: reads the tracker, changes nothing; its result is slot events (and messages of custom extractors) in order.
"""

from __future__ import annotations

from typing import Any

from bot.assistant.domain import BUILT_IN_SLOTS, REQUESTED_SLOT, Domain, Slot, SlotMapping
from bot.dialogue.effects import Events, Steps
from bot.dialogue.events import BotUttered, SlotSet
from bot.dialogue.remote import Crash, Rejection, RemoteCall
from bot.dialogue.situation import Situation
from bot.dialogue.tracker import Tracker

VALIDATE_MAPPINGS = "action_validate_slot_mappings"


def extract_slots(tracker: Tracker, call: RemoteCall) -> Steps[Events]:
    """The slots that the latest message fills, by the mappings and then by `action_validate_slot_mappings`."""
    domain, situation = tracker.domain, tracker.situation
    extracted: Events = []
    executed: set[str] = set()
    for slot in domain.slots.values():
        if slot.name in BUILT_IN_SLOTS:
            continue
        for mapping in slot.mappings:
            if not _is_applicable(slot, mapping, situation):
                continue
            values = _values(mapping, situation)
            if values:
                value = values if slot.type == "list" else values[-1]
                if value is not None or situation.slots.get(slot.name) is not None:
                    extracted.append(SlotSet(name=slot.name, value=value))
                    break
            if mapping.type == "custom" and mapping.action and mapping.action not in executed:
                executed.add(mapping.action)
                extracted += yield from _custom(mapping.action, tracker, call)
    return (yield from _validated(extracted, tracker, call))


def _custom(action: str, tracker: Tracker, call: RemoteCall) -> Steps[Events]:
    """Run a custom extractor; only its slots and messages count, and its failure leaves the slots as they are."""
    try:
        events = yield from call.run(action, tracker)
    except (Rejection, Crash):
        return []
    return [event for event in events if isinstance(event, (SlotSet, BotUttered))]


def _validated(extracted: Events, tracker: Tracker, call: RemoteCall) -> Steps[Events]:
    if VALIDATE_MAPPINGS not in tracker.domain.custom_actions:
        return extracted
    candidates = [event for event in extracted if isinstance(event, SlotSet)]
    said = [event for event in extracted if isinstance(event, BotUttered)]
    trial = tracker.copy()
    for event in candidates:
        trial.apply(event)
    validated = yield from _custom(VALIDATE_MAPPINGS, trial, call)
    named = {event.name for event in validated if isinstance(event, SlotSet)}
    return [*said, *validated, *(event for event in candidates if event.name not in named)]


def _is_applicable(slot: Slot, mapping: SlotMapping, situation: Situation) -> bool:
    return (
        _is_known(mapping, situation.domain)
        and _is_intent_wanted(mapping, situation)
        and (
            not mapping.conditions
            or mapping.type == "from_trigger_intent"
            or _is_condition_met(slot, mapping, situation)
        )
        and not _is_ambiguous_in_form(slot, mapping, situation)
    )


def _is_known(mapping: SlotMapping, domain: Domain) -> bool:
    if mapping.type == "from_entity":
        return mapping.entity in domain.entities
    if mapping.type == "from_intent":
        return all(intent in domain.intents for intent in mapping.intents)
    return True


def _is_intent_wanted(mapping: SlotMapping, situation: Situation) -> bool:
    intent = situation.message.intent if situation.message else None
    if mapping.intents:
        return intent in mapping.intents
    unwanted = set(mapping.not_intents)
    form = situation.domain.forms.get(situation.loop_name or "")
    if form and (not mapping.conditions or any(condition.active_loop == form.name for condition in mapping.conditions)):
        unwanted |= set(form.ignored_intents)
    return intent not in unwanted


def _is_condition_met(slot: Slot, mapping: SlotMapping, situation: Situation) -> bool:
    requested = situation.slots.get(REQUESTED_SLOT)
    if situation.loop is not None and situation.loop.rejected and requested == slot.name:
        return False
    loop = situation.loop_name
    return any(
        (condition.active_loop == loop and condition.requested_slot in (None, "", requested))
        if condition.active_loop
        else loop is None
        for condition in mapping.conditions
    )


def _mapping_key(mapping: SlotMapping) -> tuple[object, ...]:
    return (mapping.entity, mapping.role, mapping.group, mapping.intents, mapping.not_intents, mapping.conditions)


def _is_ambiguous_in_form(slot: Slot, mapping: SlotMapping, situation: Situation) -> bool:
    """True where the entity could fill two slots of the form: it then fills only the one that was asked for."""
    form = situation.domain.forms.get(situation.loop_name or "")
    if mapping.type != "from_entity" or form is None:
        return False
    if situation.slots.get(REQUESTED_SLOT) == slot.name or slot.name not in form.required_slots:
        return False
    key = _mapping_key(mapping)
    same = (
        other
        for name in form.required_slots
        if name in situation.domain.slots
        for other in situation.domain.slots[name].mappings
        if other.type == "from_entity" and _mapping_key(other) == key
    )
    return sum(1 for _ in same) != 1


def _values(mapping: SlotMapping, situation: Situation) -> list[Any]:
    match mapping.type:
        case "from_entity":
            return [
                entity.get("value")
                for entity in situation.entities
                if entity.get("entity") == mapping.entity
                and entity.get("role") == mapping.role
                and entity.get("group") == mapping.group
            ]
        case "from_intent":
            return [mapping.value]
        case "from_text":
            return [situation.message.text if situation.message else None]
        case "from_trigger_intent":
            loops = [condition.active_loop for condition in mapping.conditions]
            is_triggered = situation.loop is not None and (not loops or situation.loop.name in loops)
            return [mapping.value] if is_triggered else []
        case _:
            return []
