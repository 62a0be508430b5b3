"""Moments of the calendar and the arithmetic that finds them from a reference time, whatever the language.

Invariants: times are in the zone of the reference time, and sums go by the clock on the wall; a date that does not
exist (31 February) raises ValueError, it is never moved to another.

Rules that differ between people are decided once: a bare weekday and "the 5th" are the next ones to come, as Duckling
has it; a day and month without a year are the nearest ones, because customers speak of orders past as often as of
deliveries to come; 3/5 is the third of May unless `month_first`; a week begins on Monday.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import regex

Grain = Literal["year", "month", "week", "day", "hour", "minute", "second"]
Match = regex.Match[str]
# A pattern that needs longer on one message is skipped, and the message still gets an answer.
TIMEOUT_S = 0.05
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400, "month": 2592000, "year": 31536000}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time and how exact it is; `end`, exclusive, where it is an interval such as a weekend."""

    start: datetime
    grain: Grain
    end: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Duration:
    amount: float
    unit: Grain


@dataclass(frozen=True, kw_only=True)
class Clock:
    """A time of day in hours and minutes, or from one hour to another; `needs_day`: nothing without a day beside it."""

    hour: int
    minute: int | None = None
    until: int | None = None
    needs_day: bool = False


@dataclass(frozen=True, kw_only=True)
class Reference:
    """When the message was sent, with its zone, and how 3/5 is read."""

    now: datetime
    month_first: bool = False

    @property
    def today(self) -> datetime:
        return self.now.replace(hour=0, minute=0, second=0, microsecond=0)

    def day(self, year: int, month: int = 1, day: int = 1) -> datetime:
        """Its first moment, in the zone of `now`. Raises ValueError where there is no such day."""
        return self.today.replace(year=year, month=month, day=day)


Read = Callable[[Match, Reference], "Moment | Duration | None"]
Rule = tuple[regex.Pattern[str], Read]


def rule(pattern: str, read: Read) -> Rule:
    """A pattern, matched without regard to case, and what a match of it means; None where it means nothing."""
    return regex.compile(pattern, regex.IGNORECASE), read


def matches(pattern: regex.Pattern[str], text: str) -> list[Match]:
    """All matches; none where the pattern needs longer than `TIMEOUT_S`."""
    try:
        return [match for match in pattern.finditer(text, timeout=TIMEOUT_S) if match.end() > match.start()]
    except TimeoutError:
        return []


def at_clock(day: datetime, clock: Clock) -> Moment:
    """That time of that day; 24 o'clock is the next day's first."""
    start = day + timedelta(hours=clock.hour, minutes=clock.minute or 0)
    if clock.until is not None:
        return Moment(start=start, grain="hour", end=day + timedelta(hours=clock.until))
    return Moment(start=start, grain="hour" if clock.minute is None else "minute")


def day_from(reference: Reference, offset: int) -> Moment:
    """The day so many days from today."""
    return Moment(start=reference.today + timedelta(days=offset), grain="day")


def monday(reference: Reference, weeks: int = 0) -> datetime:
    """The first day of the week that lies so many weeks from this one."""
    return reference.today + timedelta(days=7 * weeks - reference.today.weekday())


def _weekend(reference: Reference, weeks: int) -> Moment:
    first = monday(reference, weeks)
    return Moment(start=first + timedelta(days=4, hours=18), grain="hour", end=first + timedelta(days=7))


def month_from(reference: Reference, months: int) -> datetime:
    """The first day of the month that lies so many months from this one."""
    year, month = divmod(reference.today.year * 12 + reference.today.month - 1 + months, 12)
    return reference.today.replace(year=year, month=month + 1, day=1)


def date_in(reference: Reference, year: int | None, month: int, day: int) -> Moment:
    """The day of that year; without a year the nearest one. Raises ValueError where there is none."""
    if year is not None:
        return Moment(start=reference.day(year, month, day), grain="day")
    years = range(reference.now.year - 1, reference.now.year + 2)
    near = [reference.day(y, month, day) for y in years if _is_day(y, month, day)]
    return Moment(start=min(near, key=lambda one: abs(one - reference.today)), grain="day")


def _is_day(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]


def day_of_month(reference: Reference, day: int) -> Moment | None:
    """The next month's day of that number, today included."""
    for months in range(12):
        first = month_from(reference, months)
        if _is_day(first.year, first.month, day) and first.replace(day=day) >= reference.today:
            return Moment(start=first.replace(day=day), grain="day")
    return None


def end_of(first: datetime, unit: str) -> Moment:
    """The last day of the month or year that begins then."""
    month = first.replace(month=12) if unit == "year" else first
    return Moment(start=month.replace(day=monthrange(month.year, month.month)[1]), grain="day")


def nearest(reference: Reference, day_in: Callable[[int], tuple[int, int]], offset: int = 0) -> Moment:
    """Of a feast that moves, the nearest day; `day_in` gives month and day of a year, or raises KeyError."""
    years = range(reference.now.year - 1, reference.now.year + 2)
    near = [reference.day(year, *day_in(year)) + timedelta(days=offset) for year in years]
    return Moment(start=min(near, key=lambda one: abs(one - reference.today)), grain="day")


def moved(reference: Reference, amount: float, unit: Grain) -> Moment:
    """So many units from now; whole days and more leave the time of day aside."""
    if unit in ("second", "minute", "hour"):
        moved = (reference.now + timedelta(seconds=amount * SECONDS[unit])).replace(microsecond=0)
        return Moment(start=moved, grain="minute" if unit == "hour" else "second")
    if unit in ("day", "week") or amount != int(amount):
        return Moment(start=reference.today + timedelta(seconds=amount * SECONDS[unit]), grain="day")
    first = month_from(reference, int(amount) * (12 if unit == "year" else 1))
    last = monthrange(first.year, first.month)[1]
    return Moment(start=first.replace(day=min(reference.today.day, last)), grain="day")


def year_of(written: str | None) -> int | None:
    """2026 and 26 → 2026; None where no year is written."""
    if not written:
        return None
    year = int(written)
    return 2000 + year if year < 100 else year


def unit_from(unit: str, step: int, reference: Reference) -> Moment:
    """The week, weekend, month or year that lies `step` of them from now."""
    if unit == "weekend":
        return _weekend(reference, step)
    if unit == "week":
        return Moment(start=monday(reference, step), grain="week")
    if unit == "month":
        return Moment(start=month_from(reference, step), grain="month")
    return Moment(start=reference.day(reference.now.year + step), grain="year")
