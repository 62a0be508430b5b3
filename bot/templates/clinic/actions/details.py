"""Reading what the appointment form asks for: a day and a way to be reached.

Nothing here talks to the patient. The invariant: a day that is read lies within the next `LATEST_DAYS`, and a contact
is complete; anything else is None and is asked for again.
"""

import re
import unicodedata
from datetime import date, timedelta

# How far ahead the desk plans.
LATEST_DAYS = 180
_LONGEST_READ = 254

_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9@._-])(?!(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{4})(?!\d))"
    r"(?:\+|00)?\(?\d(?:[ ()/.-]{0,2}\d){6,14}(?![A-Za-z0-9@])"
)

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAYS_ZH = "一二三四五六日"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "(" + "|".join(_MONTHS) + r")[a-z]*\.?"
_ISO = re.compile(r"(?<!\d)(20\d\d)[-/.年](\d{1,2})[-/.月](\d{1,2})(?!\d)")
_DAY_FIRST = re.compile(r"(?<!\d)(?<!\d[./])(\d{1,2})[./](\d{1,2})(?:[./](\d{4}|\d\d)?)?(?![./]?\d)")
# "3 May at 10:30" and "3 May 20 pounds" name no year.
_YEAR = r"(?:,?(?: of)? ((?:19|20)\d\d|['’]\d\d)(?!\d))?"
_DAY_MONTH = re.compile(rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?![a-z]){_YEAR}")
_MONTH_DAY = re.compile(rf"(?<![a-z]){_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?!\d){_YEAR}")
_YEARS_ZH = {"今年": 0, "明年": 1}
_MONTH_DAY_ZH = re.compile(r"(?:(今年|明年|(?<!\d)\d\d年)?(\d{1,2})月|下个?月)(\d{1,2})[日号號]?")
_WEEKDAY = re.compile(r"(?<![a-z])(next )?(mon|tue|wed|thu|fri|sat|sun)(?:day|sday|nesday|rsday|urday|s|rs)?(?![a-z])")
_WEEKDAY_ZH = re.compile(r"(下下?个?)?(?:周|星期|礼拜|週)([一二三四五六日天])")
_NEAR = (
    ("day after tomorrow", 2),
    ("tomorrow", 1),
    ("today", 0),
    ("大后天", 3),
    ("后天", 2),
    ("後天", 2),
    ("明天", 1),
    ("明早", 1),
    ("明日", 1),
    ("明晚", 1),
    ("今天", 0),
)


def read_contact(text: str) -> str | None:
    """Find an e-mail address (lower case) or else a phone number in a message."""
    plain = _plain(text)
    email = _EMAIL.search(plain)
    if email:
        return email[0].lower()
    phone = _PHONE.search(plain)
    return phone[0].strip() if phone else None


def read_day(text: str, today: date) -> date | None:
    """Find the day a message names, from today to `LATEST_DAYS` ahead; 3/5 is the third of May."""
    plain = _plain(text).casefold()
    # A phone number or an address is no date, whatever its digits look like.
    plain = _PHONE.sub(" ", _EMAIL.sub(" ", plain))
    day = _written(plain, today) or _near(plain, today) or _weekday(plain, today)
    return day if day is not None and today <= day <= today + timedelta(days=LATEST_DAYS) else None


def day_in_words(day: date, language: str) -> str:
    """Write a day as a person says it, in "en" or "zh"."""
    if language == "zh":
        return f"{day.month}月{day.day}日（周{_WEEKDAYS_ZH[day.weekday()]}）"
    return f"{day:%A}, {day.day} {day:%B}"


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:_LONGEST_READ])[:_LONGEST_READ]


def _written(text: str, today: date) -> date | None:
    if found := _ISO.search(text):
        return _day(int(found[1]), int(found[2]), int(found[3]))
    if found := _DAY_MONTH.search(text):
        return _dated(found[3], _MONTHS.index(found[2]) + 1, int(found[1]), today)
    if found := _MONTH_DAY.search(text):
        return _dated(found[3], _MONTHS.index(found[1]) + 1, int(found[2]), today)
    if found := _MONTH_DAY_ZH.search(text):
        month = int(found[2]) if found[2] else today.month % 12 + 1
        return _dated(found[1], month, int(found[3]), today)
    if found := _DAY_FIRST.search(text):
        return _dated(found[3], int(found[2]), int(found[1]), today)
    return None


def _near(text: str, today: date) -> date | None:
    return next((today + timedelta(days=ahead) for word, ahead in _NEAR if word in text), None)


def _weekday(text: str, today: date) -> date | None:
    if found := _WEEKDAY.search(text):
        return _on_weekday(_WEEKDAYS.index(found[2]), 1 if found[1] else 0, today)
    if found := _WEEKDAY_ZH.search(text):
        later = 0 if not found[1] else found[1].count("下")
        return _on_weekday("一二三四五六日".index(found[2].replace("天", "日")), later, today)
    return None


def _on_weekday(weekday: int, weeks_later: int, today: date) -> date:
    """Take "Tuesday" for the coming one, "next Tuesday" and 下周二 for the one of the week after this."""
    monday = today - timedelta(days=today.weekday())
    day = monday + timedelta(days=weekday, weeks=weeks_later)
    return day if day >= today else day + timedelta(weeks=1)


def _dated(year: str | None, month: int, number: int, today: date) -> date | None:
    """Keep to the year that is written, '24 being 2024; without one, take the next such day."""
    if not year:
        return _coming(month, number, today)
    if year in _YEARS_ZH:
        return _day(today.year + _YEARS_ZH[year], month, number)
    figures = int(year.strip("'’年"))
    return _day(figures + 2000 if figures < 100 else figures, month, number)


def _coming(month: int, number: int, today: date) -> date | None:
    this_year = _day(today.year, month, number)
    return this_year if this_year is None or this_year >= today else _day(today.year + 1, month, number)


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None
