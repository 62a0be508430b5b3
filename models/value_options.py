"""Which values with a shape an assistant asks for. Reading them in texts is `values.py`'s.

Apart from it because its patterns take a tenth of a second to compile: who keeps or checks options never loads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

EXTRACTOR = "DucklingEntityExtractor"
# All but `date` are Duckling's; `date` is a time of the calendar alone: "tomorrow" of "tomorrow at 3 pm", never "3 pm".
DUCKLINGS = ("time", "duration", "amount-of-money", "email", "url", "phone-number", "number")
DIMENSIONS = ("date", *DUCKLINGS)


@dataclass(frozen=True, kw_only=True)
class ValueOptions:
    """Which values an assistant wants.

    Attributes:
        entities: dimension → name of the entity that it becomes.
        timezone: IANA name of the zone that "tomorrow" is reckoned in.
        month_first: 3/5 is the fifth of March, as in the United States.
        yen: ¥ is Japan's; else China's.
    """

    entities: Mapping[str, str] = field(default_factory=dict)
    timezone: str = "UTC"
    month_first: bool = False
    yen: bool = False


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name. Raises ValueError where this machine knows none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"no such time zone: {name!r}; an IANA name such as Europe/Berlin or Asia/Shanghai") from error
