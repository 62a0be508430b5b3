"""How the bank and the clinic read days, amounts, card digits and contacts. Monday 23 November 2026 is today here."""

from __future__ import annotations

import time
from datetime import date

import pytest

from bot.templates.bank.actions import details as bank
from bot.templates.bank.actions.mood import Mood, mood_after
from bot.templates.clinic.actions import details as clinic
from bot.templates.clinic.actions.departments import departments, find_department
from bot.templates.clinic.actions.emergency import kind_of

TODAY = date(2026, 11, 23)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("tomorrow", "2026-11-24"),
        ("the day after tomorrow please", "2026-11-25"),
        ("Thursday would be great", "2026-11-26"),
        ("Monday", "2026-11-23"),
        ("next Monday", "2026-11-30"),
        ("the 14th of January", "2027-01-14"),
        ("Feb 2nd", "2027-02-02"),
        ("2027-03-08", "2027-03-08"),
        ("3/12", "2026-12-03"),
        ("明天上午", "2026-11-24"),
        ("后天", "2026-11-25"),
        ("大后天", "2026-11-26"),
        ("周五吧", "2026-11-27"),
        ("下周二", "2026-12-01"),
        ("下下周二", "2026-12-08"),
        ("星期天", "2026-11-29"),
        ("12月5号", "2026-12-05"),
        ("下个月3号", "2026-12-03"),
        ("yesterday", None),
        ("2026-11-22", None),
        ("in July 2031", None),
        ("31 June", None),
        ("some day", None),
        ("随便哪天", None),
        ("call 020 7946 0417", None),
        ("13800005521", None),
        ("to 3/12@example.com", None),
    ],
)
def test_the_clinic_reads_days_ahead(text: str, day: str | None) -> None:
    assert clinic.read_day(text, TODAY) == (date.fromisoformat(day) if day else None)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("yesterday", "2026-11-22"),
        ("the day before yesterday", "2026-11-21"),
        ("last Friday", "2026-11-20"),
        ("on Monday", "2026-11-16"),
        ("3 November", "2026-11-03"),
        ("24 December", "2025-12-24"),
        ("05.11.2026", "2026-11-05"),
        ("昨天", "2026-11-22"),
        ("大前天", "2026-11-20"),
        ("上周五扣的", "2026-11-20"),
        ("上上周五", "2026-11-13"),
        ("11月3号", "2026-11-03"),
        ("上个月15号", "2026-10-15"),
        ("2026-11-24", None),
        ("tomorrow", None),
        ("no idea", None),
    ],
)
def test_the_bank_reads_days_behind_us(text: str, day: str | None) -> None:
    assert bank.read_past_day(text, TODAY) == (date.fromisoformat(day) if day else None)


# Written in 2026 of a year before or after, as people write it; today is 10 June 2026.
_YEARS = ("3/5/{year}", "03.05.{year}", "3/5/{short}", "3 May {year}", "3rd of May, {year}", "3 May '{short}",
          "May 3, {year}", "May 3rd {year}", "{year}-05-03", "{year}年5月3日", "{short}年5月3号")  # fmt: skip


@pytest.mark.parametrize("written", [*_YEARS, "前年5月3日"])
def test_the_bank_keeps_to_the_year_that_is_written(written: str) -> None:
    text = written.format(year=2024, short=24)
    assert bank.read_past_day(text, date(2026, 6, 10)) == date(2024, 5, 3)
    assert bank.read_past_day(f"it was {text}, sorry", date(2026, 6, 10)) == date(2024, 5, 3)


@pytest.mark.parametrize("written", [*_YEARS, "明年5月3日"])
def test_the_clinic_keeps_to_the_year_that_is_written(written: str) -> None:
    assert clinic.read_day(written.format(year=2027, short=27), date(2026, 12, 10)) == date(2027, 5, 3)
    assert clinic.read_day(written.format(year=2029, short=29), date(2026, 12, 10)) == (
        date(2027, 5, 3) if written.startswith("明年") else None
    )


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("3 May", "2026-05-03"),
        ("3 May 20 pounds", "2026-05-03"),
        ("3 May 2024: 12 pounds", "2024-05-03"),
        ("3/5", "2026-05-03"),
        ("3/5/1999", "1999-05-03"),
        ("3/5/1", None),
        ("去年5月3号", "2025-05-03"),
        ("5月3号", "2026-05-03"),
    ],
)
def test_a_year_is_no_amount_and_no_time(text: str, day: str | None) -> None:
    assert bank.read_past_day(text, date(2026, 6, 10)) == (date.fromisoformat(day) if day else None)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("£45.20", "£45.20"),
        ("45,5 quid", "£45.50"),
        ("about 300 dollars", "$300.00"),
        ("€1,250", "€1,250.00"),
        ("一共 358 元", "¥358.00"),
        ("120欧元", "€120.00"),
        ("三百美元", None),
        ("89.99", "89.99"),
        ("£0", None),
        ("99999999", None),
        ("a lot", None),
    ],
)
def test_the_bank_reads_amounts(text: str, amount: str | None) -> None:
    assert bank.read_amount(text) == amount


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("it ends in 4821", "4821"),
        ("尾号0937", "0937"),
        ("4000 1234 5678 9010", "9010"),
        ("4000123456789010", "9010"),
        ("all", "all"),
        ("123", None),
        ("12345", None),
        ("the blue one", None),
    ],
)
def test_the_bank_keeps_four_digits_and_never_more(text: str, digits: str | None) -> None:
    assert bank.read_card_digits(text) == digits


@pytest.mark.parametrize("details", [bank, clinic])
def test_contacts_are_complete_or_none(details: object) -> None:
    read = details.read_contact  # type: ignore[attr-defined]
    assert read("write to Jo.Marsh@Example.com please") == "jo.marsh@example.com"
    assert read("手机13800005521") == "13800005521"
    assert read("+44 20 7946 0417") == "+44 20 7946 0417"
    assert read("2026-11-23") is None
    assert read("23/11/2026") is None
    assert read("jo@example") is None


def test_a_patch_of_annoyance_offers_once() -> None:
    moods, annoyed = [], 0
    for sentiment in ("negative", "negative", "negative", "neutral", "negative", None, "negative", "negative"):
        mood = mood_after(annoyed, sentiment)
        annoyed = mood.annoyed
        moods.append(mood.is_time_to_offer)
    assert moods == [False, True, False, False, False, False, False, True]
    assert mood_after(4, "positive") == Mood(annoyed=0, is_time_to_offer=False)


def test_departments_have_their_own_words_and_both_names() -> None:
    for department in departments():
        assert department.names["en"]
        assert department.names["zh"]
        for name in department.names.values():
            assert find_department(name) == department, "asked for by name, a department must be found"
        assert find_department(department.key) == department


def test_a_long_message_keeps_no_one_waiting() -> None:
    """Ten thousand characters made to be slow; generous, since other tests may run beside this one."""
    for unit in ("chest ", "pain ", "心 ", "cut my ", "want to be could just "):
        started = time.process_time()
        kind_of((unit * 10_000)[:10_000])
        assert time.process_time() - started < 2.0, unit
