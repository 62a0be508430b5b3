"""The reply to WeChat's own request: what waits for the customer, merged into one, and the rest kept for later.

Invariant: the tries of one delivery are given the same reply, on any replica; what did not fit is kept in
`ChannelState` until it is sent or handed over, in front of what comes after it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from connectors.base import Delivered, DeliveryUnknown, Ports
from connectors.wechat_desk import Desk
from connectors.wechat_options import WeChatOptions
from connectors.wechat_rendering import LIMITS, as_text, cut_reply, merged
from connectors.wechat_together import Together
from connectors.wechat_xml import Article


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """What was handed over as `reference`, and what is left of it."""

    reference: str
    first: str
    rest: str


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
            handed = _Kept(reference=reference, first=first, rest=rest)
            if await state.compare_and_set(key, text, json.dumps(asdict(handed))):
                return Handed(reply=first or None, has_rest=bool(rest))

    async def push_rest(self, desk: Desk, customer: str, sender_id: str, reference: str) -> None:
        """Send what was left of this reply; what certainly did not arrive is kept again."""
        state, key = self._ports.state, _key(sender_id)
        text = await state.get(key)
        kept = _Kept(**json.loads(text)) if text else None
        if text is None or kept is None or kept.reference != reference or not kept.rest:
            return
        taken = json.dumps(asdict(replace(kept, rest="")))
        if not await state.compare_and_set(key, text, taken):
            return  # the customer's next message has it already
        pieces: list[str] = []
        rest = kept.rest
        while rest:
            piece, rest = cut_reply(rest)
            pieces.append(piece)
        result = await desk.send(customer, pieces)
        if not isinstance(result, Delivered | DeliveryUnknown):
            await state.compare_and_set(key, taken, text)

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


def _key(sender_id: str) -> str:
    return f"wechat/rest/{sender_id}"
