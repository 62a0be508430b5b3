"""The messages of one turn as one customer-service message: sent once, whatever becomes of the one that took them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Delivered, DeliveryUnknown, InboundMessage, OutboundMessage, RetryLater, Undeliverable
from connectors.memory import MemoryPorts, MemoryState
from connectors.wechat import WeChat
from connectors.wechat_options import WeChatOptions
from tests.wechat_side import CUSTOMER, WeChatServer, credentials, wechat_server

SENDER = f"wechat:{CUSTOMER}"


@dataclass
class Desk:
    """A channel whose customer has written, and the rows of the answer as the outbox worker hands them over."""

    channel: WeChat
    ports: MemoryPorts
    wechat: WeChatServer
    asked: int = 0

    async def answer(self, *texts: str, **changes: Any) -> list[OutboundMessage]:
        self.asked += 1
        message = InboundMessage(
            channel="wechat",
            account="a",
            external_id=f"m{self.asked}",
            customer=CUSTOMER,
            sender_id=SENDER,
            text="?",
            received_at=datetime.now(UTC),
        )
        (receipt,) = await self.ports.receive([message])
        return self.ports.reply(receipt.inbound_id, [{"text": text} for text in texts])

    async def send(self, message: OutboundMessage) -> object:
        return await self.channel.send(message, is_repeat=False)


@asynccontextmanager
async def desk(now: float | None = None, places: int = 5) -> AsyncIterator[Desk]:
    async with wechat_server() as wechat:
        options = WeChatOptions.of(credentials(api_url=wechat.url, budget={"after_message": places}), {})
        channel, ports = WeChat(options, clock=lambda: now or time.time()), MemoryPorts()
        running = asyncio.create_task(channel.run(ports))
        await asyncio.sleep(0)
        assert isinstance(ports.state, MemoryState)
        ports.state.set(channel.budget.renewed(CUSTOMER, "message"))
        yield Desk(channel, ports, wechat)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_one_turn_is_one_message() -> None:
    async with desk(places=1) as place:
        rows = await place.answer("一", "二", "三")
        later = await place.answer("四")
        assert [await place.send(row) for row in rows] == [
            Delivered(),
            Delivered(external_ref="with 1"),
            Delivered(external_ref="with 1"),
        ]
        assert place.wechat.texts() == ["一\n\n二\n\n三"]
        assert isinstance(await place.send(later[0]), RetryLater), "the one place is used"


async def test_another_turn_does_not_ride_along() -> None:
    async with desk() as place:
        (first,), (second,) = await place.answer("一"), await place.answer("二")
        assert [await place.send(first), await place.send(second)] == [Delivered(), Delivered()]
        assert place.wechat.texts() == ["一", "二"]


async def test_what_the_customer_has_already_does_not_ride_along() -> None:
    async with desk() as place:
        rows = await place.answer("一", "二", "三")
        assert place.channel.parts is not None
        # An operator sends the first again: the others went with the reply to a try, but for the last.
        place.ports.delivered(rows[1])
        assert await place.send(rows[0]) == Delivered()
        assert place.wechat.texts() == ["一\n\n三"]


async def test_where_the_end_is_unknown_it_is_unknown_for_all() -> None:
    async with desk() as place:
        rows = await place.answer("一", "二")
        place.wechat.answers = ["taken but unsaid"]
        results = [await place.send(row) for row in rows]
        assert [type(result) for result in results] == [DeliveryUnknown] * 2
        assert place.wechat.texts() == ["一\n\n二"]
        # An operator sends the second once more: it goes on its own.
        assert await place.send(rows[1]) == Delivered()
        assert place.wechat.texts() == ["一\n\n二", "二"]


async def test_a_sender_that_dies_leaves_all_unknown() -> None:
    async with desk() as place:
        rows = await place.answer("一", "二")
        place.wechat.hang = asyncio.Event()
        dying = asyncio.create_task(place.send(rows[0]))
        async with asyncio.timeout(10):
            while not place.wechat.calls:
                await asyncio.sleep(0.01)
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        place.wechat.hang.set()
        assert isinstance(await place.send(rows[1]), DeliveryUnknown)


@pytest.mark.parametrize(("code", "result"), [(45009, RetryLater), (40003, Undeliverable)])
async def test_what_was_refused_frees_the_others(code: int, result: type) -> None:
    async with desk() as place:
        rows = await place.answer("一", "二")
        place.wechat.answers = [code]
        assert isinstance(await place.send(rows[0]), result)
        assert await place.send(rows[1]) == Delivered()
        assert place.wechat.texts() == ["二"]


async def test_much_later_each_goes_alone() -> None:
    async with desk(now=datetime.now(UTC).timestamp() + 400) as place:
        rows = await place.answer("一", "二")
        assert await place.send(rows[0]) == Delivered()
        assert place.wechat.texts() == ["一"]


async def test_what_rode_along_is_not_collected_as_well() -> None:
    async with desk() as place:
        rows = await place.answer("一", "二")
        assert await place.send(rows[0]) == Delivered()
        assert place.channel.parts is not None
        handed = await place.channel.parts.passive.hand_over(SENDER, "passive:9", "more")
        assert handed.reply == "一"  # of the rows in memory none is ever settled; the rider is left out
