"""Personal data out of text before it is learned from or printed. Pure.

Invariant: redacting twice equals redacting once; a placeholder never matches a pattern again.
"""

from __future__ import annotations

import regex

# Chinese is written without spaces: only Latin letters belong to an address or keep a number from being a phone.
_EMAIL = regex.compile(r"[\p{Latin}\p{N}._%+\-]+@[\p{Latin}\p{N}\-]+(?:\.[\p{Latin}\p{N}\-]+)*\.\p{Latin}{2,}")
_URL = regex.compile(r"\b(?:https?://|www\.)[^\s<>，。]+", regex.IGNORECASE)
_IBAN = regex.compile(r"\b[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){3,7}(?:[ ]?[A-Z0-9]{1,3})?\b")
_CHINESE_ID = regex.compile(r"(?<!\d)\d{6}(?:19|20)\d{2}(?:0\d|1[0-2])(?:[0-2]\d|3[01])\d{3}[\dXx](?!\d)")
_CARD = regex.compile(r"(?<!\d)(?:\d[ \-]?){13,19}(?<=\d)(?!\d)")
_PHONE = regex.compile(r"(?<![\p{Latin}\d\-])(?:\+|00)?\(?\d(?:[ \-/().]{0,2}\d){6,14}(?!\d)")


def _is_card(digits: str) -> bool:
    """Luhn's check over 13–19 digits."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return 13 <= len(digits) <= 19 and total % 10 == 0


def redact(text: str) -> str:
    """Replace e-mail addresses, links, bank and card numbers, Chinese ids and phone numbers by placeholders.

    Order numbers stay: they name no person and intents are learned from them.
    """
    text = _EMAIL.sub("[email]", text)
    text = _URL.sub("[url]", text)
    text = _CHINESE_ID.sub("[id]", text)
    text = _IBAN.sub("[iban]", text)
    text = _CARD.sub(lambda m: "[card]" if _is_card(regex.sub(r"\D", "", m[0])) else m[0], text)
    return _PHONE.sub("[phone]", text)
