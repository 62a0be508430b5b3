"""The messages of one turn sent as one: each customer-service message costs one of the customer's few places.

The outbox hands over a conversation's messages one by one. The first of a turn takes the others along; when their turn
comes, they are told what became of it.

Invariant: who rides along is written down before anything is sent, so a message that rode is never sent on its own as
well; the sender's death leaves all of them unknown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from connectors.base import Delivered, DeliveryUnknown, OutboundMessage, Ports, RetryLater, SendResult, Undeliverable

MAX_RIDERS = 20
FRESH_S = 300.0
"""A message tried later than this goes alone: an operator may have decided about the others meanwhile."""


class Together:
    """Which messages of a conversation went with which, in `ChannelState`."""

    def __init__(self, ports: Ports, clock: Callable[[], float]) -> None:
        self._ports, self._clock = ports, clock

    async def fate(self, message: OutboundMessage) -> SendResult | None:
        """What became of a message that rode along with an earlier one; None when it did not."""
        key = _key(message)
        while (text := await self._ports.state.get(key)) is not None:
            ride = json.loads(text)
            if message.outbox_id not in ride["riders"]:
                return None
            riders = [rider for rider in ride["riders"] if rider != message.outbox_id]
            # Told once: should an operator send it again, it goes on its own.
            if await self._ports.state.compare_and_set(key, text, _written(ride["first"], riders, ride["end"])):
                return _result(ride)
        return None

    async def riders(self, message: OutboundMessage) -> list[OutboundMessage]:
        """What was said after the message in the same turn and still waits."""
        if self._clock() - message.created_at.timestamp() > FRESH_S:
            return []
        found = []
        for entry in (await self._ports.pending(message.sender_id, message.seq))[:MAX_RIDERS]:
            if entry.author != message.author or entry.in_reply_to != message.in_reply_to:
                break
            found.append(entry)
        return found

    async def begin(self, message: OutboundMessage, riders: Sequence[OutboundMessage]) -> bool:
        """Write down who rides along; False when somebody else just wrote."""
        key = _key(message)
        text = _written(message.outbox_id, [rider.outbox_id for rider in riders], "sending")
        return await self._ports.state.compare_and_set(key, await self._ports.state.get(key), text)

    async def end(self, message: OutboundMessage, result: SendResult) -> None:
        """What the riders are told; where WeChat certainly has nothing they are free again."""
        key = _key(message)
        text = await self._ports.state.get(key)
        if text is None or json.loads(text)["first"] != message.outbox_id:
            return
        if isinstance(result, RetryLater | Undeliverable):
            await self._ports.state.take(key)
            return
        end = "sent" if isinstance(result, Delivered) else "unknown"
        await self._ports.state.compare_and_set(key, text, _written(message.outbox_id, json.loads(text)["riders"], end))

    async def without_riders(self, sender_id: str, messages: Sequence[OutboundMessage]) -> list[OutboundMessage]:
        """What was collected, less what the customer has already, or may have."""
        text = await self._ports.state.get(f"{_PREFIX}{sender_id}")
        riders = json.loads(text)["riders"] if text else []
        return [message for message in messages if message.outbox_id not in riders]


_PREFIX = "wechat/together/"


def _key(message: OutboundMessage) -> str:
    return f"{_PREFIX}{message.sender_id}"


def _written(first: int | None, riders: Sequence[int | None], end: str) -> str:
    return json.dumps({"first": first, "riders": list(riders), "end": end})


def _result(ride: dict[str, Any]) -> SendResult:
    if ride["end"] == "sent":
        return Delivered(external_ref=f"with {ride['first']}")
    return DeliveryUnknown(reason=f"it went with message {ride['first']}, whose end is unknown")
