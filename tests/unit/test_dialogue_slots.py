"""Slots fill from messages as the domain's mappings say (Rasa's `action_extract_slots`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.dialogue.effects import ActionCrashed, ActionRejected, ActionResult, EffectResult, RunAction
from bot.dialogue.events import SlotSet
from tests.dialogue import Conversation, assistant_of, words

DOMAIN = """
intents: [greet, inform, deny, chitchat, open]
entities: [city, tag, {place: {roles: [from, to]}}]
slots:
  city:
    type: text
    mappings:
    - {type: from_entity, entity: city, not_intent: chitchat}
  origin:
    type: text
    mappings:
    - {type: from_entity, entity: place, role: from}
    - {type: from_entity, entity: place, conditions: [{active_loop: trip, requested_slot: origin}]}
  target:
    type: text
    mappings:
    - {type: from_entity, entity: place, role: to}
    - {type: from_entity, entity: place, conditions: [{active_loop: trip, requested_slot: target}]}
  either:
    type: text
    mappings: [{type: from_entity, entity: tag}]
  other:
    type: text
    mappings: [{type: from_entity, entity: tag}]
  tags:
    type: list
    mappings: [{type: from_entity, entity: tag, conditions: [{active_loop: null}]}]
  refused:
    type: bool
    mappings: [{type: from_intent, intent: deny, value: false}]
  opened:
    type: text
    mappings: [{type: from_trigger_intent, intent: open, value: trip}]
  note:
    type: text
    mappings: [{type: from_text, conditions: [{active_loop: trip, requested_slot: note}], not_intent: [greet]}]
  shouted:
    type: bool
    mappings: [{type: custom, action: action_shout}]
  loud:
    type: bool
    mappings: [{type: custom, action: action_shout}]
forms:
  trip: {required_slots: [origin, target, either, other, note], ignored_intents: [chitchat]}
actions: [action_shout]
responses:
  utter_ask_origin: [{text: from?}]
  utter_ask_target: [{text: to?}]
  utter_ask_either: [{text: either?}]
  utter_ask_other: [{text: other?}]
  utter_ask_note: [{text: note?}]
  utter_ok: [{text: ok}]
"""
RULES = """
rules:
- rule: open
  steps:
  - intent: open
  - action: trip
  - active_loop: trip
- {rule: done, condition: [{active_loop: trip}], steps: [{action: trip}, {active_loop: null}, {action: utter_ok}]}
- {rule: inform, steps: [{intent: inform}, {action: utter_ok}]}
- {rule: deny, steps: [{intent: deny}, {action: utter_ok}]}
- {rule: chitchat, steps: [{intent: chitchat}, {action: utter_ok}]}
"""


@pytest.fixture
def chat(tmp_path: Path) -> Conversation:
    assistant = assistant_of(tmp_path, {"domain.yml": DOMAIN, "data/rules.yml": RULES})
    return Conversation.of(assistant, {"action_shout": lambda _: ActionResult()})


def entity(name: str, value: Any, **more: str) -> dict[str, Any]:
    return {"entity": name, "value": value, **more}


def changed(chat: Conversation) -> dict[str, Any]:
    return {k: v for k, v in chat.tracker.slots.items() if v is not None and k != "requested_slot"}


def test_entity_by_role_and_not_of_an_unwanted_intent(chat: Conversation) -> None:
    chat.say("x", "inform", entities=[entity("place", "A", role="from"), entity("place", "B", role="to")])
    chat.say("x", "chitchat", entities=[entity("city", "Rome")])
    assert changed(chat) == {"origin": "A", "target": "B"}
    chat.say("x", "inform", entities=[entity("city", "Rome"), entity("city", "Bonn")])
    assert changed(chat)["city"] == "Bonn"


def test_plain_entity_does_not_fill_a_slot_that_wants_a_role_and_the_other_way_round(chat: Conversation) -> None:
    chat.say("x", "inform", entities=[entity("place", "A"), entity("city", "Rome", role="from")])
    assert changed(chat) == {}


def test_list_slot_takes_all_values_and_only_outside_of_forms(chat: Conversation) -> None:
    chat.say("x", "inform", entities=[entity("tag", "a"), entity("tag", "b")])
    assert chat.tracker.slots["tags"] == ["a", "b"]
    chat.say("x", "open")
    chat.say("x", "inform", entities=[entity("tag", "c")])
    assert chat.tracker.slots["tags"] == ["a", "b"]


def test_false_is_a_value(chat: Conversation) -> None:
    chat.say("no", "deny")
    assert chat.tracker.slots["refused"] is False


def test_form_asks_in_order_and_fills_only_what_was_asked_where_an_entity_is_ambiguous(chat: Conversation) -> None:
    assert words(chat.say("x", "open")) == ["from?"]
    assert chat.tracker.slots["opened"] == "trip"
    assert words(chat.say("x", "inform", entities=[entity("place", "A")])) == ["to?"]
    assert (chat.tracker.slots["origin"], chat.tracker.slots["target"]) == ("A", None)
    assert words(chat.say("x", "inform", entities=[entity("place", "B")])) == ["either?"]
    assert words(chat.say("x", "inform", entities=[entity("tag", "t")])) == ["other?"]
    assert (chat.tracker.slots["either"], chat.tracker.slots["other"]) == ("t", None)


def test_free_text_fills_only_while_asked_for_and_not_with_ignored_intents(chat: Conversation) -> None:
    chat.say("x", "inform")
    for name in ("origin", "target", "either", "other"):
        chat.tracker.apply(SlotSet(name=name, value="x"))
    assert words(chat.say("x", "open")) == ["note?"]
    chat.say("lovely weather", "chitchat")
    assert chat.tracker.slots["note"] is None
    chat.say("ring twice", "inform")
    assert chat.tracker.slots["note"] == "ring twice"
    assert chat.tracker.situation.loop is None


@pytest.mark.parametrize(
    "answer", [ActionCrashed(error="boom"), ActionRejected(reason="no"), ActionResult(events=({"event": "nonsense"},))]
)
def test_custom_extractor_runs_once_and_its_failure_costs_nothing(chat: Conversation, answer: EffectResult) -> None:
    chat.actions["action_shout"] = lambda _: answer
    outcome = chat.say("x", "inform", entities=[entity("city", "Rome")])
    assert [effect.name for effect in chat.effects] == ["action_shout"]
    assert chat.tracker.slots["city"] == "Rome"
    assert outcome.messages


def test_custom_extractor_sees_the_message_and_only_its_slots_and_words_count(chat: Conversation) -> None:
    def shout(effect: RunAction) -> ActionResult:
        is_loud = effect.tracker["latest_message"]["text"].isupper()
        return ActionResult(
            events=({"event": "slot", "name": "loud", "value": is_loud}, {"event": "restart"}),
            responses=({"text": "not so loud"},),
        )

    chat.actions["action_shout"] = shout
    assert words(chat.say("HELP", "inform"))[0] == "not so loud"
    assert chat.tracker.slots["loud"] is True


def test_validation_of_mappings_replaces_what_it_names(tmp_path: Path) -> None:
    domain = DOMAIN.replace("actions: [action_shout]", "actions: [action_shout, action_validate_slot_mappings]")
    chat = Conversation.of(
        assistant_of(tmp_path, {"domain.yml": domain, "data/rules.yml": RULES}),
        {
            "action_shout": lambda _: ActionResult(),
            "action_validate_slot_mappings": lambda effect: ActionResult(
                events=tuple(
                    {"event": "slot", "name": "city", "value": event["value"].upper()}
                    for event in effect.tracker["events"][-2:]
                    if event["event"] == "slot" and event["name"] == "city"
                )
            ),
        },
    )
    chat.say("x", "inform", entities=[entity("city", "Rome"), entity("place", "A", role="from")])
    assert changed(chat) == {"city": "ROME", "origin": "A"}
