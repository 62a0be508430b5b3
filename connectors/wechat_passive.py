"""The reply to WeChat's own request: what waits for the customer, merged into one, and the rest kept for later.

Invariant: the tries of one delivery are given the same reply, on any replica; what did not fit is kept in
`ChannelState` until it is sent or handed over, in front of what comes after it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from connectors.base import Delivered, DeliveryUnknown, Ports
from connectors.wechat_desk import Desk
from connectors.wechat_options import WeChatOptions
from connectors.wechat_rendering import LIMITS, as_text, cut_reply, merged
from connectors.wechat_together import Together
from connectors.wechat_xml import Article

PUSH_LEASE_S = 120.0
"""Longer than it takes to send a rest; who finds it held leaves it to the other."""


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was handed over as `reference`, and what is left of it: of what was collected as one of `sources`."""

    reference: str
    first: str
    rest: str
    sources: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Handed:
    """The one reply; None where nothing waits. `has_rest`: more is kept."""

    reply: str | Article | None
    has_rest: bool = False


class Passive:
    """Hands over what waits in a conversation."""

    def __init__(self, options: WeChatOptions, ports: Ports, together: Together) -> None:
        self._options, self._ports, self._together = options, ports, together

    async def hand_over(self, sender_id: str, reference: str, more_id: str) -> Handed:
        """Everything that waits, as one reply.

        Args:
            reference: the same for each try of one delivery.
            more_id: what a tap on "more" brings back.
        """
        state, key = self._ports.state, _key(sender_id)
        while True:
            text = await state.get(key)
            kept = _Kept(**json.loads(text)) if text else None
            if kept is not None and kept.reference == reference:
                return Handed(reply=kept.first, has_rest=bool(kept.rest))
            collected = await self._ports.collect(sender_id, reference)
            waiting = await self._together.without_riders(sender_id, collected)
            whole = merged(waiting, self._options.public_url)
            before = kept.rest if kept else ""
            if isinstance(whole, Article) and not before:
                return Handed(reply=whole)
            first, rest = cut_reply("\n\n".join(part for part in (before, as_text(whole)) if part), self._more(more_id))
            if not before and not rest:
                return Handed(reply=first or None)
            sources = [*(kept.sources if kept and before else ()), reference]
            handed = _Kept(reference=reference, first=first, rest=rest, sources=sources)
            if await state.compare_and_set(key, text, json.dumps(asdict(handed))):
                return Handed(reply=first or None, has_rest=bool(rest))

    async def push_rest(self, desk: Desk, customer: str, sender_id: str, reference: str) -> None:
        """Send what was left of this reply; what certainly did not arrive is kept again.

        From before the first piece is sent until the end is known an operator sees the answer as "unknown": that is
        what is left of a sender that dies.
        """
        state, key, holder = self._ports.state, _key(sender_id), secrets.token_hex(8)
        # Each try of the delivery has left somebody who wants to send it.
        if not await state.lease(key, holder, PUSH_LEASE_S):
            return
        text = await state.get(key)
        kept = _Kept(**json.loads(text)) if text else None
        if text is not None and kept is not None and kept.reference == reference and kept.rest:
            await self._doubt(sender_id, kept, "the sender died between sending and settling the rest")
            taken = json.dumps(asdict(replace(kept, rest="")))
            if await state.compare_and_set(key, text, taken):
                result = await desk.send(customer, _pieces(kept.rest))
                is_certain = isinstance(result, Delivered) or (
                    not isinstance(result, DeliveryUnknown) and await state.compare_and_set(key, taken, text)
                )
                why = "" if isinstance(result, Delivered) else result.reason
            else:  # the customer's next message has it already
                is_certain, why = True, ""
            await self._doubt(sender_id, kept, None if is_certain else f"the rest of the answer: {why}")
        await state.lease(key, holder, 0)

    async def _doubt(self, sender_id: str, kept: _Kept, reason: str | None) -> None:
        for source in kept.sources or (kept.reference,):
            await self._ports.doubt(sender_id, source, reason)

    def later(self, handed: str | Article | None, answer_id: str) -> str:
        """The last try's words where the answer is not ready, behind what was waiting before."""
        tap = tap_link(self._options.tap_text, answer_id)
        text = self._options.later_text.replace("{tap}", tap)
        before = as_text(handed) if handed is not None else ""
        together = f"{before}\n\n{text}" if before else text
        return together if len(together.encode(errors="replace")) <= LIMITS.max_text_chars else before

    def _more(self, more_id: str) -> str:
        """Behind a reply that has more to come; where the rest is pushed it comes by itself."""
        if self._options.customer_messages:
            return ""
        return "\n" + self._options.more_text.replace("{tap}", tap_link(self._options.more_tap_text, more_id))


def tap_link(words: str, menu_id: str) -> str:
    """A link in a text that, when tapped, sends the words back with the id."""
    return f'<a href="weixin://bizmsgmenu?msgmenucontent={words}&msgmenuid={menu_id}">{words}</a>'


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    while text:
        piece, text = cut_reply(text)
        pieces.append(piece)
    return pieces


def _key(sender_id: str) -> str:
    return f"wechat/rest/{sender_id}"
