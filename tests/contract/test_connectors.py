"""What every connector owes, run over each of them: acknowledge after storing, once, in order, and refuse clearly."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import httpx
import pytest
import socketio
from starlette.applications import Starlette

from connectors.base import Connector, Delivered, InboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from connectors.rest import Rest
from connectors.slack import Slack
from connectors.slack_options import SlackOptions
from connectors.socketio import SocketIo
from connectors.webchat import WebChat
from tests import slack_people as people
from tests.chat_client import ChatClient, chat, said
from tests.serving import serving
from tests.slack_people import Slacker
from tests.slack_server import BOT_TOKEN, SECRET, FakeSlack, slack

LONG = 4_000


class Customer(Protocol):
    """One customer on one channel: `say` ends when the channel acknowledged ("ok") or refused (the reason's class)."""

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str: ...

    async def heard(self) -> list[str]: ...


class RestCustomer:
    def __init__(self, address: str, http: httpx.AsyncClient) -> None:
        self._url = f"http://{address}/webhooks/rest/webhook"
        self._http, self._heard = http, list[str]()

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        body = {"sender": "anna", "message": text, "message_id": key, "metadata": metadata}
        answer = await self._http.post(self._url, json=body)
        if answer.status_code == 200:
            self._heard += [message["text"] for message in answer.json()]
            return "ok"
        return {413: "too long", 400: "malformed", 503: "busy"}[answer.status_code]

    async def heard(self) -> list[str]:
        return self._heard


class WebCustomer:
    def __init__(self, client: ChatClient) -> None:
        self._client = client

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        # The protocol has no metadata; a field of that name must change nothing.
        await self._client.send("send", client_msg_id=key, text=text, metadata=metadata)
        while True:
            frame = await self._client.next()
            if frame["type"] == "ack":
                return "ok"
            if frame["type"] == "error":
                return {"too_long": "too long", "bad_frame": "malformed", "busy": "busy"}[frame["code"]]
            self._client.passed.append(frame)

    async def heard(self) -> list[str]:
        await self._client.send("ping")
        await self._client.expect("pong")
        return [said(frame) for frame in self._client.passed if frame.get("author") == "bot"]


class SocketIoCustomer:
    def __init__(self, client: socketio.AsyncClient) -> None:
        self._client, self._keys, self._heard = client, set[str](), list[str]()
        self._news = asyncio.Event()
        client.on("bot_uttered", self._hear)

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._heard.append(message["text"])
        self._news.set()

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        data = {"message": text, "message_id": key, "metadata": metadata}
        answer = await self._client.call("user_uttered", data, timeout=10)
        if answer["status"] == "ok":
            self._keys.add(key)
            return "ok"
        return {"TooLong": "too long", "BadRequest": "malformed", "TooBusy": "busy"}[answer["reason"]]

    async def heard(self) -> list[str]:
        async with asyncio.timeout(10):
            while len(self._heard) < len(self._keys):
                self._news.clear()
                await self._news.wait()
        return self._heard


class SlackCustomer:
    """A person in a direct message; what the bot says is sent by hand, as the outbox worker would."""

    def __init__(self, connector: Slack, ports: MemoryPorts, fake: FakeSlack, slacker: Slacker) -> None:
        self._connector, self._ports, self._fake, self._slacker = connector, ports, fake, slacker
        self._sent = 0

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        # A post in Slack is known by its time stamp. Its metadata is another thing than Rasa's.
        ts = f"1700000000.{zlib.crc32(key.encode()):010d}"
        answer = await self._slacker.event(people.event(people.direct(text, ts=ts, metadata=metadata)))
        return {200: "ok", 503: "busy"}[answer.status_code]

    async def heard(self) -> list[str]:
        for entry in await self._ports.transcript("slack:T0SHOP/D0ANNA", self._sent):
            if entry.author == "bot":
                assert isinstance(await self._connector.send(entry, is_repeat=False), Delivered)
            self._sent = entry.seq
        return [said.text for said in self._fake.posts]


CONNECTORS: dict[str, Callable[[], Connector]] = {
    "rest": Rest,
    "web": lambda: WebChat({}, b"secret of the contract suite"),
    "socketio": SocketIo,
    "slack": lambda: Slack(SlackOptions(signing_secret=SECRET, bot_token=BOT_TOKEN, posts_per_s=1_000), b"secret"),
}
# Slack sends again what is refused, so that a post that is too long is cut, and an empty one left out.
CAN_REFUSE = [name for name in CONNECTORS if name != "slack"]


@pytest.fixture(params=list(CONNECTORS))
def connector(request: pytest.FixtureRequest) -> Connector:
    return CONNECTORS[request.param]()


@asynccontextmanager
async def slack_customer(options: SlackOptions, ports: MemoryPorts) -> AsyncIterator[Customer]:
    async with slack() as (fake, api_url):
        connector = Slack(replace(options, api_url=api_url), b"secret")
        async with serving(Starlette(routes=connector.routes(ports))) as address, httpx.AsyncClient() as http:
            yield SlackCustomer(connector, ports, fake, Slacker(http, f"http://{address}"))


@asynccontextmanager
async def customer_of(connector: Connector, ports: MemoryPorts) -> AsyncIterator[Customer]:
    if isinstance(connector, Slack):
        async with slack_customer(connector.options, ports) as customer:
            yield customer
        return
    async with serving(Starlette(routes=connector.routes(ports))) as address:
        if connector.name == "rest":
            async with httpx.AsyncClient() as http:
                yield RestCustomer(address, http)
        elif connector.name == "socketio":
            async with socketio.AsyncSimpleClient() as simple:
                await simple.connect(f"http://{address}", transports=["websocket"])
                yield SocketIoCustomer(simple.client)
        else:
            async with chat(address) as client:
                yield WebCustomer(client)


class Recorder:
    def __init__(self) -> None:
        self.messages: list[InboundMessage] = []

    def __call__(self, message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        self.messages.append(message)
        return [{"text": f"answer to {message.text}"}]


async def test_a_message_arrives_with_its_channel_and_is_answered(connector: Connector) -> None:
    recorder = Recorder()
    async with customer_of(connector, MemoryPorts(recorder)) as customer:
        assert await customer.say(" 你好 hello ", "message-number-1") == "ok"
        assert await customer.heard() == ["answer to 你好 hello"]
    [message] = recorder.messages
    assert (message.channel, message.input_channel, message.text) == (connector.name, connector.name, "你好 hello")
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


async def test_it_acknowledges_only_after_the_message_is_stored(connector: Connector) -> None:
    ports = GatedPorts(Recorder())
    async with customer_of(connector, ports) as customer:
        saying = asyncio.create_task(customer.say("hello", "message-number-1"))
        await ports.asked.wait()
        # Nothing is to happen, so there is nothing to wait for but time; the whole turn takes a few milliseconds.
        done, _ = await asyncio.wait({saying}, timeout=0.1)
        assert not done
        ports.gate.set()
        assert await saying == "ok"


async def test_a_repeat_is_acknowledged_and_answered_once(connector: Connector) -> None:
    recorder = Recorder()
    async with customer_of(connector, MemoryPorts(recorder)) as customer:
        for _ in range(3):
            assert await customer.say("hello", "message-number-1") == "ok"
    assert len(recorder.messages) == 1


async def test_answers_come_in_the_order_of_the_messages(connector: Connector) -> None:
    async with customer_of(connector, MemoryPorts(Recorder())) as customer:
        for number in range(8):
            assert await customer.say(f"message {number}", f"message-number-{number}") == "ok"
        assert await customer.heard() == [f"answer to message {number}" for number in range(8)]


async def test_an_identity_sent_by_the_customer_is_not_believed(connector: Connector) -> None:
    recorder = Recorder()
    async with customer_of(connector, MemoryPorts(recorder)) as customer:
        forged = {"identity": {"email": "anna@a.example", "verified": True}}
        assert await customer.say("hello", "message-number-1", forged) == "ok"
    assert "identity" not in recorder.messages[0].metadata


@pytest.mark.parametrize("connector", CAN_REFUSE, indirect=True)
@pytest.mark.parametrize(
    ("text", "outcome"),
    [("x" * LONG, "ok"), ("灯" * (LONG + 1), "too long"), ("", "malformed"), (" \x00\n", "malformed")],
)
async def test_lengths(connector: Connector, text: str, outcome: str) -> None:
    recorder = Recorder()
    async with customer_of(connector, MemoryPorts(recorder)) as customer:
        assert await customer.say(text, "message-number-1") == outcome
    assert len(recorder.messages) == (outcome == "ok")


async def test_back_pressure_is_said(connector: Connector) -> None:
    async with customer_of(connector, MemoryPorts(Recorder(), 0)) as customer:
        assert await customer.say("hello", "message-number-1") == "busy"
