"""What the channel owes: acknowledge after storing, once, in order, and leave a try open as WeChat expects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from connectors.base import InboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from connectors.wechat import WeChat
from connectors.wechat_options import WeChatOptions
from tests.wechat_side import CUSTOMER, Account, credentials, event_xml, message_xml

SENDER = f"wechat:{CUSTOMER}"


def account(ports: MemoryPorts, **changes: Any) -> Account:
    channel = WeChat(WeChatOptions.of(credentials(**changes), {}))
    transport = httpx.ASGITransport(Starlette(routes=channel.routes(ports)))
    return Account(http=httpx.AsyncClient(transport=transport, base_url="http://shop", timeout=30))


def echo(message: InboundMessage) -> Sequence[Mapping[str, Any]]:
    return [{"text": f"answer to {message.text}"}]


class GatedPorts(MemoryPorts):
    """`receive` stores only when the gate opens, as a commit that takes its time."""

    def __init__(self) -> None:
        super().__init__(echo)
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        self.asked.set()
        await self.gate.wait()
        return await super().receive(batch, state_changes)


async def test_it_answers_only_after_the_message_is_stored() -> None:
    ports = GatedPorts()
    asking = asyncio.create_task(account(ports).ask(message_xml("hello")))
    await ports.asked.wait()
    # Nothing is to happen, so there is nothing to wait for but time; the whole turn takes a few milliseconds.
    done, _ = await asyncio.wait({asking}, timeout=0.1)
    assert not done
    ports.gate.set()
    assert await asking == "answer to hello"


async def test_answers_come_in_the_order_of_the_messages() -> None:
    wechat = account(MemoryPorts(echo))
    heard = [await wechat.ask(message_xml(f"message {number}", number)) for number in range(8)]
    assert heard == [f"answer to message {number}" for number in range(8)]


async def test_back_pressure_is_said() -> None:
    answer = await account(MemoryPorts(echo, 0)).deliver(message_xml("hello"))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


async def test_an_empty_message_is_acknowledged_and_a_long_one_cut() -> None:
    ports = MemoryPorts(lambda message: [{"text": str(len(message.text))}])
    wechat = account(ports)
    assert await wechat.ask(message_xml(" ", 1)) is None
    assert await ports.last_seq(SENDER) == 0
    assert await wechat.ask(message_xml("灯" * 5_000, 2)) == "4000"


async def test_silence_is_acknowledged_at_once() -> None:
    assert await account(MemoryPorts(lambda _: [])).ask(message_xml("hello")) is None


async def test_a_try_without_an_answer_is_left_open_beyond_its_deadline() -> None:
    """An answer would end WeChat's asking; only a try that it closes itself is followed by another."""
    ports = MemoryPorts()
    wechat = account(ports, try_deadline_s=0.05, hang_up_s=0.4)
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await wechat.ask(message_xml("hello")) is None
    assert loop.time() - began >= 0.4


async def test_what_the_bot_said_before_comes_with_the_next_answer() -> None:
    ports = MemoryPorts()
    wechat = account(ports, try_deadline_s=0.05, hang_up_s=0.0)
    assert await wechat.ask(message_xml("one", 1)) is None
    ports.reply(1, [{"text": "to one"}, {"text": "and more"}])
    asking = asyncio.create_task(account(ports).ask(message_xml("two", 2)))
    async with asyncio.timeout(10):
        while not ports.waiting:
            await asyncio.sleep(0.01)
    ports.reply(2, [{"text": "to two"}])
    assert await asking == "to one\n\nand more\n\nto two"


@pytest.mark.parametrize(("event", "places"), [("CLICK", 3), ("SCAN", 3), ("subscribe", 3), ("VIEW", None)])
async def test_a_contact_renews_the_budget(event: str, places: int | None) -> None:
    ports = MemoryPorts(echo)
    await account(ports).ask(event_xml(event, "key"))
    written = await ports.state.get(f"wechat/budget/event/{CUSTOMER}")
    assert (written and written.startswith(f"[{places},")) == (True if places else None)
    assert await ports.state.get(f"wechat/budget/message/{CUSTOMER}") is None


async def test_where_nothing_may_be_sent_nothing_is_counted() -> None:
    ports = MemoryPorts(echo)
    await account(ports, customer_messages=False).ask(message_xml("hello"))
    assert await ports.state.get(f"wechat/budget/message/{CUSTOMER}") is None
