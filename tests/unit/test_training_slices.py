"""Slices: each text in one slice a dimension, and the gaps between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.slices import MIN_SLICE, gaps, length_of, mixing_of, slice_scores, slices_of, tone_of


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("hi", "short"),
        ("where is my order please", "short"),
        ("where is my order please now", "medium"),
        (" ".join(["word"] * 16), "long"),
        ("我的订单到哪了", "short"),  # 7 characters, under 5 words
        ("我的订单到哪了啊啊", "medium"),
        ("字" * 23, "long"),
        ("", "short"),
    ],
)
def test_length_counts_words_and_two_thirds_of_a_word_a_character(text: str, length: str) -> None:
    assert length_of(text) == length


@pytest.mark.parametrize(
    ("text", "tone"),
    [
        ("where is my order", "plain"),
        ("where is my order, please", "polite"),
        ("this is ridiculous, where is it", "angry"),
        ("please!! now", "angry"),
        ("WHERE IS MY ORDER", "angry"),
        ("my TV and my PC", "plain"),
        ("麻烦您查一下", "polite"),
        ("快点please", "polite"),
        ("垃圾店", "angry"),
        ("我想退货", "plain"),
        ("hello", "plain"),
        ("shell lamp, pleased", "plain"),
    ],
)
def test_tone_follows_its_word_lists(text: str, tone: str) -> None:
    assert tone_of(text) == tone


@pytest.mark.parametrize(
    ("text", "mixing"),
    [
        ("我的order到哪了", "mixed"),
        ("我的订单A-1001到哪了", "one script"),
        ("发到anna@example.com吧", "one script"),
        ("where is my order", "one script"),
        ("要个XL的", "mixed"),
        ("我要T恤", "one script"),
    ],
)
def test_mixing_wants_both_scripts_and_no_mere_number_or_address(text: str, mixing: str) -> None:
    assert mixing_of(text) == mixing


@given(st.text(max_size=60))
def test_every_text_has_a_slice_in_every_dimension(text: str) -> None:
    found = slices_of(text, None)
    assert set(found) == {"language", "length", "tone", "scripts"}
    assert all(found.values())
    assert slices_of(text, "zh")["language"] == "zh"


def test_scores_and_gaps_are_of_thick_slices() -> None:
    rows = [("where is it", "en", i % 10 > 0) for i in range(100)]
    rows += [("在哪", "zh", i % 2 > 0) for i in range(40)]
    rows += [("wo ist es", "de", False)] * (MIN_SLICE - 1)
    scores = {(s.dimension, s.name): s for s in slice_scores(rows)}
    assert {name for dimension, name in scores if dimension == "language"} == {"en", "zh", "de"}
    assert not any(dimension == "tone" for dimension, _ in scores)  # all alike
    english = scores["language", "en"]
    assert (english.n, english.accuracy) == (100, 0.9)
    assert english.low < 0.9 < english.high
    (gap,) = gaps(tuple(scores.values()))
    assert (gap.dimension, gap.best, gap.worst) == ("language", "en", "zh")
    assert gap.difference == pytest.approx(0.4)


def test_texts_read_thrice_count_once() -> None:
    rows = [("where is it", "en", True), ("在哪", "zh", False)] * 30
    once, thrice = slice_scores(rows), slice_scores(rows * 3, repeats=3)
    assert once == thrice
