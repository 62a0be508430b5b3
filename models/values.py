"""Values in a text that have a shape: times, money, numbers, addresses; as Duckling gives them to Rasa.

What may be asked for stands in `value_options.py`, how a day is reckoned `moments.py`'s. No server, no training, no
dependency beyond `regex`. Invariant: spans lie inside the text and apart; no text makes it run without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import regex

from models.base import Entity
from models.moments import SECONDS, Duration, Match, Moment, Reference, matches
from models.numerals import CHINESE, DIGITS, ENGLISH, chinese_value, digits_value, english_value, plain
from models.spans import Found, longest
from models.times import find_days, find_times
from models.value_options import DIMENSIONS, EXTRACTOR, ValueOptions, zone_of

# A chat message is short; what is longer was pasted, and its values past here are not the customer's own words.
MOST_CHARACTERS = 4000


@dataclass(frozen=True, kw_only=True)
class _Value:
    """A dimension's value, and the object Duckling would give for it."""

    dimension: str
    value: object
    info: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class _Signs:
    """What a text holds: most messages hold neither, and most patterns need one of them."""

    has_digit: bool
    has_han: bool


_DIGIT = regex.compile(r"\d")
_HAN = regex.compile(r"\p{Han}|〇")


class ValueFinder:
    """Raises ValueError for a dimension or zone that there is not."""

    def __init__(self, options: ValueOptions) -> None:
        if unknown := sorted(set(options.entities) - set(DIMENSIONS)):
            raise ValueError(f"no such dimension: {', '.join(unknown)}; one of {', '.join(DIMENSIONS)}")
        self._options = options
        self._zone = zone_of(options.timezone)

    def find(self, text: str, now: datetime) -> tuple[Entity, ...]:
        """The values of one text, in reading order; of overlapping ones the longest, then by the order of DIMENSIONS.

        Args:
            now: when the message was sent, with its zone.
        """
        reference = Reference(now=now.astimezone(self._zone), month_first=self._options.month_first)
        found = sorted(self._all(text[:MOST_CHARACTERS], reference), key=lambda one: _ORDER[one.value.dimension])
        # A date is no amount and no number even where only the amount was asked for: all compete, then some are kept.
        kept = longest(found, len(text))
        return tuple(self._entity(one) for one in kept if one.value.dimension in self._options.entities)

    def _all(self, text: str, reference: Reference) -> Iterator[Found[_Value]]:
        if "date" in self._options.entities:
            for day in find_days(text, reference):
                yield Found(start=day.start, end=day.end, value=replace(_time_value(day.value), dimension="date"))
        if "time" in self._options.entities or "date" not in self._options.entities:
            for time in find_times(text, reference):
                yield Found(start=time.start, end=time.end, value=_time_value(time.value))
        signs = _Signs(has_digit=_DIGIT.search(text) is not None, has_han=_HAN.search(text) is not None)
        yield from _found(_money(text, signs, self._options.yen))
        yield from _found(_contacts(text, signs))
        yield from _found(_numbers(text, signs))

    def _entity(self, found: Found[_Value]) -> Entity:
        return Entity(
            entity=self._options.entities[found.value.dimension],
            value=found.value.value,
            start=found.start,
            end=found.end,
            confidence=1.0,
            extractor=EXTRACTOR,
            additional_info=found.value.info,
        )


_ORDER = {dimension: place for place, dimension in enumerate(DIMENSIONS)}


def _found(pairs: Iterable[tuple[Match, _Value | None]]) -> Iterator[Found[_Value]]:
    for match, value in pairs:
        if value is not None:
            yield Found(start=match.start(), end=match.end(), value=value)


# ---- times ----


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _time_value(time: Moment | Duration) -> _Value:
    if isinstance(time, Duration):
        seconds = plain(round(time.amount * SECONDS[time.unit], 3))
        amount = plain(time.amount)
        info = {
            "value": amount,
            time.unit: amount,
            "unit": time.unit,
            "type": "value",
            "normalized": {"value": seconds, "unit": "second"},
        }
        return _Value(dimension="duration", value=amount, info=info)
    if time.end is None:
        at = {"value": _iso(time.start), "grain": time.grain}
        return _Value(dimension="time", value=at["value"], info={**at, "type": "value"})
    ends = {"from": _iso(time.start), "to": _iso(time.end)}
    info = {name: {"value": value, "grain": time.grain} for name, value in ends.items()}
    return _Value(dimension="time", value=ends, info={**info, "type": "interval"})


# ---- money ----

_SYMBOLS = {
    "€": "EUR", "£": "GBP", "US$": "USD", "HK$": "HKD", "A$": "AUD", "C$": "CAD", "$": "$", "¥": "CNY", "￥": "CNY",
    "EUR": "EUR", "USD": "USD", "GBP": "GBP", "CHF": "CHF", "NOK": "NOK", "SEK": "SEK", "DKK": "DKK", "RMB": "CNY",
    "CNY": "CNY", "JPY": "JPY", "HKD": "HKD",
}  # fmt: skip
_EN_UNITS = {
    "euro": "EUR", "euros": "EUR", "eur": "EUR", "pound": "GBP", "pounds": "GBP", "quid": "GBP", "sterling": "GBP",
    "dollar": "$", "dollars": "$", "buck": "$", "bucks": "$", "franc": "CHF", "francs": "CHF", "kr": "NOK",
    "krone": "NOK", "kroner": "NOK", "yuan": "CNY", "kuai": "CNY", "rmb": "CNY", "yen": "JPY", "cent": "cent",
    "cents": "cent", "pence": "pence",
}  # fmt: skip
_HAN_UNITS = {
    "块": "CNY", "元": "CNY", "圆": "CNY", "块钱": "CNY", "元钱": "CNY", "人民币": "CNY", "毛": "毛", "毛钱": "毛",
    "欧元": "EUR", "欧": "EUR", "美元": "USD", "美金": "USD", "刀": "$", "英镑": "GBP", "镑": "GBP", "日元": "JPY",
    "港币": "HKD", "港元": "HKD", "瑞士法郎": "CHF", "瑞郎": "CHF", "法郎": "CHF", "挪威克朗": "NOK", "克朗": "NOK",
}  # fmt: skip


def _either(names: Iterable[str]) -> str:
    return "|".join(regex.escape(name) for name in sorted(names, key=len, reverse=True))


_MARK = _either(_SYMBOLS)
_NO_WORD_BEFORE = r"(?<![A-Za-z0-9_])"
_NO_WORD_AFTER = r"(?![A-Za-z0-9_])"
_THOUSAND = r"(?:\s?(?P<k>k)(?![A-Za-z]))?"
_BEFORE = regex.compile(
    rf"{_NO_WORD_BEFORE}(?P<unit>{_MARK})\s?(?P<digits>{DIGITS}){_THOUSAND}(?![A-Za-z0-9])", regex.IGNORECASE
)
_AFTER = regex.compile(
    rf"(?<![A-Za-z0-9_][-.,]?)(?:(?P<digits>{DIGITS}){_THOUSAND}(?:,-)?\s?|(?P<words>{ENGLISH}|an?)\s)"
    rf"(?P<unit>(?:[€£$¥￥]|(?:{_either([*_SYMBOLS, *_EN_UNITS])}){_NO_WORD_AFTER}))",
    regex.IGNORECASE,
)
# 12块5, 十二块八毛, 三百块, 89.9元, 200多块, 1千2百欧.
_HAN_AMOUNT = regex.compile(
    rf"(?:(?<![A-Za-z0-9_.,-])(?P<digits>{DIGITS})|(?P<words>{CHINESE}))\s?(?:多|来)?\s?(?:个)?(?P<unit>{_either(_HAN_UNITS)})"
    r"(?!地|儿|头|状|素|旦|件|布|板|砖|糖|肉|以上的)"
    r"(?:(?P<rest>[\d零一二两三四五六七八九]{1,2})(?:毛|角)?(?![\d.零一二两三四五六七八九十百千万个件条只盏套张天月号点分米厘公]))?"
)
# 两块餐垫 are two mats, 一块买 is "buy together": up to ten 块 are money where the sentence says so or ends.
_MEASURED = regex.compile(r"[一二两三四五六七八九十]块(?!$|[钱的了吗呢吧多以左\W]|[运邮]费)")
# 满300减40, 花了两百三: an amount without a currency is China's where the text is Chinese and says that money moves.
_HAN_BARE = regex.compile(
    rf"(?<=(?:花了?|付了?|扣了?|退了?|卖|收了|满|减|便宜了?|[要原现售到手]价|预算|优惠)(?:[我您你]|大概|大约|才|只)?)"
    rf"(?:(?P<digits>{DIGITS})|(?P<words>(?=[^〇零]*[十百千万]){CHINESE}))多?(?![多来]?[个件条只盏套张双瓶份盒箱台本次天年月号点分岁折%周元块毛欧美英镑星小层楼米厘公斤A-Za-z0-9_]|[.,]\d)"
)
_SMALL = {"cent": ("EUR", 100), "pence": ("GBP", 100), "毛": ("CNY", 10)}


def _money(text: str, signs: _Signs, yen: bool) -> Iterator[tuple[Match, _Value | None]]:
    for pattern in (_BEFORE, _AFTER) if signs.has_digit else (_AFTER,):
        for match in matches(pattern, text):
            amount = _written_amount(match)
            unit = match["unit"]
            code = _SYMBOLS.get(unit.upper()) or _EN_UNITS.get(unit.lower())
            yield match, _amount(amount, "JPY" if yen and unit in "¥￥" else code)
    if not signs.has_han:
        return
    for match in matches(_HAN_AMOUNT, text):
        yield match, None if _MEASURED.match(text, match.start()) and not match["rest"] else _han_amount(match)
    for match in matches(_HAN_BARE, text):
        amount = digits_value(match["digits"]) if match["digits"] else chinese_value(match["words"])
        yield match, _amount(amount, "CNY")


def _written_amount(match: Match) -> float | None:
    groups = match.groupdict()
    if groups.get("words"):
        words = groups["words"].lower()
        return 1.0 if words in ("a", "an") else english_value(" ".join(words.split()))
    amount = digits_value(match["digits"])
    return amount * 1000 if amount is not None and groups.get("k") else amount


def _han_amount(match: Match) -> _Value | None:
    amount = digits_value(match["digits"]) if match["digits"] else chinese_value(match["words"])
    unit, rest = match["unit"], match["rest"]
    if amount is not None and rest:
        tenths = float(f"0.{rest}") if rest.isascii() else _tenths(rest)
        amount = None if tenths is None or unit not in ("块", "元", "欧") else amount + tenths
    return _amount(amount, _HAN_UNITS[unit])


def _tenths(written: str) -> float | None:
    """五 of 八块五 → 0.5."""
    digit = chinese_value(written)
    return None if digit is None or digit > 9 else digit / 10


def _amount(amount: float | None, unit: str | None) -> _Value | None:
    if amount is None or unit is None:
        return None
    unit, parts = _SMALL.get(unit, (unit, 1))
    value = plain(round(amount / parts, 4))
    return _Value(dimension="amount-of-money", value=value, info={"value": value, "unit": unit, "type": "value"})


# ---- addresses ----

_EMAIL = regex.compile(
    rf"{_NO_WORD_BEFORE}[A-Za-z0-9][A-Za-z0-9._%+-]{{0,63}}@(?:[A-Za-z0-9-]{{1,63}}\.){{1,6}}[A-Za-z]{{2,24}}"
)
_URL = regex.compile(
    rf"{_NO_WORD_BEFORE}(?:https?://|www\.)(?P<domain>[A-Za-z0-9-]{{1,63}}(?:\.[A-Za-z0-9-]{{1,63}}){{1,6}})(?::\d{{2,5}})?"
    r"(?:[/?#][A-Za-z0-9._~:/?#@!$&()*+,;=%-]{0,1000}(?<![.,;:!?)]))?"
)
_PHONE = regex.compile(
    r"(?<![A-Za-z0-9_.,-])"
    r"(?:(?:\+|00)\d(?:[ ()./-]{0,2}\d){6,13}|\(?0\d(?:[ ()/-]{0,2}\d){6,11}|1[3-9]\d(?:[ -]?\d{4}){2}|"
    r"\(?\d{3}\)?[ -]\d{3}[ -]\d{4})(?![A-Za-z0-9_])"
)


def _contacts(text: str, signs: _Signs) -> Iterator[tuple[Match, _Value]]:
    for match in matches(_EMAIL, text) if "@" in text else ():
        yield match, _Value(dimension="email", value=match[0], info={"value": match[0], "type": "value"})
    for match in matches(_URL, text) if "://" in text or "www." in text else ():
        info = {"value": match[0], "domain": match["domain"].lower().removeprefix("www."), "type": "value"}
        yield match, _Value(dimension="url", value=match[0], info=info)
    for match in matches(_PHONE, text) if signs.has_digit else ():
        number = regex.sub(r"[^\d+]", "", match[0])
        yield match, _Value(dimension="phone-number", value=number, info={"value": number, "type": "value"})


# ---- numbers ----

_DIGIT_NUMBER = regex.compile(rf"(?<![A-Za-z0-9_][-.,/:]?)-?(?:{DIGITS})(?![A-Za-z0-9_]|[-/:]\d)")
_WORD_NUMBER = regex.compile(rf"\b(?!one\b(?!\s(?:hundred|thousand|million)))(?:{ENGLISH})", regex.IGNORECASE)
# 一下, 一样, 十分, 万一 are no numbers: a numeral counts with a unit of ten behind a digit, or before what is counted.
_HAN_DIGIT = "[〇零一二两三四五六七八九]"
_HAN_NUMBER = regex.compile(
    rf"(?<!第|星期|周|礼拜)(?:(?:(?<![\d.])\d{{1,16}}(?:\.\d{{1,4}})?|{_HAN_DIGIT})[十百千万亿](?:{_HAN_DIGIT}|[十百千万亿]){{0,14}}|十{_HAN_DIGIT}|"
    r"[二两三四五六七八九十](?=个|件|条|只|盏|套|张|双|瓶|份|盒|箱|台|本|次|对|款|种|位))"
)


def _numbers(text: str, signs: _Signs) -> Iterator[tuple[Match, _Value | None]]:
    for match in matches(_DIGIT_NUMBER, text) if signs.has_digit else ():
        yield match, _number(digits_value(match[0]))
    for match in matches(_WORD_NUMBER, text):
        yield match, _number(english_value(" ".join(match[0].split())))
    for match in matches(_HAN_NUMBER, text) if signs.has_han else ():
        yield match, _number(chinese_value(match[0]))


def _number(value: float | None) -> _Value | None:
    if value is None:
        return None
    number = plain(value)
    return _Value(dimension="number", value=number, info={"value": number, "type": "value"})
