"""When people of the company answer (`hours` in brand.yml). The widget works out what that means now; here it is read.

Invariant: every range is "HH:MM" to a later "HH:MM" of one day, and the time zone is one that browsers know too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from bot.assistant.source import Node, Problems
from bot.assistant.texts import Texts, read_texts

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Range = tuple[str, str]
_RANGE = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)\s*[-–]\s*((?:[01]\d|2[0-3]):[0-5]\d|24:00)")
_KEYS = frozenset({"timezone", "closed_on", "closed_text", *DAYS})


@dataclass(frozen=True, kw_only=True)
class OpeningHours:
    """`week` has the ranges of each open day, `closed_on` the days ("2026-12-25") that are no such day."""

    timezone: str
    week: Mapping[str, tuple[Range, ...]]
    closed_on: tuple[str, ...] = ()
    closed_text: Texts | None = None


def read_hours(node: Node | None, problems: Problems) -> OpeningHours | None:
    """The hours; None where the file names none or they cannot be used."""
    if node is None or not node.expect_map(problems):
        return None
    node.warn_unknown_keys(_KEYS, problems)
    zone = node.get("timezone")
    timezone = zone.text(problems) if zone else None
    if not timezone or not _is_zone(timezone):
        problems.error(
            zone or node,
            f"no such time zone: '{timezone}'" if timezone else "the hours need a time zone",
            'Write `timezone: "Europe/Berlin"` or "Asia/Shanghai" (a name of the IANA time zone database).',
        )
        return None
    week = {day: ranges for day in DAYS if (ranges := _read_day(node.get(day), problems))}
    if not week:
        problems.error(node, "the hours name no day", 'Write `mon: "09:00-18:00"`, or leave `hours` out.')
        return None
    closed = node.get("closed_text")
    return OpeningHours(
        timezone=timezone,
        week=week,
        closed_on=_read_dates(node.get("closed_on"), problems),
        closed_text=read_texts(closed, {}, problems) if closed else None,
    )


def _read_day(node: Node | None, problems: Problems) -> tuple[Range, ...]:
    found: list[Range] = []
    for text in node.texts(problems) if node else ():
        match = _RANGE.fullmatch(text.strip())
        if match is None or match[1] >= match[2]:
            problems.error(
                node,
                f"'{text}' is no range of a day",
                'Write "09:00-18:00"; past midnight are two ranges, "22:00-24:00" and the next day "00:00-02:00".',
            )
        else:
            found.append((match[1], match[2]))
    return tuple(sorted(found))


def _read_dates(node: Node | None, problems: Problems) -> tuple[str, ...]:
    found: list[str] = []
    for element in node.elements() if node and node.expect_list(problems) else ():
        try:
            found.append(date.fromisoformat(str(element.value)).isoformat())
        except ValueError:
            problems.error(element, f"'{element.value}' is no date", "Write 2026-12-25.")
    return tuple(found)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
