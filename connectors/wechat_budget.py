"""How many customer-service messages may still be sent to one customer: WeChat counts, so we count before it does.

Invariant: of several senders that ask for the last place one gets it; a contact that WeChat counts renews its places
in the commit that stores the message.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from connectors.base import ChannelState, StateChange
from connectors.wechat_messages import Allowance
from connectors.wechat_options import BudgetOptions

KINDS: tuple[Allowance, ...] = ("event", "message")  # the one that ends sooner is used first


class Budget:
    """The places of each customer, in `ChannelState` under `<channel>/budget/<kind>/<customer>`."""

    def __init__(self, channel: str, options: BudgetOptions, clock: Callable[[], float]) -> None:
        self._channel, self._options, self._clock = channel, options, clock

    def renewed(self, customer: str, kind: Allowance) -> StateChange:
        """What a contact of this kind allows from now on, to be committed with it."""
        if kind == "message":
            left, lasts_s = self._options.after_message, self._options.after_message_h * 3_600
        else:
            left, lasts_s = self._options.after_event, self._options.after_event_min * 60
        return StateChange(key=self._key(customer, kind), value=_written(left, self._clock() + lasts_s))

    async def take(self, state: ChannelState, customer: str, count: int) -> Allowance | None:
        """Take `count` places of one kind, and say which; None when there are not that many."""
        for kind in KINDS:
            key = self._key(customer, kind)
            while (text := await state.get(key)) is not None:
                left, until = _read(text)
                if left < count or until <= self._clock():
                    break
                if await state.compare_and_set(key, text, _written(left - count, until)):
                    return kind
        return None

    async def give_back(self, state: ChannelState, customer: str, kind: Allowance, count: int) -> None:
        """Nothing was sent on these places."""
        key = self._key(customer, kind)
        text = await state.get(key)
        if text is not None:
            left, until = _read(text)
            await state.compare_and_set(key, text, _written(left + count, until))

    async def empty(self, state: ChannelState, customer: str) -> None:
        """WeChat says that nothing is left: it knows better."""
        for kind in KINDS:
            key = self._key(customer, kind)
            text = await state.get(key)
            if text is not None:
                await state.compare_and_set(key, text, _written(0, _read(text)[1]))

    def _key(self, customer: str, kind: Allowance) -> str:
        return f"{self._channel}/budget/{kind}/{customer}"


def _written(left: int, until: float) -> str:
    return json.dumps([left, until])


def _read(text: str) -> tuple[int, float]:
    left, until = json.loads(text)
    return int(left), float(until)
