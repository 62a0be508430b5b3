"""Days, spans of the calendar and times of day as English-speaking customers write them: patterns and what they mean.

The arithmetic is `moments.py`'s, joining a day with a time of day `times.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import regex

from models.moments import (
    Clock,
    Duration,
    Grain,
    Match,
    Moment,
    Reference,
    Rule,
    at_clock,
    date_in,
    day_from,
    day_of_month,
    end_of,
    monday,
    month_from,
    moved,
    nearest,
    rule,
    unit_from,
    year_of,
)
from models.numerals import ENGLISH, ORDINALS, digits_value, english_value

_EN_MONTH = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, 1)}
_EN_WEEKDAY = "mon(?:day)?|tue(?:s(?:day)?)?|wed(?:s|nesday)?|thu(?:rs?(?:day)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY_NUMBERS = {name: number for number, name in enumerate(_WEEKDAYS)}
_ORDINAL_WORDS = "|".join(sorted(ORDINALS, key=len, reverse=True))
_EN_COUNT = rf"(?:an?\s+)?(?:couple(?:\s+of)?|few)|an?|{ENGLISH}|\d{{1,4}}(?:\.\d)?"
_EN_UNIT = r"(?P<unit>sec(?:ond)?|min(?:ute)?|hour|hr|day|week|wk|month|year|yr)s?"
_EN_UNITS: dict[str, Grain] = {
    "sec": "second", "min": "minute", "hou": "hour", "hr": "hour", "day": "day", "wee": "week", "wk": "week",
    "mon": "month", "yea": "year", "yr": "year",
}  # fmt: skip
_AFTER = {"next": 1, "coming": 1, "following": 1, "last": -1, "past": -1, "previous": -1}


def _relative_day(match: Match, reference: Reference) -> Moment:
    word = " ".join(match[0].lower().split()).removeprefix("the ")
    offset = {"day after tomorrow": 2, "day before yesterday": -2, "today": 0, "tonight": 0, "last night": -1}.get(word)
    if offset is None:
        offset = -1 if word.startswith("y") else 1
    moment = day_from(reference, offset)
    return at_clock(moment.start, Clock(hour=18, until=24)) if "night" in word else moment


def _weekday(match: Match, reference: Reference) -> Moment | None:
    name, which = match["weekday"].lower(), (match["which"] or "").lower()
    if name in ("sat", "sun") and not which and not match["week"]:
        return None  # "I sat on it", "the sun bleached it"
    number = _WEEKDAY_NUMBERS[name[:3]]
    if match["week"]:
        weeks = _AFTER.get(match["week"].lower(), 0)
        return Moment(start=monday(reference, weeks) + timedelta(days=number), grain="day")
    ahead = (number - reference.today.weekday()) % 7
    if _AFTER.get(which) == -1:
        return day_from(reference, (ahead or 7) - 7 if ahead else -7)
    return day_from(reference, ahead if which == "this" else ahead or 7)


def _calendar_unit(match: Match, reference: Reference) -> Moment:
    step = _AFTER.get((match["which"] or "").lower(), 0)
    return unit_from(match["unit"].lower(), step, reference)


def _english_count(text: str) -> float | None:
    words = text.lower().split()
    if "couple" in words:
        return 2.0
    if "few" in words:
        return 3.0
    if words[-1] in ("a", "an"):
        return 1.0
    return digits_value(text) if text[0].isdigit() else english_value(" ".join(words))


def _english_span(match: Match, reference: Reference) -> Moment | Duration | None:
    amount, unit = _english_count(match["count"]), match["unit"].lower()
    if amount is None:
        return None
    grain = _EN_UNITS[unit[:2] if unit[:2] in _EN_UNITS else unit[:3]]
    if match["in"]:
        return moved(reference, amount, grain)
    if match["after"]:
        back = match["after"].lower() in ("ago", "back")
        return moved(reference, -amount if back else amount, grain)
    return Duration(amount=amount, unit=grain)


def _month_day(match: Match, reference: Reference) -> Moment | None:
    if match["month"] in ("may", "march") and not match["suffix"] and not match["year"]:
        return None  # "you may 2 of them", "may 10 people": a verb, unless a capital or an ordinal says otherwise
    return _english_date(match, reference)


def _english_date(match: Match, reference: Reference) -> Moment:
    day = " ".join(match["day"].lower().split())
    number = int(day) if day.isdigit() else ORDINALS[day]
    return date_in(reference, year_of(match["year"]), _MONTH_NUMBERS[match["month"][:3].lower()], number)


def _english_month(match: Match, reference: Reference) -> Moment | None:
    which, number = (match["which"] or "").lower(), _MONTH_NUMBERS[match["month"][:3].lower()]
    if match["year"]:
        return Moment(start=reference.day(int(match["year"]), number), grain="month")
    if which in ("last", "next"):
        first = month_from(reference, 0).replace(month=number)
        if which == "last" and first >= month_from(reference, 0):
            first = first.replace(year=first.year - 1)
        if which == "next" and first <= reference.today:
            first = first.replace(year=first.year + 1)
        return Moment(start=first, grain="month")
    return replace(date_in(reference, None, number, 1), grain="month")


_NUMBERED_DAY_ENDS = (
    r"(?=\s*(?:$|[.,;:!?)…\n，。！？]|(?:and|but|or|at|i|we|it|is|was|would|will|has|have|please|because|so|then|already|"
    r"still|with|via|for|from|to|by|in|of\s+(?:this|last|next))\b|[^\x00-\x7f]))"
)
_WEEK_SUFFIX = r"(?:\s+(?:of\s+)?(?P<week>last|next|this)\s+week)?"
_WEEKDAY_BEFORE = rf"(?:(?:{_EN_WEEKDAY})\b\.?,?\s+)?"
_YEAR_AFTER = r"(?:\.?,?\s+(?P<year>(?:19|20)\d{2})\b)?"
_HOLIDAYS = {
    "christmas eve": (12, 24), "boxing day": (12, 26), "christmas": (12, 25), "xmas": (12, 25), "new year": (1, 1),
    "new year's eve": (12, 31), "new year's day": (1, 1), "new years eve": (12, 31), "valentine's day": (2, 14),
    "valentines day": (2, 14), "halloween": (10, 31),
}  # fmt: skip
_HOLIDAY_NAMES = "|".join(sorted(_HOLIDAYS, key=len, reverse=True)).replace("'", "['’]")


def _easter(year: int) -> tuple[int, int]:
    """Month and day. Source: the anonymous Gregorian computus (Nature, 1876)."""
    century = year // 100
    golden, leap = year % 19, century - century // 4 - (8 * century + 13) // 25
    moon = (19 * golden + leap + 15) % 30
    moon -= (moon // 28) * (1 - (moon // 28) * (29 // (moon + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    from_march = moon - weekday + 28
    return (3, from_march) if from_march <= 31 else (4, from_march - 31)


def _black_friday(year: int) -> tuple[int, int]:
    """The day after the fourth Thursday of November."""
    return 11, 23 + (4 - date(year, 11, 23).weekday()) % 7


def _moving_holiday(match: Match, reference: Reference) -> Moment:
    name = match["name"].lower()
    if name.startswith("black"):
        return nearest(reference, _black_friday)
    return nearest(reference, _easter, {"e": 0, "m": 1, "g": -2}[name.removeprefix("easter ")[0]])


def _end(match: Match, reference: Reference) -> Moment:
    if match["month"]:
        return end_of(date_in(reference, None, _MONTH_NUMBERS[match["month"][:3].lower()], 1).start, "month")
    step = 1 if (match["which"] or "").lower() == "next" else 0
    return end_of(unit_from(match["unit"].lower(), step, reference).start, match["unit"].lower())


def _holiday(match: Match, reference: Reference) -> Moment:
    name = " ".join(match["name"].lower().replace("’", "'").split())
    return date_in(reference, None, *_HOLIDAYS[name])


ENGLISH_RULES: tuple[Rule, ...] = (
    rule(
        r"\b(?:(?:the\s+)?day\s+(?:after\s+tomorrow|before\s+yesterday)|today|tonight|last\s+night|"
        r"tom{1,2}or{1,2}ow|tmr|tmrw|yest?erday)\b",
        _relative_day,
    ),
    rule(
        r"\bthis\s+(?P<part>morning|afternoon|evening|night)\b",
        lambda match, reference: at_clock(reference.today, _part(match)),
    ),
    rule(
        rf"\b(?:(?P<which>last|next|this|coming|past|previous|following)\s+)?(?P<weekday>{_EN_WEEKDAY})\b{_WEEK_SUFFIX}",
        _weekday,
    ),
    rule(
        r"\b(?P<which>last|next|this|coming|past|previous|following)\s+(?P<unit>weekend|week|month|year)\b"
        r"|\b(?<!\b(?:nice|lovely|great|good|happy|your|wonderful|fab)\s)(?:the\s+)?(?P<unit>weekend)\b",
        _calendar_unit,
    ),
    rule(
        rf"(?<![\w.,:-])(?:(?P<in>in)\s+)?(?P<count>{_EN_COUNT})[\s-]*{_EN_UNIT}\b(?!\s+old)"
        r"(?:\s+(?P<after>ago|back|from\s+now|later))?",
        _english_span,
    ),
    rule(
        rf"(?<![\w.,:/-]){_WEEKDAY_BEFORE}(?:the\s+)?(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?|(?P<day>{_ORDINAL_WORDS}))\.?\s*"
        rf"(?:of\s+)?(?P<month>{_EN_MONTH})\b{_YEAR_AFTER}",
        _english_date,
    ),
    rule(
        rf"\b{_WEEKDAY_BEFORE}(?P<month>{_EN_MONTH})\b\.?\s+(?:the\s+)?"
        rf"(?P<day>\d{{1,2}}(?!\d|[:.]\d|%|\s*(?:€|euros?|pounds?|dollars?))|{_ORDINAL_WORDS})"
        rf"(?P<suffix>st|nd|rd|th)?\b{_YEAR_AFTER}",
        _month_day,
    ),
    rule(
        rf"\b(?<=\b(?:in|since|until|till|by|of|during|early|mid|late|from|for|before|after)\s)(?P<month>{_EN_MONTH})\b"
        rf"(?:\s+(?P<year>(?:19|20)\d{{2}})\b)?|\b(?P<which>last|next|this)\s+(?P<month>{_EN_MONTH})\b"
        rf"|\b(?P<month>{_EN_MONTH})\.?,?\s+(?P<year>(?:19|20)\d{{2}})\b",
        _english_month,
    ),
    rule(
        rf"(?<=\b(?:on|by|until|till|since|from|before|after)\s)the\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)\b{_NUMBERED_DAY_ENDS}",
        lambda match, reference: day_of_month(reference, int(match["day"])),
    ),
    rule(
        rf"\b(?<!\b(?:happy|merry)\s)(?P<name>{_HOLIDAY_NAMES})\b",
        _holiday,
    ),
    rule(r"\b(?<!\bhappy\s)(?P<name>black\s+friday|good\s+friday|easter(?:\s+monday)?)\b", _moving_holiday),
    rule(
        rf"\b(?:the\s+)?end\s+of\s+(?:(?P<which>the|this|next)\s+(?P<unit>month|year)|(?P<month>{_EN_MONTH}))\b",
        _end,
    ),
    rule(
        r"(?<=\b(?:in|since|from|until)\s)(?:19|20)\d{2}\b(?![.,/-]?\d)",
        lambda match, reference: Moment(start=reference.day(int(match[0])), grain="year"),
    ),
)


# ---- what a text must hold for any of these patterns to match it ----

# Most messages name no time, and looking once costs a fifth of trying every rule. Units and months stand without a
# boundary before them: "twodays" and "firstmay" are read too.
ENGLISH_CUE = regex.compile(
    r"\d|second|minute|hour|day|week|month|year|(?:sec|min|hr|wk|yr)s?\b|tom{1,2}or|\btmrw?\b|night|morning|noon|evening|"
    rf"\b(?:mon|tues?|weds?|thu(?:rs?)?|fri|sat|sun)\b|(?:{_EN_MONTH})\b|christmas|xmas|halloween|easter|clock|"
    r"\bat\s(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    regex.IGNORECASE,
)


# ---- times of day ----

_HOURS = r"\d{1,2}|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve"
_PARTS = {"morning": (4, 12), "afternoon": (12, 19), "evening": (18, 24), "night": (18, 24)}


def _half_day(match: Match) -> Clock | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if not 1 <= hour <= 12 or minute > 59:
        return None
    hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    return Clock(hour=hour, minute=minute if match["minute"] else None)


def _bare_hour(match: Match) -> Clock | None:
    written = match["hour"].lower()
    hour = int(written) if written.isdigit() else int(english_value(written) or 99)
    return Clock(hour=hour, needs_day="clock" not in match.groupdict()) if hour <= 24 else None


def _part(match: Match) -> Clock:
    start, until = _PARTS[match["part"].lower()]
    return Clock(hour=start, until=until, needs_day=True)


ENGLISH_CLOCKS: tuple[tuple[regex.Pattern[str], Callable[[Match], Clock | None]], ...] = tuple(
    (regex.compile(pattern, regex.IGNORECASE), read)
    for pattern, read in (
        (
            r"(?<![\w.,:-])(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2}))?\s*(?P<half>[ap])\.?m\b\.?",
            _half_day,
        ),
        (
            rf"(?<![\w.,:-])(?P<hour>{_HOURS})\s?(?P<clock>o['’]?\s?clock)\b",
            _bare_hour,
        ),
        (
            rf"(?<=\bat\s)(?P<hour>{_HOURS})\b(?![:.,]\d|\s?%|\s?o['’]?\s?clock)",
            _bare_hour,
        ),
        (r"\b(?:noon|midday)\b", lambda match: Clock(hour=12)),
        (r"\bmidnight\b", lambda match: Clock(hour=24)),
        (r"\b(?<!\bgood\s)(?P<part>morning|afternoon|evening|night)\b", _part),
    )
)
