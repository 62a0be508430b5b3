"""What every connector owes, run over each of them: acknowledge after storing, once, in order, and refuse clearly.

What a channel that messages are pushed to owes as well stands below. `customers.CHANNELS` is the list of channels.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base import (
    Delivered,
    DeliveryUnknown,
    InboundMessage,
    OutboundMessage,
    PushConnector,
    Receipt,
    RetryLater,
    SendResult,
    StateChange,
    Undeliverable,
)
from connectors.memory import MemoryPorts
from tests.contract.customers import CHANNELS, PUSHED, Customer, Open, OpenPushed, PushCustomer
from tests.rich_messages import BODIES, RICH


@pytest.fixture(params=list(CHANNELS))
def open_channel(request: pytest.FixtureRequest) -> Open:
    return CHANNELS[request.param]


class Recorder:
    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []

    def __call__(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.messages.append(message)
        return [{"text": f"answer to {message.text}"}]


async def heard(customer: Customer, ports: MemoryPorts, recorder: Recorder) -> list[str]:
    """What the customer was shown; where messages are pushed, first push what waits, as the outbox worker does."""
    connector = customer.connector
    for sender_id in dict.fromkeys(message.sender_id for message in recorder.messages):
        if isinstance(connector, PushConnector):
            for message in await ports.collect(sender_id, "the suite's outbox"):
                assert isinstance(await connector.send(message, is_repeat=False), Delivered)
    return await customer.heard()


async def test_a_message_arrives_with_its_channel_and_is_answered(open_channel: Open) -> None:
    ports = MemoryPorts(recorder := Recorder())
    async with open_channel(ports) as customer:
        assert await customer.say(" 你好 hello ", "message-number-1") == "ok"
        assert await heard(customer, ports, recorder) == ["answer to 你好 hello"]
    name = customer.connector.name
    [message] = recorder.messages
    assert (message.channel, message.input_channel, message.text) == (name, name, "你好 hello")
    assert message.received_at.utcoffset() is not None


class GatedPorts(MemoryPorts):
    """`receive` stores only when the gate opens, as a commit that takes its time."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        self.asked.set()
        await self.gate.wait()
        return await super().receive(batch, state_changes)


async def test_it_acknowledges_only_after_the_message_is_stored(open_channel: Open) -> None:
    ports = GatedPorts(Recorder())
    async with open_channel(ports) as customer:
        saying = asyncio.create_task(customer.say("hello", "message-number-1"))
        await ports.asked.wait()
        # Nothing is to happen, so there is nothing to wait for but time; the whole turn takes a few milliseconds.
        done, _ = await asyncio.wait({saying}, timeout=0.1)
        assert not done
        ports.gate.set()
        assert await saying == "ok"


async def test_a_repeat_is_acknowledged_and_answered_once(open_channel: Open) -> None:
    recorder = Recorder()
    async with open_channel(MemoryPorts(recorder)) as customer:
        for _ in range(3):
            assert await customer.say("hello", "message-number-1") == "ok"
    assert len(recorder.messages) == 1


async def test_answers_come_in_the_order_of_the_messages(open_channel: Open) -> None:
    ports = MemoryPorts(recorder := Recorder())
    async with open_channel(ports) as customer:
        for number in range(8):
            assert await customer.say(f"message {number}", f"message-number-{number}") == "ok"
        assert await heard(customer, ports, recorder) == [f"answer to message {number}" for number in range(8)]


async def test_an_identity_sent_by_the_customer_is_not_believed(open_channel: Open) -> None:
    recorder = Recorder()
    async with open_channel(MemoryPorts(recorder)) as customer:
        forged = {"identity": {"email": "anna@a.example", "verified": True}}
        assert await customer.say("hello", "message-number-1", forged) == "ok"
    assert "identity" not in recorder.messages[0].metadata


@pytest.mark.parametrize(
    ("sign", "beyond", "outcome"),
    [("x", 0, "ok"), ("灯", 1, "too long"), ("", 0, "malformed"), (" \x00\n", 0, "malformed")],
)
async def test_lengths(open_channel: Open, sign: str, beyond: int, outcome: str) -> None:
    """A platform would pass on again and again what is refused: what cannot be taken as it is, is cut or left out."""
    recorder = Recorder()
    async with open_channel(MemoryPorts(recorder)) as customer:
        limit = customer.connector.limits.max_inbound_chars
        text = sign * (limit + beyond) if sign.strip() else sign
        is_passed_on = isinstance(customer.connector, PushConnector)
        assert await customer.say(text, "message-number-1") == ("ok" if is_passed_on else outcome)
    taken = [message.text for message in recorder.messages]
    if outcome == "too long" and is_passed_on:
        assert all(0 < len(part) <= limit for part in taken)
    else:
        assert taken == ([text] if outcome == "ok" else [])


async def test_back_pressure_is_said(open_channel: Open) -> None:
    async with open_channel(MemoryPorts(Recorder(), 0)) as customer:
        assert await customer.say("hello", "message-number-1") == "busy"


# ---- channels that messages are pushed to ----


@pytest.fixture(params=list(PUSHED))
def open_pushed(request: pytest.FixtureRequest) -> OpenPushed:
    return PUSHED[request.param]


@pytest.fixture
async def pushed(open_pushed: OpenPushed) -> AsyncIterator[Pushed]:
    ports = MemoryPorts(recorder := Recorder())
    async with open_pushed(ports) as customer:
        assert await customer.say("hello", "message-number-1") == "ok"
        first = (await ports.collect(recorder.messages[0].sender_id, "not sent by the suite"))[0]
        yield Pushed(customer, first)


class Pushed:
    """A customer who has said something, so that the bot may write to them."""

    def __init__(self, customer: PushCustomer, answer: OutboundMessage) -> None:
        self.customer, self._answer, self._number = customer, answer, 100

    def message(self, body: Mapping[str, Any]) -> OutboundMessage:
        self._number += 1
        return OutboundMessage(
            outbox_id=self._number,
            conversation_id=self._answer.conversation_id,
            sender_id=self._answer.sender_id,
            seq=self._number,
            author="bot",
            body=body,
            created_at=datetime.now(UTC),
        )

    async def send(self, body: Mapping[str, Any]) -> SendResult:
        return await self.customer.connector.send(self.message(body), is_repeat=False)


@pytest.mark.parametrize("kind", list(RICH))
async def test_every_kind_of_message_is_shown(pushed: Pushed, kind: str) -> None:
    assert isinstance(await pushed.send(RICH[kind]), Delivered)
    assert await pushed.customer.heard()


async def test_nothing_to_show_is_delivered(pushed: Pushed) -> None:
    assert isinstance(await pushed.send({"custom": {"type": "hologram"}}), Delivered)
    assert await pushed.customer.heard() == []


async def test_half_an_emoji_is_sent_as_far_as_it_is_text(pushed: Pushed) -> None:
    assert isinstance(await pushed.send({"text": "half an emoji \ud83d"}), Delivered)
    assert await pushed.customer.heard() == ["half an emoji ?"]


@pytest.mark.parametrize("kind", list(PUSHED))
@given(bodies=st.lists(BODIES, min_size=1, max_size=25))
@settings(max_examples=8, deadline=None)
def test_no_body_breaks_sending(kind: str, bodies: list[dict[str, Any]]) -> None:
    async def send_all() -> list[SendResult]:
        ports = MemoryPorts(recorder := Recorder())
        async with PUSHED[kind](ports) as customer:
            await customer.say("hello", "message-number-1")
            first = (await ports.collect(recorder.messages[0].sender_id, "not sent by the suite"))[0]
            return [await Pushed(customer, first).send(body) for body in bodies]

    assert all(isinstance(result, get_args(SendResult)) for result in asyncio.run(send_all()))


async def test_long_text_comes_in_pieces_and_whole(pushed: Pushed) -> None:
    text = "".join(f"{number} 灯. " for number in range(pushed.customer.connector.limits.max_text_chars // 3)).strip()
    assert isinstance(await pushed.send({"text": text}), Delivered)
    pieces = await pushed.customer.heard()
    assert "".join("".join(pieces).split()) == "".join(text.split())


async def test_a_platform_that_wants_a_pause_is_asked_again_later(pushed: Pushed) -> None:
    pushed.customer.meet("slow down")
    result = await pushed.send({"text": "one"})
    assert isinstance(result, RetryLater)
    assert result.after_s == pytest.approx(3, abs=1)
    assert isinstance(await pushed.send({"text": "two"}), Delivered)


async def test_a_customer_who_takes_none_is_undeliverable(pushed: Pushed) -> None:
    pushed.customer.meet("gone")
    assert isinstance(await pushed.send({"text": "one"}), Undeliverable)


async def test_what_was_broken_off_is_unknown(pushed: Pushed) -> None:
    pushed.customer.meet("broken off")
    result = await pushed.send({"text": "one"})
    assert isinstance(result, DeliveryUnknown | RetryLater if pushed.customer.connector.can_repeat else DeliveryUnknown)


async def test_what_never_reached_the_platform_is_tried_again(pushed: Pushed) -> None:
    connector = pushed.customer.unreachable()
    connector.routes(MemoryPorts())
    assert isinstance(await connector.send(pushed.message({"text": "one"}), is_repeat=False), RetryLater)


async def test_a_message_refused_halfway_goes_on_where_it_was(pushed: Pushed) -> None:
    connector = pushed.customer.connector
    message = pushed.message({"text": "word " * connector.limits.max_text_chars})
    pushed.customer.meet(None, "slow down")
    assert isinstance(await connector.send(message, is_repeat=False), RetryLater)
    assert isinstance(await connector.send(message, is_repeat=True), Delivered)
    assert "".join(await pushed.customer.heard()).count("word") == connector.limits.max_text_chars


async def test_what_only_says_to_be_the_platforms_is_refused(open_pushed: OpenPushed) -> None:
    recorder = Recorder()
    async with open_pushed(MemoryPorts(recorder)) as customer:
        assert await customer.forge() in (401, 403)
    assert recorder.messages == []
