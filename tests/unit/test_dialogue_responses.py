"""Responses: which variation is said, and what stands in its placeholders."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.assistant.domain import Domain
from bot.dialogue.responses import (
    bot_uttered,
    choose_variation,
    fill,
    generate,
    message_body,
    response_id,
    uttered_by_action,
)
from tests.dialogue import assistant_of

DOMAIN = """
intents: [greet]
slots:
  language: {type: categorical, values: [en, zh], influence_conversation: false, mappings: [{type: custom}]}
  vip: {type: bool, influence_conversation: false, mappings: [{type: custom}]}
  name: {type: text, influence_conversation: false, mappings: [{type: custom}]}
responses:
  utter_hello:
  - text: zh
    condition: [{type: slot, name: language, value: ZH}]
  - text: zh vip on slack
    channel: slack
    condition: [{type: slot, name: language, value: zh}, {type: slot, name: vip, value: true}]
  - text: slack
    channel: slack
  - text: default
  utter_only_slack:
  - {text: slack, channel: slack}
  utter_rest:
  - {text: plain}
  - {text: rest, channel: rest, id: r}
  utter_named:
  - {text: one, id: first}
  - {text: two}
  - {text: three, id: third}
  utter_named_twice:
  - {text: one, id: same}
  - {text: two, id: same}
  utter_rich:
  - text: "hi {name}"
    image: "https://x/{name}.png"
    id: a
    buttons: [{title: "{name}", payload: '/greet{{"x": "{name}"}}'}]
    custom: {deep: [{text: "{name}"}], n: 3}
"""


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> Domain:
    return assistant_of(tmp_path_factory.mktemp("bot"), {"domain.yml": DOMAIN}).domain


@pytest.mark.parametrize(
    ("slots", "channel", "said"),
    [
        ({}, "web", "default"),
        ({"language": "zh"}, "web", "zh"),
        ({"language": "en"}, "web", "default"),
        ({"language": "zh"}, "slack", "slack"),
        ({"language": "zh", "vip": True}, "slack", "zh vip on slack"),
        ({"language": "zh", "vip": "true"}, "slack", "slack"),
    ],
)
def test_channel_beats_condition_and_all_conditions_must_hold(
    domain: Domain, slots: dict[str, Any], channel: str, said: str
) -> None:
    variation = choose_variation(domain, "utter_hello", slots, (channel,), random.Random(0))
    assert variation is not None
    assert variation.body["text"] == said


def test_variation_of_another_channel_is_never_said(domain: Domain) -> None:
    assert choose_variation(domain, "utter_only_slack", {}, ("web",), random.Random(0)) is None
    assert choose_variation(domain, "utter_unknown", {}, ("web",), random.Random(0)) is None


def test_rest_is_addressed_by_both_its_names(domain: Domain) -> None:
    variation = choose_variation(domain, "utter_rest", {}, ("collector", "rest"), random.Random(0))
    assert variation is not None
    assert variation.body["text"] == "rest"


@pytest.mark.parametrize(
    ("name", "channels", "expected"),
    [
        ("utter_named", ("web",), "first"),
        ("utter_rest", ("collector", "rest"), "r"),
        ("utter_rest", ("web",), None),
        ("utter_named_twice", ("web",), None),
        ("utter_unknown", ("web",), None),
    ],
)
def test_nlg_server_is_told_the_id_of_the_first_variation_that_fits(
    domain: Domain, name: str, channels: tuple[str, ...], expected: str | None
) -> None:
    """As Rasa: no draw, and no id where two fitting variations have the same."""
    assert response_id(domain, name, {}, channels) == expected


def test_placeholders_are_filled_everywhere_and_the_domain_is_left_alone(domain: Domain) -> None:
    [variation] = domain.responses["utter_rich"]
    first, second = (generate(variation, {"name": name}) for name in ("Ann", "Bo"))
    assert first["buttons"] == [{"title": "Ann", "payload": '/greet{"x": "Ann"}'}]
    assert first["custom"] == {"deep": [{"text": "Ann"}], "n": 3}
    event = bot_uttered(second)
    assert (event.text, event.data["image"], event.metadata) == ("hi Bo", "https://x/Bo.png", {"id": "a"})
    assert message_body(event) == {"text": "hi Bo", **{k: v for k, v in event.data.items() if k != "attachment"}}


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("{a} and {b}", {"a": 1, "b": None}, "1 and None"),
        ("{a} and {c}", {"a": 1}, "{a} and {c}"),
        ("{{a}}", {"a": 1}, "{a}"),
        ("{a", {"a": 1}, "{a"),
        ("{}", {"a": 1}, "{}"),
        ("{a.__class__}", {"a": 1}, "{a.__class__}"),
        ("{a!r:>10}", {"a": 1}, "{a!r:>10}"),
    ],
)
def test_one_text(template: str, values: dict[str, Any], text: str) -> None:
    assert fill(template, values) == text


@given(st.text(max_size=30), st.text(max_size=30))
def test_what_a_customer_wrote_is_never_read_as_a_template(first: str, second: str) -> None:
    assert fill("<{a}|{b}>", {"a": first, "b": second, "secret": "SECRET"}) == f"<{first}|{second}>"


def test_custom_action_may_say_a_response_with_its_own_values_and_buttons(domain: Domain) -> None:
    own = {"name": "{vip}", "template": "utter_rich", "buttons": [{"title": "more"}], "text": None}
    [variation] = domain.responses["utter_rich"]
    draft = generate(variation, {"name": "slot", "vip": True, **own})
    said = uttered_by_action(own, {**draft, "utter_action": "utter_rich"})
    assert said.text == "hi {vip}"
    assert [button["title"] for button in said.data["buttons"]] == ["{vip}", "more"]
    assert said.metadata == {"id": "a", "utter_action": "utter_rich", "template": "utter_rich", "name": "{vip}"}
    assert draft["buttons"] == [{"title": "{vip}", "payload": '/greet{"x": "{vip}"}'}]


def test_custom_action_s_own_words_are_said_as_they_are(domain: Domain) -> None:
    said = uttered_by_action({"text": "hello {name}", "buttons": [], "custom": {}}, {})
    assert message_body(said) == {"text": "hello {name}"}


def test_disclosure_text_exists_for_both_languages(tmp_path: Path) -> None:
    brand = assistant_of(tmp_path, {"domain.yml": DOMAIN}).brand
    assert brand.disclosure("zh") != brand.disclosure("en")
    assert brand.disclosure(None) == brand.disclosure("en")
