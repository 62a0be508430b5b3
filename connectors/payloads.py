"""Button payloads on channels that carry few bytes: a long one stays in the transcript, and the button has its place.

Invariant: a place is looked up in the conversation that the press came from, and in no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from connectors.base import Button, Buttons, Card, Carousel, OutboundMessage, Ports, QuickReplies
from connectors.rendering import parts

_PLACE = re.compile(r"kefu:(\d{1,9}):(\d{1,4})")


def carried_payload(button: Button, message: OutboundMessage, max_bytes: int) -> str:
    """What the channel's button carries: the payload, or where `full_payload` finds it."""
    payload = button.payload or button.title
    if len(payload.encode(errors="replace")) <= max_bytes and not _PLACE.fullmatch(payload):
        return payload
    return f"kefu:{message.seq}:{_buttons(message.body).index(button)}"


async def full_payload(carried: str, sender_id: str, ports: Ports) -> str:
    """What a pressed button means; "" when its message is not in this conversation (any more)."""
    if (place := _PLACE.fullmatch(carried)) is None:
        return carried
    seq, number = int(place[1]), int(place[2])
    for entry in await ports.transcript(sender_id, seq - 1, limit=1):
        buttons = _buttons(entry.body) if entry.seq == seq else []
        if number < len(buttons):
            return buttons[number].payload or buttons[number].title
    return ""


def _buttons(body: Mapping[str, Any]) -> list[Button]:
    """Every button of a message, in order; equal ones mean the same."""
    found: list[Button] = []
    for part in parts(body):
        if isinstance(part, Buttons | QuickReplies | Card):
            found += part.buttons
        elif isinstance(part, Carousel):
            found += [button for card in part.cards for button in card.buttons]
    return found
