"""Explanations: parts that cover a text, and words that matter found by leaving them out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import IntentScore, Understanding
from models.explain import MAX_PARTS, occlude, parts_of


class Keywords:
    """Reads by a few words, so that what drives it is known."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def read(self, texts: Sequence[str]) -> list[Understanding]:
        self.batches.append(len(texts))
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> Understanding:
        refund = 0.97 if "refund" in text or "退" in text else 0.1
        if "not" in text:
            refund -= 0.06
        ranking = sorted((("return_item", refund), ("greet", 1 - refund)), key=lambda pair: -pair[1])
        return Understanding(
            text=text,
            ranking=tuple(IntentScore(name=name, confidence=chance) for name, chance in ranking),
            out_of_scope_score=0.0,
            is_out_of_scope=False,
            sentiment="negative" if "awful" in text else "neutral",
            sentiment_confidence=0.9,
            language="en",
            model_version="v",
        )


def test_the_word_that_drives_the_intent_is_found_in_one_batch() -> None:
    reader = Keywords()
    effects = {effect.part.text: effect for effect in occlude(reader, "why not my refund, please")}
    assert reader.batches == [7]
    assert list(effects) == ["why", "not", "my", "refund", ",", "please"]
    assert effects["refund"].effect > 3
    assert effects["refund"].without == "greet"
    assert effects["not"].effect < 0  # it speaks against the intent
    assert effects["please"].effect == 0
    assert effects["please"].without == "return_item"


def test_a_chinese_character_is_a_part_and_the_mood_has_its_own() -> None:
    effects = {effect.part.text: effect.effect for effect in occlude(Keywords(), "我要退货awful", "sentiment")}
    assert list(effects) == ["我", "要", "退", "货", "awful"]
    assert effects["awful"] > 2
    assert effects["退"] == 0
    intents = {effect.part.text: effect.effect for effect in occlude(Keywords(), "我要退货awful")}
    assert max(intents, key=lambda part: intents[part]) == "退"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("it's A-1001!!", ["it's", "A-1001", "!!"]),
        ("mail anna@example.com.", ["mail", "anna@example.com", "."]),
        ("订单A-1到哪", ["订", "单", "A-1", "到", "哪"]),
        ("👍 ok", ["👍", "ok"]),
        ("  ", []),
    ],
)
def test_parts_are_words_characters_and_runs_of_signs(text: str, parts: list[str]) -> None:
    assert [part.text for part in parts_of(text)] == parts


@given(st.text(max_size=80), st.integers(1, 12))
def test_parts_cover_everything_but_blanks_and_never_overlap(text: str, most: int) -> None:
    for parts in (parts_of(text), parts_of(text, most)):
        covered = [at for part in parts for at in range(part.start, part.end)]
        assert covered == sorted(set(covered))
        assert all(text[part.start : part.end] == part.text for part in parts)
        assert {at for at, character in enumerate(text) if not character.isspace()} <= set(covered)
    assert len(parts_of(text, most)) <= most


def test_a_long_text_costs_no_more_readings() -> None:
    reader = Keywords()
    effects = occlude(reader, "refund " + "very " * 500)
    assert reader.batches[0] <= MAX_PARTS + 1
    assert max(effects, key=lambda effect: effect.effect).part.text.startswith("refund")


def test_a_text_without_parts_has_nothing_to_leave_out() -> None:
    assert occlude(Keywords(), "   ") == ()
