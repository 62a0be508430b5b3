"""The demo order database: reading orders.csv, recognising order numbers and contacts, matching the two.

Your shop replaces `find_order` with a call to its own system. Nothing here talks to the customer, nothing here
counts tries (tries.py) or changes an order (cases.py). The invariant: an order leaves this module only together with
a fact that is on it.
"""

import csv
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

ORDERS_FILE = Path(__file__).with_name("orders.csv")

# As in data/nlu_en.yml. The look-arounds name ASCII only, so that a number is found inside Chinese text without spaces.
# E27 and GU10 are what a bulb is screwed into.
_ORDER_NUMBER = re.compile(
    r"(?<![A-Za-z0-9@._+-])(?!(?:[Ee](?:14|27|40)|[Gg][Uu]?(?:4|9|10))(?![0-9]))"
    r"([A-Za-z]{1,2})-?([0-9]{1,6})(?![A-Za-z0-9@_-])(?!\.[A-Za-z])"
)
# A whole message may be looser than a number inside a sentence: "a 1042", "A – 1042".
_ORDER_NUMBER_ALONE = re.compile(r"\s{0,8}#?([A-Za-z]{1,2})[\s\-–—]{0,8}([0-9]{1,6})[\s.!。]{0,8}")
# Bounded as RFC 5321 bounds an address, and begun once per word: no message can make the search slow.
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,63}")
_PHONE = re.compile(
    r"(?<![A-Za-z0-9@._-])(?!\d{4}-\d{1,2}-\d{1,2}(?!\d))(?:\+|00)?\(?\d(?:[ ()/.-]{0,2}\d){6,14}(?![A-Za-z0-9@])"
)

# No address is longer (RFC 5321); a number or a contact further back in a message is asked for again.
_LONGEST_READ = 254
# Fewer digits than this match too many numbers by their ending alone.
_SHORTEST_LOCAL_PHONE = 9

_WEEKDAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS_EN = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS_ZH = "一二三四五六日"

RETURN_WITHIN_DAYS = 30
_EU = frozenset({"DE", "ES", "FR", "IT", "SE"})


@dataclass(frozen=True)
class Order:
    """One order of the demo shop.

    `day_offset` counts days from today, so that the demo never grows old: the expected delivery or, once an order is
    delivered, returned or cancelled, the day on which that happened. `cancelled_on` is the day of a cancellation made
    here, and stands before it.
    """

    order_number: str
    email: str
    phone: str
    country: str
    status: str
    day_offset: int
    is_made_to_measure: bool
    carriers: Mapping[str, str]
    items: Mapping[str, str]
    amount: str
    currency: str
    cancelled_on: date | None = None

    def is_known_to(self, contact: str) -> bool:
        """Say whether `contact` is the e-mail address or the phone number on this order."""
        if "@" in contact:
            return contact.casefold() == self.email.casefold()
        return _is_same_phone(contact, self.phone)

    def return_refusal(self, today: date) -> str | None:
        """Say why this order cannot be sent back, as the end of a response's name; None where it can."""
        if self.status in ("returned", "cancelled"):
            return self.status
        if self.status != "delivered":
            return "not_delivered"
        if self.is_made_to_measure:
            return "made_to_measure"
        delivered = _delivery_day(today, self.day_offset)
        return "too_late" if (today - delivered).days > RETURN_WITHIN_DAYS else None

    @property
    def return_way(self) -> str:
        """Say how a return travels: with our label ("eu"), fetched by a courier ("cn"), at one's own cost ("other")."""
        if self.country == "CN":
            return "cn"
        return "eu" if self.country in _EU else "other"

    def facts(self, language: str, today: date) -> dict[str, str]:
        """Give what the utter_order_* responses fill in, worded for `language` ("en" or "zh")."""
        return {
            "order_number": self.order_number,
            "items": self.items[language],
            "carrier": self.carriers[language],
            "day": day_in_words(self._day(today), language),
            "total": money(self.amount, self.currency, language),
        }

    def _day(self, today: date) -> date:
        # A parcel rests on Sundays; a customer cancels and sends back on any day.
        if self.status in ("returned", "cancelled"):
            return self.cancelled_on or today + timedelta(days=self.day_offset)
        return _delivery_day(today, self.day_offset)


def find_order(order_number: str, contact: str) -> Order | None:
    """Give the order only if `contact` is on it; an unknown number and a wrong contact both give None."""
    order = _orders().get(order_number)
    return order if order is not None and order.is_known_to(contact) else None


def read_order_number(text: str) -> str | None:
    """Find an order number in what a customer wrote, as the database writes it: "b77" gives "B-77"."""
    ascii_text = folded(text)
    match = _ORDER_NUMBER_ALONE.fullmatch(ascii_text) or _ORDER_NUMBER.search(ascii_text)
    return f"{match[1].upper()}-{match[2]}" if match else None


def read_contact(text: str) -> str | None:
    """Find an e-mail address (lower case) or else a phone number (digits, + if international) in a message."""
    ascii_text = folded(text)
    email = _EMAIL.search(ascii_text)
    if email:
        return email[0].lower()
    phone = _PHONE.search(ascii_text)
    return _phone_digits(phone[0]) if phone else None


def folded(text: str) -> str:
    """Full-width forms as ASCII. Cut before and after: one character of NFKC may become eighteen."""
    return unicodedata.normalize("NFKC", text[:_LONGEST_READ])[:_LONGEST_READ]


@lru_cache(maxsize=1)
def _orders() -> dict[str, Order]:
    with ORDERS_FILE.open(encoding="utf-8", newline="") as file:
        return {row["order_number"]: _order(row) for row in csv.DictReader(file)}


def _order(row: Mapping[str, str]) -> Order:
    return Order(
        order_number=row["order_number"],
        email=row["email"],
        phone=row["phone"],
        country=row["country"],
        status=row["status"],
        day_offset=int(row["day_offset"]),
        is_made_to_measure=row["made_to_measure"] == "yes",
        carriers={"en": row["carrier_en"], "zh": row["carrier_zh"]},
        items={"en": row["items_en"], "zh": row["items_zh"]},
        amount=row["amount"],
        currency=row["currency"],
    )


def _phone_digits(phone: str) -> str:
    international = phone.startswith(("+", "00"))
    # "+49 (0)30": the bracketed zero is for callers from inside the country.
    digits = re.sub(r"\(0\)|[^0-9]", "", phone) if international else re.sub(r"[^0-9]", "", phone)
    return "+" + digits.removeprefix("00") if international else digits


def _is_same_phone(typed: str, on_order: str) -> bool:
    """Compare in full where the country code was typed, else by the national number without its leading zero."""
    typed, on_order = _phone_digits(typed), _phone_digits(on_order)
    if typed.startswith("+"):
        return typed == on_order
    national = typed.lstrip("0")
    return len(national) >= _SHORTEST_LOCAL_PHONE and on_order.endswith(national)


def _delivery_day(today: date, offset: int) -> date:
    """Nothing is delivered on a Sunday: it moves to the Monday after, or back to the Saturday if it lies behind us."""
    day = today + timedelta(days=offset)
    if day.weekday() != 6:
        return day
    return day + timedelta(days=1 if offset > 0 else -1)


def day_in_words(day: date, language: str) -> str:
    """Write a day as one says it: "Monday, 23 November", "11月23日（周一）"."""
    if language == "zh":
        return f"{day.month}月{day.day}日（周{_WEEKDAYS_ZH[day.weekday()]}）"
    return f"{_WEEKDAYS_EN[day.weekday()]}, {day.day} {_MONTHS_EN[day.month - 1]}"


def money(amount: str, currency: str, language: str) -> str:
    """Write a price the way the language does: "€89.90", "89.90 欧元"."""
    styles: dict[tuple[str, str], str] = {
        ("EUR", "en"): "€{}",
        ("EUR", "zh"): "{} 欧元",
        ("CNY", "en"): "¥{}",
        ("CNY", "zh"): "{} 元",
    }
    return styles.get((currency, language), f"{{}} {currency}").format(amount)
