"""Reading what the bank's forms ask for: four digits, a contact, an amount, a day.

Nothing here talks to the customer. The invariants: no more than four digits of a card are ever kept, and what is not
plainly readable is None and is asked for again.
"""

import re
import unicodedata
from datetime import date, timedelta

# How far back a card payment can be disputed.
DISPUTE_DAYS = 120
ALL_CARDS = "all"
_LONGEST_READ = 254
_LARGEST_AMOUNT = 1_000_000

_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9@._-])(?!(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{4})(?!\d))"
    r"(?:\+|00)?\(?\d(?:[ ()/.-]{0,2}\d){6,14}(?![A-Za-z0-9@])"
)
_FOUR = re.compile(r"(?<![\d.,])(\d{4})(?![\d.,]?\d)")
_CARD_NUMBER = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_NUMBER = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+|\d{1,7})(?:[.,](\d{1,2}))?(?![\d.,]*\d)")
_CURRENCIES = {
    "€": ("€", "eur", "欧"),
    "£": ("£", "pound", "quid", "gbp", "镑"),
    "$": ("$", "dollar", "bucks", "usd", "美元", "美金"),
    "¥": ("¥", "元", "块", "rmb", "人民币", "cny"),
}

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAYS_ZH = "一二三四五六日"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = "(" + "|".join(_MONTHS) + r")[a-z]*\.?"
_ISO = re.compile(r"(?<!\d)(20\d\d)[-/.年](\d{1,2})[-/.月](\d{1,2})(?!\d)")
# "3 May at 10:30" and "3 May 20 pounds" name no year.
_YEAR = r"(?:,?(?: of)? ((?:19|20)\d\d|['’]\d\d)(?!\d))?"
_DAY_MONTH = re.compile(rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}(?![a-z]){_YEAR}")
_MONTH_DAY = re.compile(rf"(?<![a-z]){_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?!\d){_YEAR}")
_DAY_FIRST = re.compile(r"(?<!\d)(?<!\d[./])(\d{1,2})[./](\d{1,2})(?:[./](\d{4}|\d\d)?)?(?![./]?\d)")
_YEARS_ZH = {"前年": -2, "去年": -1, "今年": 0}
_MONTH_DAY_ZH = re.compile(r"(?:(去年|前年|今年|(?<!\d)\d\d年)?(\d{1,2})月|上个?月)(\d{1,2})[日号號]?")
_WEEKDAY = re.compile(r"(?<![a-z])(mon|tue|wed|thu|fri|sat|sun)(?:day|sday|nesday|rsday|urday)?(?![a-z])")
_WEEKDAY_ZH = re.compile(r"(上上?个?)?(?:周|星期|礼拜)([一二三四五六日天])")
_NEAR = (
    ("day before yesterday", 2),
    ("yesterday", 1),
    ("today", 0),
    ("this morning", 0),
    ("大前天", 3),
    ("前天", 2),
    ("昨", 1),
    ("今天", 0),
    ("今早", 0),
)


def read_card_digits(text: str) -> str | None:
    """Find the last four digits of a card; of a whole card number only those four are kept."""
    plain = _plain(text)
    if plain.strip().casefold() == ALL_CARDS:
        return ALL_CARDS
    whole = _CARD_NUMBER.search(plain)
    if whole:
        return re.sub(r"\D", "", whole[0])[-4:]
    found = _FOUR.search(plain)
    return found[1] if found else None


def read_contact(text: str) -> str | None:
    """Find an e-mail address (lower case) or else a phone number in a message."""
    plain = _plain(text)
    email = _EMAIL.search(plain)
    if email:
        return email[0].lower()
    phone = _PHONE.search(plain)
    return phone[0].strip() if phone else None


def read_amount(text: str) -> str | None:
    """Find an amount above zero, written alike whatever was typed: "45,5 quid" gives "£45.50"."""
    plain = _plain(text).casefold()
    found = _NUMBER.search(plain)
    if not found:
        return None
    cents = int(found[1].replace(",", "")) * 100 + int((found[2] or "0").ljust(2, "0"))
    if not 0 < cents <= _LARGEST_AMOUNT * 100:
        return None
    sign = next((sign for sign, words in _CURRENCIES.items() if any(word in plain for word in words)), "")
    return f"{sign}{cents // 100:,}.{cents % 100:02}"


def read_past_day(text: str, today: date) -> date | None:
    """Find the day a message names, today or before; 3/5 is the third of May, and no year means the latest one."""
    plain = _plain(text).casefold()
    day = _written(plain, today) or _near(plain, today) or _weekday(plain, today)
    return day if day is not None and day <= today else None


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
        month = int(found[2]) if found[2] else (today.month - 2) % 12 + 1
        return _dated(found[1], month, int(found[3]), today)
    if found := _DAY_FIRST.search(text):
        return _dated(found[3], int(found[2]), int(found[1]), today)
    return None


def _near(text: str, today: date) -> date | None:
    return next((today - timedelta(days=ago) for word, ago in _NEAR if word in text), None)


def _weekday(text: str, today: date) -> date | None:
    if found := _WEEKDAY.search(text):
        return _before(_WEEKDAYS.index(found[1]), today)
    if found := _WEEKDAY_ZH.search(text):
        weekday = _WEEKDAYS_ZH.index(found[2].replace("天", "日"))
        if not found[1]:
            return _before(weekday, today)
        monday = today - timedelta(days=today.weekday())
        return monday + timedelta(days=weekday) - timedelta(weeks=found[1].count("上"))
    return None


def _before(weekday: int, today: date) -> date:
    return today - timedelta(days=(today.weekday() - weekday) % 7 or 7)


def _dated(year: str | None, month: int, number: int, today: date) -> date | None:
    """Keep to the year that is written, '24 being 2024; without one, take the latest such day."""
    if not year:
        return _latest(month, number, today)
    if year in _YEARS_ZH:
        return _day(today.year + _YEARS_ZH[year], month, number)
    figures = int(year.strip("'’年"))
    return _day(figures + 2000 if figures < 100 else figures, month, number)


def _latest(month: int, number: int, today: date) -> date | None:
    this_year = _day(today.year, month, number)
    return this_year if this_year is None or this_year <= today else _day(today.year - 1, month, number)


def _day(year: int, month: int, number: int) -> date | None:
    try:
        return date(year, month, number)
    except ValueError:
        return None
