"""Retrieval intents from the files to the answer: trained, selected, said; and every mistake with its place."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bot.assistant.loader import Assistant, check_assistant, load_assistant
from bot.dialogue.events import to_json
from bot.dialogue.manager import compile_assistant
from bot.dialogue.parsing import parse_payload, to_parse_data
from bot.learning import train
from bot.settings import load_settings
from models.base import KIND
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests.dialogue import Conversation

FAQBOT = Path(__file__).parent.parent / "bots" / "faqbot"


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    folder = tmp_path_factory.mktemp("assistant") / "bot"
    shutil.copytree(FAQBOT, folder)
    (folder / "sentiment").mkdir()
    # Its own few moods: the starter's, which would be learned from otherwise, take most of a training this small.
    moods = (
        "text,label",
        "great,positive",
        "lovely,positive",
        "bad,negative",
        "awful,negative",
        "ok,neutral",
        "so,neutral",
    )
    (folder / "sentiment" / "en.csv").write_text("\n".join(moods))
    found = load_assistant(folder, {})
    return replace(found, brand=replace(found.brand, disclosure_enabled=False))


@pytest.fixture(scope="module")
def reader(assistant: Assistant, tmp_path_factory: pytest.TempPathFactory) -> TrainedUnderstander:
    settings = load_settings(home=tmp_path_factory.mktemp("home"))
    with Console(quiet=True) as console:
        outcome = train(settings, assistant, console=console)
    assert outcome.promoted
    registry = Registry(settings.models_dir, assistant.assistant_id)
    return load_understander(registry.path(KIND, outcome.version), 1)


def read(reader: TrainedUnderstander, assistant: Assistant, text: str, **more: bool) -> dict[str, Any]:
    return to_parse_data(reader.read([text])[0], None, assistant.domain, **more)


def say(conversation: Conversation, reader: TrainedUnderstander, text: str) -> list[str]:
    parse_data = read(reader, conversation.model.assistant, text)
    name = parse_data.pop("intent")
    turn = conversation.say(
        text, name["name"], **{k: v for k, v in parse_data.items() if k not in ("text", "entities")}
    )
    return [str(message.body.get("text")) for message in turn.messages]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("what are the opening hours please", "We are open from 9 to 18."),
        ("where is a place to park my car", "There are parking spaces behind the house."),
        ("can I pay with my credit card", "Cash and cards are both fine."),
        ("so what is your name", "I am the bot of this house."),
        ("what is the weather like today", "It is always warm in here."),
    ],
)
def test_each_question_gets_its_own_answer(
    assistant: Assistant, reader: TrainedUnderstander, text: str, answer: str
) -> None:
    assert say(Conversation.of(assistant), reader, text) == [answer]


def test_the_classifier_reads_the_intent_before_the_slash(reader: TrainedUnderstander) -> None:
    assert reader.manifest.intents == ("chitchat", "faq", "goodbye", "greet")
    assert 0.5 < reader.manifest.metrics["selector_faq_held_out_accuracy"] <= 1


def test_parse_data_have_rasas_shape(assistant: Assistant, reader: TrainedUnderstander) -> None:
    parse_data = read(reader, assistant, "is there parking for my car")
    assert parse_data["intent"]["name"] == "faq"
    assert parse_data["intent"]["full_retrieval_intent_name"] == "faq/ask_parking"
    assert [set(entry) for entry in parse_data["intent_ranking"]] == [{"name", "confidence"}] * 4
    selection = parse_data["response_selector"]
    assert set(selection) == {"all_retrieval_intents", "faq", "chitchat"}
    assert selection["all_retrieval_intents"] == ["chitchat", "faq"]
    picked = selection["faq"]
    assert picked["response"] == {
        "responses": [
            {
                "text": "There are parking spaces behind the house.",
                "buttons": [{"title": "Show the way", "payload": "/greet"}],
            }
        ],
        "confidence": picked["ranking"][0]["confidence"],
        "intent_response_key": "faq/ask_parking",
        "utter_action": "utter_faq/ask_parking",
    }
    assert {entry["intent_response_key"] for entry in picked["ranking"]} == {
        "faq/ask_hours",
        "faq/ask_parking",
        "faq/ask_payment",
    }
    assert sum(entry["confidence"] for entry in picked["ranking"]) == pytest.approx(1, abs=1e-5)


def test_a_selector_over_all_retrieval_intents_is_rasas_default(
    assistant: Assistant, reader: TrainedUnderstander
) -> None:
    selection = read(reader, assistant, "is it raining", selects_across=True)["response_selector"]
    assert selection["default"]["response"]["intent_response_key"] == "chitchat/ask_weather"
    assert len(selection["default"]["ranking"]) == 5
    assert sum(entry["confidence"] for entry in selection["default"]["ranking"]) == pytest.approx(1, abs=1e-5)


def test_the_pipeline_says_whether_there_is_one_selector_for_all(tmp_path: Path) -> None:
    shutil.copytree(FAQBOT, tmp_path / "bot")
    config = tmp_path / "bot" / "config.yml"
    assert not load_assistant(tmp_path / "bot", {}).selects_across
    config.write_text("pipeline:\n- name: ResponseSelector\n")
    assert load_assistant(tmp_path / "bot", {}).selects_across


def test_the_events_are_rasas(assistant: Assistant, reader: TrainedUnderstander) -> None:
    conversation = Conversation.of(assistant)
    parse_data = read(reader, assistant, "is there parking for my car")
    turn = conversation.say("is there parking for my car", "faq", response_selector=parse_data["response_selector"])
    assert turn.decisions[0].action == "utter_faq"
    assert dict(turn.messages[0].metadata)["utter_action"] == "utter_faq/ask_parking"


def test_a_payload_may_name_the_response(assistant: Assistant) -> None:
    turn = Conversation.of(assistant).say("/faq/ask_hours")
    assert [message.body["text"] for message in turn.messages] == ["We are open from 9 to 18."]
    assert parse_payload("/faq/ask_nothing", assistant.domain) is None
    assert parse_payload("/greet/again", assistant.domain) is None


def test_a_payload_without_a_response_says_the_default_instead_of_nothing(assistant: Assistant) -> None:
    turn = Conversation.of(assistant).say("/faq")
    assert [message.body["text"] for message in turn.messages] == ["Sorry, I did not understand that."]
    assert any("no selected response" in decision.why for decision in turn.decisions)


def test_exactly_as_rasa_it_says_nothing(assistant: Assistant) -> None:
    turn = Conversation(compile_assistant(assistant, is_exact=True)).say("/faq")
    assert turn.messages == ()


def test_a_response_that_was_deleted_is_not_selected(
    assistant: Assistant, reader: TrainedUnderstander, tmp_path: Path
) -> None:
    shutil.copytree(FAQBOT, tmp_path / "bot")
    _cut(tmp_path / "bot" / "domain.yml", "  utter_faq/ask_payment:\n  - text: Cash and cards are both fine.\n")
    _cut(tmp_path / "bot" / "data" / "nlu.yml", "- intent: faq/ask_payment\n", "- intent: faq/ask_hours\n")
    later = load_assistant(tmp_path / "bot", {})
    ranking = read(reader, later, "can I pay by card")["response_selector"]["faq"]["ranking"]
    assert {entry["intent_response_key"] for entry in ranking} == {"faq/ask_hours", "faq/ask_parking"}


@pytest.mark.parametrize(
    ("file", "old", "new", "message", "place"),
    [
        ("domain.yml", "faq/ask_hours:", "faq/ask_times:", "no response 'utter_faq/ask_hours'", "nlu.yml:19"),
        ("data/nlu.yml", "intent: chitchat/", "intent: greet #", "selects among its responses", "rules.yml:19"),
        ("data/rules.yml", "action: utter_faq", "action: utter_faqs", "there is no such response", "rules.yml:10"),
    ],
)  # fmt: skip
def test_mistakes_are_errors_with_their_place(
    tmp_path: Path, file: str, old: str, new: str, message: str, place: str
) -> None:
    shutil.copytree(FAQBOT, tmp_path / "bot")
    _cut(tmp_path / "bot" / file, old, new)
    errors = [p for p in check_assistant(tmp_path / "bot", {}) if p.level == "error"]
    assert any(message in p.message and place in str(p.where) for p in errors), errors


def _cut(path: Path, old: str, new: str = "") -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


RECORDED = json.loads((FAQBOT / "rasa.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("text", [text for text in RECORDED if text != "/faq"])
def test_parse_data_have_the_shape_of_a_live_rasas(
    assistant: Assistant, reader: TrainedUnderstander, text: str
) -> None:
    """Of Rasa 3.6.21, trained on the same files; same keys, same responses, confidences apart."""
    ours, rasas = read(reader, assistant, text), RECORDED[text]["parse_data"]
    assert {key: value for key, value in ours["intent"].items() if key != "confidence"} == {
        key: value for key, value in rasas["intent"].items() if key != "confidence"
    }
    for name in ("response_selector", "intent_ranking", "entities"):
        assert shape(ours[name]) == shape(rasas[name])
    picked = rasas["intent"]["name"]
    if picked in rasas["response_selector"]:
        assert without_confidence(ours, picked) == without_confidence(rasas, picked)


def shape(value: object) -> object:
    """The keys and kinds of a JSON value; a list has the kinds of its items and their number."""
    if isinstance(value, dict):
        return {key: len(part) if key == "responses" else shape(part) for key, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else type(value).__name__


def without_confidence(parse_data: dict[str, Any], intent: str) -> dict[str, Any]:
    response = parse_data["response_selector"][intent]["response"]
    return {key: value for key, value in response.items() if key != "confidence"}


@pytest.mark.parametrize("text", RECORDED)
def test_with_rasas_parse_data_the_events_are_rasas(assistant: Assistant, text: str) -> None:
    conversation = Conversation(compile_assistant(assistant, is_exact=True))
    parse_data = RECORDED[text]["parse_data"]
    more = {key: value for key, value in parse_data.items() if key not in ("text", "intent", "entities")}
    turn = conversation.say(text, parse_data["intent"]["name"], **more)
    ours = [to_json(event) for event in turn.events]
    assert [told(event) for event in ours] == [told(event) for event in RECORDED[text]["events"]]


def told(event: dict[str, Any]) -> tuple[Any, ...]:
    said = event.get("utter_action") or (event.get("metadata") or {}).get("utter_action")
    data = {key: value for key, value in (event.get("data") or {}).items() if value is not None}
    return event["event"], event.get("name"), event.get("text"), event.get("policy"), data, said
