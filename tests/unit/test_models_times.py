"""Times of day and numbers of any length: what customers write never makes the search for values fail."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.assistant.loader import load_assistant, load_tests
from bot.settings import STARTER
from models.english_times import ENGLISH_CLOCKS, ENGLISH_CUE, ENGLISH_RULES
from models.moments import Reference
from models.numerals import chinese_value, digits_value
from models.times import find_days
from models.value_options import DIMENSIONS, ValueOptions
from models.values import ValueFinder

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 3, 2, tzinfo=BERLIN)
EVERYTHING = ValueFinder(ValueOptions(entities={name: name for name in DIMENSIONS}, timezone="Europe/Berlin"))
TIMES = ValueFinder(ValueOptions(entities={"time": "time"}, timezone="Europe/Berlin"))


@pytest.mark.parametrize("digit", range(1, 10))
def test_a_minute_below_ten_is_read_as_it_is_said(digit: int) -> None:
    text = f"明天三点零{'零一二三四五六七八九'[digit]}分送来"
    (found,) = TIMES.find(text, NOW)
    assert (found.value, text[found.start : found.end]) == (f"2026-11-24T03:0{digit}:00.000+01:00", text[:-2])


def test_a_minute_below_ten_needs_no_word_for_minutes() -> None:
    (found,) = TIMES.find("三点零九", NOW)
    assert found.value == "2026-11-23T03:09:00.000+01:00"


def test_below_zero_is_no_minute() -> None:
    (found,) = TIMES.find("今天3点零下5度", NOW)
    assert found.value == "2026-11-23T03:00:00.000+01:00"


_PIECES = ["点零", "十点", "星期", "小时", "花了", *"点零半分刻钟年月日号上下周天前后个多明今晚万亿块元.,: %"]
_NUMERALS = [*"0123456789一二两三四五六七八九十百千〇"]


@settings(max_examples=1000)
@given(st.lists(st.sampled_from(_PIECES + _NUMERALS), max_size=12).map("".join))
def test_no_order_of_words_of_time_makes_the_search_fail(text: str) -> None:
    for found in EVERYTHING.find(text, NOW):
        assert 0 <= found.start < found.end <= len(text)


@pytest.mark.parametrize("digits", ["1" * 17, "1" * 400, "9" * 3000, "1." + "1" * 400])
@pytest.mark.parametrize("unit", ["万元", "亿", "元", "万亿个", " euros", ""])
def test_a_number_longer_than_numbers_are_is_none(digits: str, unit: str) -> None:
    assert [one.value for one in EVERYTHING.find(f"花了{digits}{unit}", NOW) if one.entity != "phone-number"] == []


def test_figures_of_usual_length_still_count() -> None:
    (found,) = ValueFinder(ValueOptions(entities={"amount-of-money": "amount-of-money"}, timezone="UTC")).find(
        "花了1.5万元", NOW
    )
    assert found.value == 15000


@pytest.mark.parametrize("text", ["1" * 400 + "万", "九" * 400, "1" * 17 + "亿"])
def test_chinese_figures_without_end_have_no_value(text: str) -> None:
    assert chinese_value(text) is None


@pytest.mark.parametrize("text", ["inf", "nan", "1e999"])
def test_what_no_finite_number_is_has_no_value(text: str) -> None:
    assert digits_value(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("the 618 sale", ["618"]),
        ("618大促", ["618"]),
        ("since 3/5 please", ["3/5"]),
        ("TOMORROW", ["TOMORROW"]),
        ("明天 or tomorrow or 3/5", ["明天", "tomorrow", "3/5"]),
        ("？！…", []),
    ],
)
def test_a_text_is_read_by_the_rules_of_every_script_it_holds(text: str, found: list[str]) -> None:
    reference = Reference(now=datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Berlin")))
    assert [text[day.start : day.end] for day in find_days(text, reference)] == found


_WORDS = (
    "a an the in at on by since until of last next this coming day days week weeks month year hours mins sec "
    "wk twodays couple few ten twelve first second third may march jan sept tuesday fri sat sun tmr tommorow "
    "yesterday tonight night morning afternoon noon midday midnight o'clock clock christmas new year's eve "
    "black friday easter good halloween valentine's boxing end weekend ago later from now half 5 2026 3pm"
)


@settings(max_examples=2000)
@given(st.lists(st.sampled_from(_WORDS.split() + [" "] * 60), min_size=1, max_size=12).map("".join))
@example("the firstmay")
def test_no_english_time_is_found_where_its_cue_is_missing(text: str) -> None:
    assert ENGLISH_CUE.search(text) or not named_by_a_rule(text)


def test_no_english_time_of_the_starters_texts_lacks_its_cue() -> None:
    tests, assistant = load_tests(STARTER), load_assistant(STARTER, {})
    texts = [e.text for e in (*tests.nlu.examples, *assistant.nlu.examples, *assistant.sentiment, *tests.sentiment)]
    without = [text for text in texts if not ENGLISH_CUE.search(text)]
    assert len(without) > 3000  # the cue is worth looking for
    assert [text for text in without if named_by_a_rule(text)] == []


def named_by_a_rule(text: str) -> bool:
    return any(pattern.search(text) for pattern, _ in (*ENGLISH_RULES, *ENGLISH_CLOCKS))
