"""Which greeting fits the day: the feasts our customers keep, else the time of day. Pure: a moment in, a name out.

The moon decides the Chinese feasts, so they stand in a table; a year that is missing simply has none.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

SPRING_FESTIVAL: Mapping[int, date] = {
    2026: date(2026, 2, 17),
    2027: date(2027, 2, 6),
    2028: date(2028, 1, 26),
    2029: date(2029, 2, 13),
    2030: date(2030, 2, 3),
    2031: date(2031, 1, 23),
}
MID_AUTUMN: Mapping[int, date] = {
    2026: date(2026, 9, 25),
    2027: date(2027, 9, 15),
    2028: date(2028, 10, 3),
    2029: date(2029, 9, 22),
    2030: date(2030, 9, 12),
    2031: date(2031, 10, 1),
}

FEASTS = ("spring_festival", "lantern_festival", "mid_autumn", "christmas", "new_year")
TIMES_OF_DAY = ("morning", "day", "evening")

_DAY = timedelta(days=1)


def occasion(now: datetime) -> str:
    """Give one of FEASTS or TIMES_OF_DAY; `now` is the local time where the greeting is read."""
    return feast(now.date()) or time_of_day(now.hour)


def feast(today: date) -> str | None:
    """Give the feast of this day: the Spring Festival from its eve to the sixth day, the others on their days."""
    spring = SPRING_FESTIVAL.get(today.year)
    if spring is not None:
        if spring - _DAY <= today <= spring + 6 * _DAY:
            return "spring_festival"
        if today == spring + 14 * _DAY:
            return "lantern_festival"
    moon = MID_AUTUMN.get(today.year)
    if moon is not None and moon - _DAY <= today <= moon:
        return "mid_autumn"
    if today.month == 12 and 24 <= today.day <= 26:
        return "christmas"
    return "new_year" if (today.month, today.day) in {(12, 31), (1, 1)} else None


def time_of_day(hour: int) -> str:
    """Give morning until eleven, evening from six o'clock and in the night, day in between."""
    if 5 <= hour < 11:
        return "morning"
    return "day" if 11 <= hour < 18 else "evening"
