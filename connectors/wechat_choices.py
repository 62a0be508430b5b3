"""A tapped menu entry or a typed number is the button it stands for.

Invariant: only what this conversation was offered can be chosen; anything else stays the text that was typed.
"""

from __future__ import annotations

from dataclasses import replace

from connectors.base import InboundMessage, Ports
from connectors.wechat_messages import typed_number
from connectors.wechat_rendering import payload_of_entry, payload_of_number, seq_of_entry

LOOK_BACK = 20
"""Entries of the transcript that may hold the bot's last words; a turn that says more than this offers no numbers."""


async def as_payload(message: InboundMessage, menu_id: str, ports: Ports) -> InboundMessage:
    """The message with the payload of what was chosen as its text; what was typed stays in the metadata."""
    payload = await _tapped(message, menu_id, ports) if menu_id else await _numbered(message, ports)
    if payload is None:
        return message
    wechat = {**message.metadata.get("wechat", {}), "typed": message.text}
    return replace(message, text=payload, metadata={**message.metadata, "wechat": wechat})


async def _tapped(message: InboundMessage, menu_id: str, ports: Ports) -> str | None:
    seq = seq_of_entry(menu_id)
    if not seq:
        return None
    offered = await ports.transcript(message.sender_id, seq - 1, 1)
    return payload_of_entry(menu_id, offered[0].body) if offered else None


async def _numbered(message: InboundMessage, ports: Ports) -> str | None:
    """A number counts only right after the list: later it may be an amount, or a size."""
    number = typed_number(message.text)
    if number is None:
        return None
    last = await ports.last_seq(message.sender_id)
    entries = await ports.transcript(message.sender_id, max(0, last - LOOK_BACK), LOOK_BACK)
    just_said = []
    for entry in reversed(entries):
        if entry.author == "customer":
            break
        just_said.append(entry.body)
    return payload_of_number(number, just_said[::-1])
