"""Numbers as customers write them: digits with separators, English words, Chinese numerals. No units here.

Invariant: what is no number gives None, never a guess.
"""

from __future__ import annotations

import math
import re

# Digits, thousands grouped or not, with a decimal part or not; which separator is which, `digits_value` decides.
DIGITS = r"\d{1,3}(?:[.,'’]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?"

# More digits name a parcel or an account; no float holds them exactly either.
_LONGEST = 16
_UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate([*_UNITS, *_TEENS])} | {
    word: 10 * ten for ten, word in enumerate(_TENS, 2)
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}
_WORD = "|".join(sorted([*_WORDS, *_SCALES], key=len, reverse=True))
ENGLISH = rf"(?:an?[ ](?=(?:hundred|thousand|million)\b))?(?:{_WORD})\b(?:(?:[ -]|[ ]and[ ])(?:{_WORD})\b){{0,8}}"

_ORDINALS = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"]
_ORDINALS += ["twelfth", *(f"{teen}th" for teen in _TEENS), "twentieth"]
ORDINALS = {word: value for value, word in enumerate(_ORDINALS, 1)} | {
    f"twenty{joint}{word}": 20 + value for joint in " -" for value, word in enumerate(_ORDINALS[:9], 1)
}
ORDINALS |= {"thirtieth": 30, "thirty-first": 31, "thirty first": 31}

_HAN_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "俩": 2}
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_HAN_LARGE = {"万": 10_000, "亿": 100_000_000}
_HAN_ALL = _HAN_DIGITS.keys() | _HAN_UNITS.keys() | _HAN_LARGE.keys()
CHINESE = r"(?:(?<!\d)(?<!\d\.)\d{1,16}(?:\.\d{1,16})?[百千万亿]+|[〇零一二两俩三四五六七八九十百千万亿]{1,16})"


def digits_value(text: str) -> float | None:
    """1,299.00, 1.299,00, 89,90, 1200: of two separators the last is decimal; one before three digits is none.

    "0.125" stays a fraction: nobody groups thousands after a zero. Figures longer than numbers are give None.
    """
    plain = re.sub("['’]", "", text)
    if len(plain) > _LONGEST:
        return None
    marks = re.findall("[.,]", plain)
    if len(set(marks)) == 2:
        decimal = marks[-1]
        plain = plain.replace("," if decimal == "." else ".", "").replace(decimal, ".")
    elif len(marks) > 1 or re.fullmatch(r"[1-9]\d{0,2}[.,]\d{3}", plain):
        plain = re.sub("[.,]", "", plain)
    try:
        value = float(plain.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def english_value(text: str) -> float | None:
    """ "two hundred and fifty" → 250; None for words that do not make one number ("two three")."""
    total = section = 0
    last = None
    for word in re.split(r"[ -]", text.lower()):
        if word in ("a", "an"):
            section = 1
        elif word in _WORDS:
            value = _WORDS[word]
            if last is not None and not (last in _SCALES or (_WORDS[last] >= 20 and 0 < value < 10)):
                return None
            section, last = section + value, word
        elif word == "hundred":
            section, last = max(section, 1) * 100, word
        elif word in _SCALES:
            total, section, last = total + max(section, 1) * _SCALES[word], 0, word
    return float(total + section)


def chinese_value(text: str) -> float | None:
    """三百五 → 350, 一万二 → 12000, 二〇二六 → 2026, 3万 → 30000; None for 一两百 ("one or two hundred").

    Digits or numerals longer than numbers are give None.
    """
    if found := re.fullmatch(r"(\d{1,16}(?:\.\d{1,16})?)([百千万亿]{1,16})", text):
        scale = 1
        for unit in found[2]:
            scale *= (_HAN_UNITS | _HAN_LARGE)[unit]
        return float(found[1]) * scale if scale <= _HAN_LARGE["亿"] else None
    if len(text) > _LONGEST:
        return None
    if all(char in _HAN_DIGITS for char in text):
        return _positional(text)
    return _composed(text) if set(text) <= _HAN_ALL else None


def _positional(text: str) -> float | None:
    # Two digits in a row are "one or two"; years and number plates have four and more.
    if len(text) in (2, 3):
        return None
    return float("".join(str(_HAN_DIGITS[char]) for char in text)) if text else None


def _composed(text: str) -> float | None:
    total = section = largest = 0
    digit: int | None = None
    unit = 1
    if text.count("亿") > 1:
        return None
    for char in text:
        if char in "零〇":
            digit, unit = None, 1
        elif char in _HAN_DIGITS:
            if digit is not None:
                return None
            digit = _HAN_DIGITS[char]
        elif char in _HAN_UNITS:
            unit = _HAN_UNITS[char]
            section, digit = section + (1 if digit is None else digit) * unit, None
        else:
            unit = _HAN_LARGE[char]
            section, digit = section + (digit or 0), None
            if total + section == 0:
                return None
            # 一亿两千万 adds, 一万亿 multiplies.
            total = (total + section) * unit if unit > largest else total + section * unit
            largest, section = max(largest, unit), 0
    # 三百五 is 350: the last digit counts in tenths of the unit before it.
    rest = 0 if digit is None else digit * (unit // 10 if unit >= 100 else 1)
    return float(total + section + rest)


def plain(value: float) -> int | float:
    """A whole number as `int`, as JSON from Duckling has it."""
    return int(value) if value == int(value) else value
