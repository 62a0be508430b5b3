"""Phone numbers. Prices, dates, opening hours and the numbers of orders and articles are none.

Seven to nine digits in one group are taken for a phone behind a word such as "call" alone: bare, they are more often an
order.
"""

from __future__ import annotations

from collections.abc import Iterator

import regex

from bot.personal.labels import THING_LABEL, digits_of, is_labelled
from bot.personal.rules import FOUND, Rule, Span, rule

_PHONE_LABEL = regex.compile(
    r"(?:\b(?:phone|telephone|tel|mobile|cell|cellphone|fax|whatsapp|sms|call|calling|text|reach|ring|dial|contact|desk"
    r"|office|registered|number is|my (?:new |old |other |home |work )?number)\b"
    r"|电话|手机|座机|致电|拨打?|联系方式|联系我|打给|传真|号码|短信)"
    rf"[^\d\n?!。？！{FOUND}]{{0,24}}\n?$",
    regex.IGNORECASE,
)
_LABEL_AFTER = regex.compile(r"[ \-]?[(]?(?:fax|office|mobile|cell|home|work|phone|tel)\b", regex.IGNORECASE)
_CURRENCY_BEFORE = regex.compile(r"(?:\p{Sc}|\b(?:EUR|USD|GBP|CNY|RMB|CHF))\s?$", regex.IGNORECASE)
_UNIT_AFTER = regex.compile(
    r"\s?(?:\p{Sc}|%|(?:EUR|USD|GBP|CNY|RMB|CHF|[km]?g|[cm]?m|ml|l|pcs|pieces|units|points)\b|[元块件个分折台套米斤次天])",
    regex.IGNORECASE,
)

_DATE_FIRST = regex.compile(
    r"(?:19|20)\d\d([\-/. ])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?!\d)"
    r"|(?:0?[1-9]|[12]\d|3[01])([\-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:19|20)\d\d(?!\d)"
)
_HOURS_OR_RANGE = regex.compile(r"\d{1,2}\.\d\d ?- ?\d{1,2}\.\d\d|\d{4} ?- ?\d{4}")
# A company's, free of charge for who calls.
_HOTLINE = regex.compile(r"\(?[48]00\)?[ \-]?\d{3,4}[ \-]?\d{3,4}")
_THOUSANDS = regex.compile(r"[1-9]\d{0,2}(?:([ .])\d{3})(?:\1\d{3})*")
_LOCAL = regex.compile(r"\d{3}[\-. ]\d{4}|(?!(?:19|20)\d\d (?:19|20)\d\d)\d{4} \d{4}")
_PLAIN_AMERICAN = regex.compile(r"1?[2-9]\d{2}[2-9]\d{6}")


def _is_measure(match: regex.Match[str]) -> bool:
    return is_labelled(match, _CURRENCY_BEFORE) or _UNIT_AFTER.match(match.string, match.end()) is not None


def _is_called_phone(match: regex.Match[str]) -> bool:
    return is_labelled(match, _PHONE_LABEL) or _LABEL_AFTER.match(match.string, match.end()) is not None


def _is_chinese_mobile(match: regex.Match[str]) -> bool:
    before = match.string[match.start() - 1 : match.start()]
    return not regex.match(r"[\p{Latin}\-_]", before) or is_labelled(match, _PHONE_LABEL)


def _is_grouped_phone(match: regex.Match[str]) -> bool:
    """Three groups, or two in a phone's shape; two of any shape behind a word such as "call"."""
    number, n_digits = match["number"], len(digits_of(match["number"]))
    if not 7 <= n_digits <= 15 or is_labelled(match, THING_LABEL) or _is_measure(match):
        return False
    if _DATE_FIRST.match(number) or _HOURS_OR_RANGE.match(number) or _HOTLINE.fullmatch(number):
        return False
    if _is_called_phone(match):
        return True
    n_groups = len(regex.findall(r"\d+", number))
    is_sum = _THOUSANDS.fullmatch(number) is not None and (n_digits < 8 or "." in number)
    return not is_sum and (n_groups > 2 or number[0] in "+(0" or _LOCAL.fullmatch(number) is not None)


def _is_plain_phone(match: regex.Match[str]) -> bool:
    """Digits alone: behind a word such as "call", with a trunk prefix, or valid in North America."""
    if is_labelled(match, THING_LABEL) or _is_measure(match):
        return False
    number = match["number"]
    if _is_called_phone(match) or (number[0] == "0" and 9 <= len(number) <= 14):
        return True
    return _PLAIN_AMERICAN.fullmatch(number) is not None and _is_valid_american(number)


def _is_valid_american(number: str) -> bool:
    import phonenumbers

    return phonenumbers.is_valid_number(phonenumbers.parse(number, "US"))


def _international(text: str) -> Iterator[Span]:
    """Numbers with + and a country's code, whatever their grouping."""
    if "+" not in text and "＋" not in text:
        return
    import phonenumbers  # its metadata is read when the first such number is seen

    for match in phonenumbers.PhoneNumberMatcher(text, None, leniency=phonenumbers.Leniency.POSSIBLE):
        yield match.start, match.end


_EXTENSION = r"(?:\s?(?:x|ext\.?|转)\s?\d{1,6})?"

RULES: tuple[Rule, ...] = (
    Rule(kind="phone", find=_international),
    rule("phone", r"(?<!\d)(?:(?:00)?86[ \-]?)?[1１][3-9３-９]\d(?:[ \-]?\d{4}){2}(?!\d)", _is_chinese_mobile),
    rule("phone", r"(?<![\p{Latin}\d\-])[(（]?0(?:10|2\d|[3-9]\d\d)[)） \-]{0,2}\d{7,8}(?:-\d{1,5})?(?!\d)"),
    rule(
        "phone",
        rf"(?<![\p{{Latin}}\d]|\d[.,\-/])(?P<number>\(?\d{{1,5}}(?:[ \-/.()]{{1,3}}\d{{1,8}}){{1,6}})"
        rf"{_EXTENSION}(?![\d:]|[.,]\d)",
        _is_grouped_phone,
    ),
    rule("phone", rf"(?<![\p{{Latin}}\d.\-/]|\d,)(?P<number>\d{{7,15}}){_EXTENSION}(?!\d|[.,:]\d)", _is_plain_phone),
)
