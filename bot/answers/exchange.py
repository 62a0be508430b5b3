"""What a customer and the bot said just before: a generator reads it, so that "and for lamps?" has a meaning. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.dialogue.parsing import SAFETY

MOST_CHARS = 300
"""Of each of the two; what is longer is cut at its end."""
_BREAKS = frozenset({"session_started", "restart", "rewind", "undo"})
"""Events behind which nothing is looked for: what was said there is over, or taken back."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A customer's message and what the bot said to it."""

    customer: str
    bot: str


def last_exchange(events: Sequence[Mapping[str, Any]]) -> Exchange | None:
    """The last one in Rasa's event JSON; None where there is none in words, and where the message seemed to be an
    attack: no generator reads that, then or later."""
    replies: list[str] = []
    for event in reversed(events):
        kind, text = event.get("event"), event.get("text")
        if kind in _BREAKS:
            return None
        if kind == "bot" and isinstance(text, str) and text.strip():
            replies.append(text.strip())
        if kind == "user":
            is_said = isinstance(text, str) and text.strip() and not text.startswith("/")  # not a button's payload
            if not is_said or not replies or SAFETY in (event.get("parse_data") or {}):
                return None
            reply = "\n".join(reversed(replies))
            return Exchange(customer=str(text).strip()[:MOST_CHARS], bot=reply[:MOST_CHARS])
    return None
