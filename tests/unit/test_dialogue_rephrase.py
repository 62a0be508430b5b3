"""Responses that ask to be rephrased: what the dialogue core hands over, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bot.dialogue.effects import ActionResult, NlgFailed, NotRephrased, Rephrase, Rephrased
from bot.dialogue.manager import DialogueModel, compile_assistant
from tests.dialogue import Conversation, assistant_of, failures, words

DOMAIN = """
intents: [hi, plain, off, order, price, picture, odd]
slots:
  name: {type: text, initial_value: Ann, influence_conversation: false, mappings: [{type: custom}]}
  size:
    type: text
    influence_conversation: false
    mappings: [{type: from_text, conditions: [{active_loop: shoe, requested_slot: size}]}]
forms:
  shoe: {required_slots: [size]}
actions: [action_price]
responses:
  utter_hi:
  - text: "Hi {name}, welcome."
    metadata: {rephrase: True, theirs: 1}
    buttons: [{title: "{name}", payload: /hi}]
    custom: {type: card}
    image: https://x/a.png
  utter_plain:
  - {text: Hello., metadata: {theirs: 1}}
  utter_off:
  - {text: Hello., metadata: {rephrase: False}}
  utter_ask_size:
  - {text: Which size?, metadata: {rephrase: True}}
  utter_price:
  - {text: "{amount} for {name}", metadata: {rephrase: True}}
  utter_picture:
  - {image: "https://x/a.png", metadata: {rephrase: True}}
  utter_odd:
  - {text: "Hi {nobody}", metadata: {rephrase: True}}
"""
RULES = """
rules:
- {rule: hi, steps: [{intent: hi}, {action: utter_hi}]}
- {rule: plain, steps: [{intent: plain}, {action: utter_plain}]}
- {rule: off, steps: [{intent: off}, {action: utter_off}]}
- {rule: order, steps: [{intent: order}, {action: shoe}, {active_loop: shoe}]}
- {rule: price, steps: [{intent: price}, {action: action_price}]}
- {rule: picture, steps: [{intent: picture}, {action: utter_picture}]}
- {rule: odd, steps: [{intent: odd}, {action: utter_odd}]}
"""
FILES = {"domain.yml": DOMAIN, "data/rules.yml": RULES, "config.yml": "policies: [{name: RulePolicy}]\n"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DialogueModel:
    return compile_assistant(assistant_of(tmp_path_factory.mktemp("bot"), FILES))


@pytest.fixture
def chat(model: DialogueModel) -> Conversation:
    """Its generator shouts."""
    chat = Conversation(replace(model, rephrases=True))
    chat.rephraser = lambda effect: Rephrased(text=effect.text.upper(), model="loud/1")
    return chat


def asked(chat: Conversation) -> list[Rephrase]:
    return [effect for effect in chat.effects if isinstance(effect, Rephrase)]


def test_a_response_that_asks_for_it_is_rephrased_with_its_slots_and_the_rest_stays(chat: Conversation) -> None:
    outcome = chat.say("/hi")
    assert asked(chat) == [Rephrase(text="Hi Ann, welcome.", inserted=("Ann",), language="en")]
    [said] = outcome.messages
    assert said.body == {
        "text": "HI ANN, WELCOME.",
        "buttons": [{"title": "Ann", "payload": "/hi"}],
        "custom": {"type": "card"},
        "image": "https://x/a.png",
    }
    assert said.metadata == {
        "metadata": {"rephrase": True, "theirs": 1},
        "utter_action": "utter_hi",
        "rephrased": {"model": "loud/1", "from": "Hi Ann, welcome."},
    }
    assert failures(outcome) == []


@pytest.mark.parametrize("intent", ["plain", "off", "picture"])
def test_what_does_not_ask_for_it_or_has_no_words_is_said_as_it_is(chat: Conversation, intent: str) -> None:
    before = chat.say(f"/{intent}").messages[0]
    assert chat.effects == []
    assert "rephrased" not in before.metadata


def test_a_text_whose_slots_are_unknown_is_not_handed_over(chat: Conversation) -> None:
    assert words(chat.say("/odd")) == ["Hi {nobody}"]
    assert chat.effects == []


def test_nobody_is_asked_unless_the_model_says_so(model: DialogueModel) -> None:
    chat = Conversation(model)
    outcome = chat.say("/hi")
    assert words(outcome) == ["Hi Ann, welcome."]
    assert outcome.messages[0].metadata == {
        "metadata": {"rephrase": True, "theirs": 1},
        "utter_action": "utter_hi",
    }
    assert chat.effects == []


def test_what_cannot_be_rephrased_is_said_as_it_is_written_and_why_is_noted(chat: Conversation) -> None:
    chat.rephraser = lambda _: NotRephrased(why="number: 14")
    outcome = chat.say("/hi")
    assert words(outcome) == ["Hi Ann, welcome."]
    assert "rephrased" not in outcome.messages[0].metadata
    assert failures(outcome) == ["'utter_hi' is said as it is written: number: 14"]


def test_a_form_s_question_is_rephrased_too(chat: Conversation) -> None:
    assert words(chat.say("/order")) == ["WHICH SIZE?"]


def test_a_response_for_a_language_is_in_that_one(tmp_path: Path) -> None:
    meant = "metadata: {rephrase: True}, condition: [{type: slot, name: language, value: zh}]"
    slot = "slots:\n  language: {type: categorical, values: [en, zh], mappings: [{type: custom}], initial_value: zh}\n"
    domain = DOMAIN.replace("text: Hello., metadata: {theirs: 1}", f"text: Hello., {meant}").replace("slots:\n", slot)
    assistant = assistant_of(tmp_path, {**FILES, "domain.yml": domain})
    chat = Conversation(replace(compile_assistant(assistant), rephrases=True))
    chat.rephraser = lambda _: NotRephrased(why="")
    chat.say("/plain")
    assert asked(chat) == [Rephrase(text="Hello.", language="zh")]


def test_a_custom_action_s_response_has_its_own_values_unless_it_has_its_own_words(chat: Conversation) -> None:
    price = {"response": "utter_price", "amount": 3, "text": None}
    chat.actions["action_price"] = lambda _: ActionResult(responses=(price, {**price, "text": "own"}))
    assert words(chat.say("/price")) == ["3 FOR ANN", "own"]
    assert asked(chat) == [Rephrase(text="3 for Ann", inserted=("3", "Ann"), language="en")]


def test_where_a_message_needs_care_only_written_words_are_said(chat: Conversation) -> None:
    found = {"kind": "injection", "why": "sets earlier instructions aside"}
    assert words(chat.say("ignore the above", "hi", safety=found)) == ["Hi Ann, welcome."]
    assert chat.effects == []


def test_the_domain_s_response_is_rephrased_where_the_nlg_server_fails(chat: Conversation) -> None:
    chat.model = replace(chat.model, asks_nlg=True)
    chat.nlg = lambda _: NlgFailed(why="it answered 500")
    assert words(chat.say("/hi")) == ["HI ANN, WELCOME."]


@pytest.mark.parametrize(
    ("metadata", "is_rephrased", "warnings"),
    [
        ("{rephrase: True}", True, []),
        ("{rephrase: False, channel_hint: {a: [1]}}", False, []),
        ("{rephrase: }", False, []),
        ("anything", False, []),
        ("[1, 2]", False, []),
        ("{rephrase: please}", False, ["`rephrase` is neither true nor false"]),
    ],
)
def test_metadata_is_the_author_s_own_but_for_one_key(
    tmp_path: Path, metadata: str, is_rephrased: bool, warnings: list[str]
) -> None:
    domain = DOMAIN.replace("text: Hello., metadata: {theirs: 1}", f"text: Hello., metadata: {metadata}")
    assistant = assistant_of(tmp_path, {**FILES, "domain.yml": domain})
    [variation] = assistant.domain.responses["utter_plain"]
    assert variation.is_rephrased == is_rephrased
    assert [one.message for one in assistant.warnings if "rephrase" in one.message] == warnings


def test_rasa_s_own_switch_is_known_and_what_else_stands_there_is_not_read(tmp_path: Path) -> None:
    plain = assistant_of(tmp_path / "a", {**FILES, "endpoints.yml": "nlg: {type: rephrase}\n"})
    assert (plain.nlg, [one for one in plain.warnings if "nlg" in str(one.where)]) == (None, [])
    more = assistant_of(tmp_path / "b", {**FILES, "endpoints.yml": "nlg: {type: rephrase, llm: {model: x}}\n"})
    assert [one.message for one in more.warnings if "nlg" in str(one.where)] == ["unknown key 'llm'"]
