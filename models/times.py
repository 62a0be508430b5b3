"""Times in a text: what the patterns of both languages find, a day and the time of day beside it made one.

Zones and entities are `values.py`'s. Invariant: a span found is a span of the text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ParamSpec, TypeVar

import regex

from models.chinese_times import CHINESE_CLOCKS, CHINESE_RULES
from models.english_times import ENGLISH_CLOCKS, ENGLISH_CUE, ENGLISH_RULES
from models.moments import (
    Clock,
    Duration,
    Match,
    Moment,
    Reference,
    at_clock,
    date_in,
    matches,
    rule,
    year_of,
)
from models.spans import Found, longest

_Given = ParamSpec("_Given")
_Value = TypeVar("_Value")


def find_days(text: str, reference: Reference) -> list[Found[Moment]]:
    """Days and longer spans of the calendar in reading order; no time of day, no duration."""
    days = [
        # 今晚 is written as one word, and so is its span; with a time of day 今 alone is the day.
        Found(start=match.start(), end=match.end() + (match[0] in ("昨", "今", "明")), value=day)
        for pattern, read in _that_may_match(text, RULES_OF)
        for match in matches(pattern, text)
        if isinstance(value := _safely(read, match, reference), Moment) and (day := _on_calendar(value)) is not None
    ]
    return longest(days, len(text))


def _on_calendar(moment: Moment) -> Moment | None:
    if moment.grain in ("day", "week", "month", "year"):
        return moment
    if moment.end is None:  # "in three hours"
        return None
    is_night = moment.end - moment.start < timedelta(days=1)
    return Moment(start=moment.start.replace(hour=0), grain="day") if is_night else moment


def find_times(text: str, reference: Reference) -> list[Found[Moment | Duration]]:
    """Times and durations in reading order, their spans apart."""
    days: list[Found[Moment]] = []
    found: list[Found[Moment | Duration]] = []
    for pattern, read in _that_may_match(text, RULES_OF):
        for match in matches(pattern, text):
            value = _safely(read, match, reference)
            if isinstance(value, Moment):
                days.append(Found(start=match.start(), end=match.end(), value=value))
            elif value is not None:
                found.append(Found(start=match.start(), end=match.end(), value=value))
    clocks = [
        Found(start=match.start(), end=match.end(), value=clock)
        for pattern, read_clock in _that_may_match(text, CLOCKS_OF)
        for match in matches(pattern, text)
        if (clock := _safely(read_clock, match)) is not None
    ]
    apart = longest(days, len(text))
    found.extend(Found(start=day.start, end=day.end, value=day.value) for day in apart)
    found += _with_clocks(text, apart, longest(clocks, len(text)), reference)
    return longest(found, len(text))


def _safely(read: Callable[_Given, _Value], *given: _Given.args, **named: _Given.kwargs) -> _Value | None:
    try:
        return read(*given, **named)
    except (ValueError, OverflowError, KeyError):  # a day that no calendar has, a feast that ours lacks
        return None


_GAP = regex.compile(r"[\s,，的]*(?:at|around|about|in the|on)?[\s]*", regex.IGNORECASE)


def _with_clocks(
    text: str, days: Sequence[Found[Moment]], clocks: Sequence[Found[Clock]], reference: Reference
) -> Iterator[Found[Moment | Duration]]:
    """A day and a time of day side by side are one moment; a time of day alone is the next one to come."""
    spans = [day for day in days if day.value.grain == "day" and day.value.end is None]
    starts = [day.start for day in spans]
    for clock in clocks:
        place = bisect_left(starts, clock.start)
        beside = next((day for day in spans[max(0, place - 1) : place + 1] if _are_beside(text, day, clock)), None)
        if beside is not None:
            start, end = min(beside.start, clock.start), max(beside.end, clock.end)
            yield Found(start=start, end=end, value=at_clock(beside.value.start, clock.value))
        elif not clock.value.needs_day:
            moment = at_clock(reference.today, clock.value)
            if moment.end is None and moment.start < reference.now:
                moment = replace(moment, start=moment.start + timedelta(days=1))
            yield Found(start=clock.start, end=clock.end, value=moment)


def _are_beside(text: str, day: Found[Moment], clock: Found[Clock]) -> bool:
    first, second = (day.end, clock.start) if day.start < clock.start else (clock.end, day.start)
    return first <= second and _GAP.fullmatch(text, first, second) is not None


# ---- dates in figures, the same in both languages ----


def _year_first(match: Match, reference: Reference) -> Moment:
    return date_in(reference, int(match["year"]), int(match["month"]), int(match["day"]))


def _year_last(match: Match, reference: Reference) -> Moment | None:
    return _figures(int(match["one"]), int(match["two"]), match["mark"], year_of(match["year"]), reference)


def _without_year(match: Match, reference: Reference) -> Moment | None:
    if match[0] in ("24/7", "1/2", "10/10"):
        return None  # "always", "half", full marks
    return _figures(int(match["one"]), int(match["two"]), match["mark"], None, reference)


def _figures(one: int, two: int, mark: str, year: int | None, reference: Reference) -> Moment | None:
    """Dots mean day first everywhere; a number above 12 is no month, whatever the locale says."""
    day_first = mark == "." or not reference.month_first
    day, month = (one, two) if day_first else (two, one)
    if month > 12 and mark != ".":
        day, month = month, day
    return date_in(reference, year, month, day)


_FIGURE = r"(?<![A-Za-z0-9_.,/:€$£¥-])"
FIGURE_RULES = (
    rule(
        _FIGURE + r"(?P<year>(?:19|20)\d{2})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?![\d/-])",
        _year_first,
    ),
    rule(
        _FIGURE + r"(?P<one>\d{1,2})(?P<mark>[-/.])(?P<two>\d{1,2})(?P=mark)(?P<year>(?:19|20)\d{2}|\d{2})(?![\d/-])",
        _year_last,
    ),
    rule(
        _FIGURE + r"(?P<one>\d{1,2})(?P<mark>/)(?P<two>\d{1,2})(?![\d/-]|\s*(?:stars?|pieces|★|⭐|星|分))",
        _without_year,
    ),
    # "5.3." is a date where a word says so; elsewhere it is a price at the end of a sentence.
    rule(
        r"(?<=\b(?:on|by|since|until|from|am|vom|bis)\s)(?P<one>\d{1,2})(?P<mark>\.)(?P<two>\d{1,2})\.(?!\d)",
        _without_year,
    ),
)


def _twenty_four(match: Match) -> Clock | None:
    hour, minute = int(match["hour"]), int(match["minute"])
    return Clock(hour=hour, minute=minute) if hour <= 24 and minute <= 59 else None


FIGURE_CLOCKS = (
    (regex.compile(r"(?<![A-Za-z0-9_.,/:-])(?P<hour>\d{1,2})[:：](?P<minute>\d{2})(?![\d:])"), _twenty_four),
)


# ---- what a text must hold for any rule of a group to match it; most texts hold one script and no digit ----

_DIGIT = regex.compile(r"\d")
# 618 is a feast of China's shops in whatever script it is written.
_HAN_OR_FEAST = regex.compile(r"\p{Han}|618")
RULES_OF = ((ENGLISH_CUE, ENGLISH_RULES), (_HAN_OR_FEAST, CHINESE_RULES), (_DIGIT, FIGURE_RULES))
CLOCKS_OF = ((ENGLISH_CUE, ENGLISH_CLOCKS), (_HAN_OR_FEAST, CHINESE_CLOCKS), (_DIGIT, FIGURE_CLOCKS))


def _that_may_match(text: str, groups: Sequence[tuple[regex.Pattern[str], Sequence[_Value]]]) -> list[_Value]:
    return [one for needs, rules in groups if needs.search(text) for one in rules]
