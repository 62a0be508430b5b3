"""Which greeting is shown when (`greetings` in brand.yml): by the time of day, or by the days of the year.

Invariant: both ends of a span are of one kind, "HH:MM" or "MM-DD", so that they compare as texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from bot.assistant.source import Node, Problems
from bot.assistant.texts import Texts, read_texts

_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")
_DAY = re.compile(r"(\d\d)-(\d\d)")
_LEAP_YEAR = 2024
_EXAMPLE = 'Write `from: "05:00"` and `until: "11:00"`, or `from: "12-01"` and `until: "12-26"` (month-day).'


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """A greeting of some hours (`until` is no longer in them) or of some days (`until` is the last).

    Where `until` comes before `start`, the span goes over midnight or over the new year.
    """

    start: str
    until: str
    text: Texts

    def fits(self, now: datetime) -> bool:
        """Whether it is shown at `now`, the local time of the company."""
        is_time = ":" in self.start
        here = f"{now:%H:%M}" if is_time else f"{now:%m-%d}"
        has_begun, has_ended = here >= self.start, here >= self.until if is_time else here > self.until
        return (has_begun and not has_ended) if self.start <= self.until else (has_begun or not has_ended)


def greeting_at(greetings: Iterable[Greeting], now: datetime, default: Texts) -> Texts:
    """The first greeting that fits; `default` where none does, and in the languages that it leaves out."""
    return {**default, **next((one.text for one in greetings if one.fits(now)), {})}


def read_greetings(node: Node | None, problems: Problems) -> tuple[Greeting, ...]:
    if node is None or not node.expect_list(problems):
        return ()
    return tuple(found for each in node.elements() if (found := _read_greeting(each, problems)))


def _read_greeting(node: Node, problems: Problems) -> Greeting | None:
    if not node.expect_map(problems):
        return None
    node.warn_unknown_keys(frozenset({"from", "until", "text"}), problems)
    start, until = (_read_end(node, key, problems) for key in ("from", "until"))
    text = read_texts(node.get("text"), {}, problems)
    if not text:
        problems.error(node, "this greeting has no text", 'Write `text: {en: "Good morning!", zh: "早上好！"}`.')
    if start is None or until is None or not text:
        return None
    if (":" in start) != (":" in until):
        problems.error(node, f"'{start}' and '{until}' are a time and a day", _EXAMPLE)
        return None
    if ":" in start and start == until:
        problems.error(node, f"from '{start}' until '{until}' is no time at all", _EXAMPLE)
        return None
    return Greeting(start=start, until=until, text=text)


def _read_end(node: Node, key: str, problems: Problems) -> str | None:
    end = node.get(key)
    if end is not None and isinstance(end.value, str) and _is_end(end.value):
        return str(end.value)
    said = f"this greeting has no `{key}`" if end is None else f"'{end.plain()}' is no time and no day"
    problems.error(end or node, said, _EXAMPLE)
    return None


def _is_end(text: str) -> bool:
    if _TIME.fullmatch(text):
        return True
    found = _DAY.fullmatch(text)
    if found is None:
        return False
    try:
        date(_LEAP_YEAR, int(found[1]), int(found[2]))
    except ValueError:
        return False
    return True
