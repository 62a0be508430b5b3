"""Socket Mode against a Slack of the tests' own: stored, then acknowledged; and no moment without a connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from connectors.base import Background, InboundMessage, Receipt, StateChange, TooBusy
from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_options import SlackOptions
from tests import slack_people as people
from tests.slack_server import APP_TOKEN, BOT_TOKEN, FakeSlack, Said, refusal, slack


@pytest.fixture
def ports() -> MemoryPorts:
    return MemoryPorts()


@asynccontextmanager
async def listening(ports: MemoryPorts) -> AsyncIterator[FakeSlack]:
    async with slack() as (fake, api_url):
        channel = Slack(SlackOptions(app_token=APP_TOKEN, bot_token=BOT_TOKEN, api_url=api_url), b"secret")
        assert isinstance(channel, Background)
        task = asyncio.create_task(channel.run(ports))
        try:
            yield fake
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_an_event_is_stored_and_acknowledged(ports: MemoryPorts) -> None:
    async with listening(ports) as fake:
        await fake.connected()
        assert await fake.acked(await fake.deliver("events_api", people.event(people.direct("hello")))) == {}
    assert [message.text for message in ports.waiting.values()] == ["hello"]


async def test_a_press_and_a_command_come_the_same_way(ports: MemoryPorts) -> None:
    async with listening(ports) as fake:
        await fake.connected()
        said = Said(channel="D0ANNA", ts="1700000000.000001", text="?")
        pressed = people.press(said, {"type": "button", "value": "/affirm"})
        await fake.acked(await fake.deliver("interactive", pressed))
        answer = await fake.acked(await fake.deliver("slash_commands", people.command("human")))
        assert answer["response_type"] == "ephemeral"
    assert [message.text for message in ports.waiting.values()] == ["/affirm", "talk to human"]


class Gated(MemoryPorts):
    """`receive` stores only when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        self.asked.set()
        await self.gate.wait()
        return await super().receive(batch, state_changes)


async def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    ports = Gated()
    async with listening(ports) as fake:
        await fake.connected()
        envelope = await fake.deliver("events_api", people.event(people.direct("hello")))
        await ports.asked.wait()
        # Nothing is to happen, so there is nothing to wait for but time.
        await asyncio.sleep(0.1)
        assert fake.acks == {}
        ports.gate.set()
        await fake.acked(envelope)


class Failing(MemoryPorts):
    """The first `receive` fails, as where the database is away."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure: Exception | None = failure

    async def receive(self, *args: Any) -> list[Receipt]:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        return await super().receive(*args)


@pytest.mark.parametrize("failure", [RuntimeError("the database is away"), TooBusy("too much waits")])
async def test_what_could_not_be_stored_is_not_acknowledged_and_taken_when_it_comes_again(failure: Exception) -> None:
    ports = Failing(failure)
    async with listening(ports) as fake:
        await fake.connected()
        payload = people.event(people.direct("hello"))
        lost = await fake.deliver("events_api", payload)
        await fake.acked(await fake.deliver("events_api", payload, attempt=1))
        assert lost not in fake.acks
    assert len(ports.waiting) == 1


async def test_what_can_never_be_stored_is_acknowledged(ports: MemoryPorts) -> None:
    async with listening(ports) as fake:
        await fake.connected()
        await fake.sockets[-1].send_text("this is no JSON")
        await fake.sockets[-1].send_json({"type": "something_new"})
        for payload in ({"type": "event_callback"}, people.event(people.direct("hi", ts="now"))):
            await fake.acked(await fake.deliver("events_api", payload))
    assert not ports.waiting


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_the_next_connection_is_open_before_the_announced_end(ports: MemoryPorts, reason: str) -> None:
    async with listening(ports) as fake:
        await fake.connected()
        first = fake.sockets[0]
        await first.send_json({"type": "disconnect", "reason": reason})
        await fake.until(lambda: fake.opened == 2)
        assert first in fake.seen_beside
        # The new one listens; the old one is closed from our side.
        await fake.until(lambda: len(fake.sockets) == 1 and first not in fake.sockets)
        await fake.acked(await fake.deliver("events_api", people.event(people.direct("hello"))))
    assert len(ports.waiting) == 1


async def test_a_connection_that_breaks_is_opened_again(ports: MemoryPorts) -> None:
    async with listening(ports) as fake:
        await fake.connected()
        await fake.sockets[0].close(1011)
        await fake.until(lambda: fake.opened == 2)
        await fake.acked(await fake.deliver("events_api", people.event(people.direct("hello"))))
    assert len(ports.waiting) == 1


class Lines(logging.Handler):
    """Log lines, to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self.queue.put_nowait(f"{record.getMessage()} {vars(record)}")


async def test_where_slack_refuses_the_token_it_says_so_and_tries_no_more_for_a_while(ports: MemoryPorts) -> None:
    lines, logger = Lines(), logging.getLogger("kefu.slack")
    logger.addHandler(lines)
    async with slack() as (fake, api_url), asyncio.timeout(20):
        fake.fail("apps.connections.open", refusal("invalid_auth"))
        channel = Slack(SlackOptions(app_token=APP_TOKEN, bot_token=BOT_TOKEN, api_url=api_url), b"secret")
        task = asyncio.create_task(channel.run(ports))
        line = await lines.queue.get()
        assert line.startswith("slack.socket_refused")
        assert APP_TOKEN not in line
        task.cancel()
        assert len(fake.calls_of("apps.connections.open")) == 1
    logger.removeHandler(lines)
