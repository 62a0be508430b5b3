"""The starter speaks both languages everywhere, and its files stay valid and readable."""

import csv
import re
from collections import Counter
from typing import TypeGuard

import pytest

from bot.assistant.domain import DEFAULT_INTENTS, Variation
from bot.assistant.loader import Assistant, load_assistant
from bot.assistant.stories import LoopStep, Step, UserStep
from bot.settings import STARTER
from bot.starter.actions.seasons import FEASTS, TIMES_OF_DAY
from bot.starter.actions.turns import DETAILS

STATUSES = ("placed", "packed", "shipped", "delivered", "delayed", "returned", "cancelled")
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def starter() -> Assistant:
    return load_assistant(STARTER, {})


def _language(variation: Variation) -> str | None:
    language: str | None = dict(variation.conditions).get("language")
    return language


def _is_user(step: Step) -> TypeGuard[UserStep]:
    return isinstance(step, UserStep)


def test_starter_is_valid_without_a_warning(starter: Assistant) -> None:
    assert starter.warnings == ()


def test_every_response_is_there_in_both_languages_and_without_a_condition_last(starter: Assistant) -> None:
    for name, variations in starter.domain.responses.items():
        languages = [_language(variation) for variation in variations]
        assert set(languages) == {"en", "zh", None}, name
        assert languages.index(None) == len(languages) - 1, name


def test_words_and_buttons_are_in_the_language_they_are_for(starter: Assistant) -> None:
    for name, variations in starter.domain.responses.items():
        for variation in variations:
            buttons = variation.body.get("buttons") or []
            for text in [variation.body["text"], *(button["title"] for button in buttons)]:
                assert bool(HAN.search(text)) is (_language(variation) == "zh"), f"{name}: {text}"


def test_every_button_names_an_intent(starter: Assistant) -> None:
    for name, variations in starter.domain.responses.items():
        for variation in variations:
            for button in variation.body.get("buttons") or []:
                intent = button["payload"].removeprefix("/").split("{")[0]
                assert intent in starter.domain.intents, name


def test_every_intent_is_answered_by_a_rule_that_needs_nothing_else(starter: Assistant) -> None:
    answered = {
        step.intent for rule in starter.rules if not rule.conditions for step in rule.steps[:1] if _is_user(step)
    }
    assert answered >= set(starter.domain.intents) - {"restart", "back", "session_start"}
    understood = (set(starter.domain.intents) - set(DEFAULT_INTENTS)) | {"out_of_scope"}
    assert len(understood - {"ask_knowledge", *starter.config.safety.intents.values()}) == 31


def test_every_form_has_an_end_and_its_answers_are_forgotten(starter: Assistant) -> None:
    ended = {
        step.name
        for rule in starter.rules
        for step in rule.conditions
        if isinstance(step, LoopStep) and any(isinstance(s, LoopStep) and s.name is None for s in rule.steps)
    }
    assert ended == set(starter.domain.forms)
    asked_for = {slot for form in starter.domain.forms.values() for slot in form.required_slots}
    assert asked_for == set(DETAILS)


def test_everything_that_is_said_by_name_exists(starter: Assistant) -> None:
    """Responses that the actions name in their code, or build from a status, a feast or a way of returning."""
    code = "".join(file.read_text(encoding="utf-8") for file in (STARTER / "actions").glob("*.py"))
    named = set(re.findall(r'"(utter_[a-z_]+)"', code)) - {"utter_action"}
    built = {
        *(f"utter_greet_{occasion}" for occasion in (*FEASTS, *TIMES_OF_DAY)),
        *(f"utter_order_{status}" for status in STATUSES),
        *(f"utter_return_{refusal}" for refusal in ("not_delivered", "too_late", "made_to_measure")),
        *(f"utter_return_registered_{way}" for way in ("eu", "cn", "other")),
    }
    assert named | built <= set(starter.domain.responses)
    rules = (STARTER / "data/rules.yml").read_text(encoding="utf-8")
    asked = {name for name in starter.domain.responses if name.startswith("utter_ask_")}
    by_platform = {"utter_default", "utter_restart", "utter_back", "utter_no_answer"}
    by_platform |= {"utter_suggestions", "utter_no_suggestions"}
    assert set(starter.domain.responses) - named - built - asked - by_platform <= set(re.findall(r"utter_\w+", rules))


def test_all_variations_fill_in_the_same_facts(starter: Assistant) -> None:
    """A fact that only one language tells has been forgotten in the other, or stands for a text of code."""
    may_differ = {"order_number", "items", "carrier"}
    for name, variations in starter.domain.responses.items():
        facts = [set(re.findall(r"(?<!\{)\{(\w+)\}", variation.body["text"])) - may_differ for variation in variations]
        assert facts.count(facts[0]) == len(facts), name


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sentiment_sentences_are_enough_and_differ(language: str) -> None:
    with (STARTER / "sentiment" / f"{language}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["text"].casefold() for row in rows}) == len(rows) >= 200
    counts = Counter(row["label"] for row in rows)
    assert counts.keys() == {"negative", "neutral", "positive"}
    assert min(counts.values()) >= 60


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("one", "other"), [("primary", "on_primary"), ("background", "text")])
def test_colours_can_be_read(starter: Assistant, one: str, other: str) -> None:
    light, dark = sorted((_luminance(starter.brand.colors[name]) for name in (one, other)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
