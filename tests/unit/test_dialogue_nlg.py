"""Responses that an nlg server words: what the dialogue core asks, what becomes of the answer, and of none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.dialogue.effects import ActionCrashed, ActionResult, AskNlg, EffectResult, NlgAnswer, NlgFailed
from bot.dialogue.manager import DialogueModel, compile_assistant
from tests.dialogue import Conversation, assistant_of, failures, words

DOMAIN = """
intents: [hi, order, price, lost, restart, back, odd, faq]
slots:
  name: {type: text, initial_value: Ann, influence_conversation: false, mappings: [{type: custom}]}
  size:
    type: text
    influence_conversation: false
    mappings: [{type: from_text, conditions: [{active_loop: shoe, requested_slot: size}]}]
forms:
  shoe: {required_slots: [size]}
actions: [action_price, utter_served]
responses:
  utter_hi:
  - {text: "hi {name}", id: hi-1}
  utter_ask_size:
  - text: Which size?
  utter_price:
  - {text: "{amount} for {name}", id: p, buttons: [{title: buy, payload: /order}]}
  utter_restart:
  - text: again
  utter_back:
  - text: back
  utter_default:
  - text: sorry
  utter_ask_rephrase:
  - text: rephrase
"""
RULES = """
rules:
- {rule: hi, steps: [{intent: hi}, {action: utter_hi}]}
- {rule: order, steps: [{intent: order}, {action: shoe}, {active_loop: shoe}]}
- {rule: price, steps: [{intent: price}, {action: action_price}]}
- {rule: lost, steps: [{intent: lost}, {action: action_default_ask_rephrase}]}
- {rule: odd, steps: [{intent: odd}, {action: utter_served}]}
- {rule: restart, steps: [{intent: restart}, {action: action_restart}]}
- {rule: back, steps: [{intent: back}, {action: action_back}]}
"""
CONFIG = "policies: [{name: RulePolicy}]\n"
ENDPOINTS = "nlg: {url: 'http://127.0.0.1:9/nlg'}\n"
FILES = {"domain.yml": DOMAIN, "data/rules.yml": RULES, "config.yml": CONFIG, "endpoints.yml": ENDPOINTS}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> DialogueModel:
    return compile_assistant(assistant_of(tmp_path_factory.mktemp("bot"), FILES))


@pytest.fixture
def chat(model: DialogueModel) -> Conversation:
    """Its nlg server says each response's name, in braces that nobody may fill."""
    chat = Conversation(replace(model, asks_nlg=True))
    chat.nlg = lambda effect: NlgAnswer(message={"text": f"{effect.response} {{name}}", "id": "theirs"})
    return chat


def asked(chat: Conversation) -> list[AskNlg]:
    return [effect for effect in chat.effects if isinstance(effect, AskNlg)]


def test_response_is_said_as_the_server_words_it(chat: Conversation) -> None:
    outcome = chat.say("hello", "hi", channel="webchat")
    assert words(outcome) == ["utter_hi {name}"]
    assert outcome.messages[0].metadata == {"id": "theirs", "utter_action": "utter_hi"}
    assert failures(outcome) == []
    [effect] = asked(chat)
    assert (effect.response, effect.response_id, effect.arguments, effect.channel) == (
        "utter_hi",
        "hi-1",
        {},
        "webchat",
    )


def test_server_is_told_the_conversation_as_rasa_tells_it(chat: Conversation) -> None:
    chat.say("hello", "hi")
    [effect] = asked(chat)
    assert effect.channel == "collector"
    assert effect.tracker["sender_id"] == "customer"
    assert effect.tracker["slots"]["name"] == "Ann"
    assert effect.tracker["latest_message"]["text"] == "hello"
    # The action that speaks is not logged yet, and nothing of ours is in it.
    kinds = [event["event"] for event in effect.tracker["events"]]
    assert kinds == ["action", "session_started", "action", "user", "user_featurization"]
    assert "idempotency_key" not in str(effect.tracker)


@pytest.mark.parametrize(
    ("intent", "response"),
    [
        ("restart", "utter_restart"),
        ("back", "utter_back"),
        ("lost", "utter_ask_rephrase"),
        ("faq", "utter_default"),
        ("odd", "utter_served"),
    ],
)
def test_built_in_responses_and_those_the_domain_lacks_are_asked_for(
    chat: Conversation, intent: str, response: str
) -> None:
    assert words(chat.say(f"/{intent}")) == [f"{response} {{name}}"]


def test_form_asks_in_the_server_s_words(chat: Conversation) -> None:
    assert words(chat.say("/order")) == ["utter_ask_size {name}"]
    [effect] = asked(chat)
    assert effect.response == "utter_ask_size"
    # As in Rasa: the form runs, and the slot it is about to ask for is logged after the question.
    assert (effect.tracker["active_loop"]["name"], effect.tracker["slots"]["requested_slot"]) == ("shoe", None)


PRICE: Mapping[str, Any] = {
    "response": "utter_price",
    "amount": 3,
    "text": None,
    "image": None,
    "buttons": [{"title": "more", "payload": "/hi"}],
}


def test_custom_action_s_values_are_told_and_its_buttons_come_after_the_server_s(chat: Conversation) -> None:
    chat.actions["action_price"] = lambda _: ActionResult(responses=(dict(PRICE), {"text": "own {name}"}))
    theirs = {"text": "3 euros", "buttons": [{"title": "buy", "payload": "/order"}]}
    chat.nlg = lambda _: NlgAnswer(message=theirs)
    outcome = chat.say("/price")
    assert words(outcome) == ["3 euros", "own {name}"]
    first = outcome.messages[0]
    assert [button["title"] for button in first.body["buttons"]] == ["buy", "more"]
    assert first.metadata == {"utter_action": "utter_price", "amount": 3}
    [effect] = asked(chat)
    # As Rasa: all that came with the response, and no id.
    assert effect.arguments == {key: value for key, value in PRICE.items() if key != "response"}
    assert effect.response_id is None
    assert theirs == {"text": "3 euros", "buttons": [{"title": "buy", "payload": "/order"}]}


def test_the_domain_answers_where_the_server_does_not(chat: Conversation) -> None:
    chat.nlg = lambda _: NlgFailed(why="it answered 500")
    chat.actions["action_price"] = lambda _: ActionResult(responses=(dict(PRICE),))
    outcome = chat.say("/hi")
    assert words(outcome) == ["hi Ann"]
    assert outcome.messages[0].metadata == {"id": "hi-1", "utter_action": "utter_hi"}
    assert failures(outcome) == ["the nlg server did not word 'utter_hi': it answered 500"]
    priced = chat.say("/price").messages[0]
    assert priced.body["text"] == "3 for Ann"
    assert [button["title"] for button in priced.body["buttons"]] == ["buy", "more"]


def test_neither_the_server_nor_the_domain_has_the_response(chat: Conversation) -> None:
    chat.nlg = lambda _: NlgFailed(why="it answered 404")
    chat.actions["action_price"] = lambda _: ActionResult(responses=({"response": "utter_none"}, {"text": "own"}))
    outcome = chat.say("/price")
    assert words(outcome) == ["own"]
    assert failures(outcome) == [
        "the nlg server did not word 'utter_none': it answered 404",
        "action_price says 'utter_none', which is no response of the domain",
    ]


@pytest.mark.parametrize(
    ("answer", "said", "notes"),
    [
        (NlgAnswer(message={"text": "oh"}), "oh", ["action_price crashed: boom"]),
        (
            NlgFailed(why="it answered 500"),
            "sorry",
            ["action_price crashed: boom", "the nlg server did not word 'utter_default': it answered 500"],
        ),
    ],
)
def test_after_a_crash_the_apology_is_asked_for_too(
    chat: Conversation, answer: EffectResult, said: str, notes: list[str]
) -> None:
    chat.actions["action_price"] = lambda _: ActionCrashed(error="boom")
    chat.nlg = lambda _: answer
    outcome = chat.say("/price")
    assert words(outcome) == [said]
    assert failures(outcome) == notes


@pytest.mark.parametrize("is_exact", [True, False])
def test_nobody_is_asked_unless_the_model_says_so(model: DialogueModel, is_exact: bool) -> None:
    chat = Conversation(replace(model, is_exact=is_exact))
    assert words(chat.say("/hi")) == ["hi Ann"]
    assert chat.effects == []


def test_response_that_only_the_server_knows_needs_one(tmp_path: Path) -> None:
    assistant = assistant_of(tmp_path / "with", FILES)
    [warning] = [problem for problem in assistant.warnings if "utter_served" in problem.message]
    assert warning.message == "the action 'utter_served' has no response"
    with pytest.raises(Exception, match="the action 'utter_served' has no response"):
        assistant_of(tmp_path / "without", FILES | {"endpoints.yml": ""})
