"""The starter speaks both languages everywhere, and its files stay valid and readable."""

import csv
import re
from collections import Counter

import pytest

from bot.assistant.domain import Variation
from bot.assistant.loader import Assistant, load_assistant
from bot.settings import STARTER

HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def starter() -> Assistant:
    return load_assistant(STARTER, {})


def _language(variation: Variation) -> str | None:
    language: str | None = dict(variation.conditions).get("language")
    return language


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
                assert button["payload"].removeprefix("/") in starter.domain.intents, name


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
