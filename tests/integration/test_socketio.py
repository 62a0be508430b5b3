"""Rasa's Socket.IO channel with the real client: events and payloads as Rasa's, sessions that survive a disconnect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import socketio
from starlette.applications import Starlette

from connectors.base import InboundMessage, OutboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from connectors.socketio import SocketIo, SocketIoOptions, payloads
from tests.lab import labbot, running
from tests.serving import serving

KEY = "a key of at least thirty-two bytes"


class Page:
    """A widget in a page: what it emits, and what it hears, event by event."""

    def __init__(self, options: SocketIoOptions) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self._options, self._heard = options, asyncio.Queue[tuple[str, Any]]()
        self.client.on("*", lambda event, data: self._heard.put_nowait((event, data)), namespace=options.namespace)

    async def request(self, session_id: str | None) -> str:
        await self.client.emit("session_request", {"session_id": session_id}, namespace=self._options.namespace)
        event, confirmed = await self.next()
        assert event == "session_confirm"
        return str(confirmed)

    async def say(self, text: str, session_id: str | None = None, **data: Any) -> None:
        message = {"message": text, "session_id": session_id, **data}
        await self.client.emit(self._options.user_message_evt, message, namespace=self._options.namespace)

    async def next(self, timeout_s: float = 10) -> tuple[str, Any]:
        async with asyncio.timeout(timeout_s):
            return await self._heard.get()

    async def hears(self, text: str) -> None:
        assert await self.next() == (self._options.bot_message_evt, {"text": text})


@asynccontextmanager
async def page(address: str, options: SocketIoOptions, auth: object = None) -> AsyncIterator[Page]:
    opened = Page(options)
    await opened.client.connect(
        f"http://{address}",
        auth=auth,
        namespaces=[options.namespace],
        socketio_path=options.socketio_path,
        transports=["websocket"],
    )
    try:
        yield opened
    finally:
        await opened.client.disconnect()


def echo(message: InboundMessage) -> Sequence[Mapping[str, Any]]:
    return [{"text": f"You said {message.text}"}]


def channel(ports: MemoryPorts, options: SocketIoOptions) -> AbstractAsyncContextManager[str]:
    return serving(Starlette(routes=SocketIo(options).routes(ports)))


PERSISTENT = SocketIoOptions.of({"session_persistence": True})


# ---- what is said and heard ----


async def test_a_turn_of_a_page_without_a_session() -> None:
    plain = SocketIoOptions.of(None)
    async with channel(MemoryPorts(echo), plain) as address, page(address, plain) as anna:
        assert await anna.request("kept-by-nobody") == "kept-by-nobody"
        await anna.say("hello")
        await anna.hears("You said hello")


async def test_polling_works_as_well() -> None:
    async with channel(MemoryPorts(echo), PERSISTENT) as address:
        client = socketio.AsyncSimpleClient()
        await client.connect(f"http://{address}", transports=["polling"])
        await client.emit("user_uttered", {"message": "hello", "session_id": "s"})
        assert await client.receive(10) == ["bot_uttered", {"text": "You said hello"}]
        await client.disconnect()


async def test_every_key_of_the_credentials_counts() -> None:
    received: list[InboundMessage] = []
    options = SocketIoOptions.of(
        {
            "user_message_evt": "said",
            "bot_message_evt": "answered",
            "namespace": "/shop",
            "session_persistence": "true",
            "socketio_path": "/chat/io/",
            "metadata_key": "customData",
        }
    )

    def note(message: InboundMessage) -> Sequence[Mapping[str, Any]]:
        received.append(message)
        return [{"text": "ok"}]

    async with channel(MemoryPorts(note), options) as address, page(address, options) as anna:
        session = await anna.request(None)
        await anna.say("hello", session, customData='{"page": "/lamps", "identity": {"verified": true}}')
        assert await anna.next() == ("answered", {"text": "ok"})
    [message] = received
    assert (message.sender_id, message.input_channel, message.metadata) == (session, "socketio", {"page": "/lamps"})


class LaterFaster(MemoryPorts):
    """Ports that store each message in less time than the one before it."""

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        await asyncio.sleep(0.2 - 0.02 * int(batch[0].text.split()[-1]))
        return await super().receive(batch, state_changes)


async def test_messages_sent_at_once_keep_their_order() -> None:
    async with channel(LaterFaster(echo), PERSISTENT) as address, page(address, PERSISTENT) as anna:
        for number in range(10):
            await anna.say(f"message {number}", "s")
        for number in range(10):
            await anna.hears(f"You said message {number}")


@pytest.mark.parametrize("data", [None, 7, [], {}, {"message": ["x"], "session_id": "s"}, {"message": "x"}])
async def test_a_strange_message_is_refused_and_the_page_goes_on(data: object) -> None:
    async with channel(MemoryPorts(echo), PERSISTENT) as address, page(address, PERSISTENT) as anna:
        refused = await anna.client.call("user_uttered", data, timeout=10)
        assert refused["status"] == "failure"
        await anna.say("hello", "s")
        await anna.hears("You said hello")


async def test_health_as_rasa() -> None:
    async with channel(MemoryPorts(echo), PERSISTENT) as address, httpx.AsyncClient() as http:
        answer = await http.get(f"http://{address}/webhooks/socketio/")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("auth", "may"),
    [
        ({"token": jwt.encode({"user": "anna"}, KEY)}, True),
        ({"token": "Bearer " + jwt.encode({"user": "anna"}, KEY)}, True),
        ({"token": jwt.encode({"user": "anna"}, "another key of thirty-two bytes!!")}, False),
        ({"token": 7}, False),
        (None, False),
    ],
)
async def test_with_a_key_only_signed_pages_connect(auth: object, may: bool) -> None:
    options = SocketIoOptions.of({"jwt_key": KEY})
    async with channel(MemoryPorts(echo), options) as address:
        if not may:
            with pytest.raises(socketio.exceptions.ConnectionError):
                async with page(address, options, auth):
                    pass
            return
        async with page(address, options, auth) as anna:
            await anna.say("hello")
            await anna.hears("You said hello")


# ---- sessions ----


async def test_what_came_while_the_page_was_away_is_sent_when_it_is_back() -> None:
    ports = MemoryPorts()
    async with channel(ports, PERSISTENT) as address:
        async with page(address, PERSISTENT) as anna:
            session = await anna.request(None)
            assert (await anna.client.call("user_uttered", {"message": "hello", "session_id": session}))[
                "status"
            ] == "ok"
            ports.reply(1, [{"text": "one moment"}])
            await anna.hears("one moment")
            ask = {"message": "where is it?", "session_id": session}
            assert (await anna.client.call("user_uttered", ask))["status"] == "ok"
        ports.reply(2, [{"text": "it left"}])
    async with channel(ports, PERSISTENT) as address, page(address, PERSISTENT) as anna:
        assert await anna.request(session) == session
        await anna.hears("it left")


async def test_a_message_without_a_request_is_pushed_to_every_page_of_the_session() -> None:
    ports = MemoryPorts(echo)
    async with (
        channel(ports, PERSISTENT) as address,
        page(address, PERSISTENT) as desk,
        page(address, PERSISTENT) as phone,
    ):
        await desk.request("s")
        await phone.request("s")
        await desk.say("hello", "s")
        await desk.hears("You said hello")
        await phone.hears("You said hello")
        await ports.receive([_from_the_company("s")])
        await desk.hears("You said reminder")
        await phone.hears("You said reminder")


def _from_the_company(session: str) -> InboundMessage:
    return InboundMessage(
        channel="socketio", account="", external_id="r1", customer=session, sender_id=session, text="reminder",
        received_at=datetime.now(UTC),
    )  # fmt: skip


async def test_another_channel_s_conversation_stays_closed() -> None:
    ports = MemoryPorts(echo)
    await ports.receive(
        [
            InboundMessage(
                channel="rest", account="", external_id="1", customer="bert", sender_id="bert", text="my secret",
                received_at=datetime.now(UTC),
            )
        ]
    )  # fmt: skip
    async with channel(ports, PERSISTENT) as address, page(address, PERSISTENT) as anna:
        assert await anna.request("bert") == "bert"
        refused = await anna.client.call("user_uttered", {"message": "x", "session_id": "bert"})
        assert refused["reason"] == "BadRequest"
        await anna.request("mine")
        await anna.say("hello", "mine")
        await anna.hears("You said hello")


# ---- what a bot message becomes ----


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"text": "One\n\nTwo"}, [{"text": "One"}, {"text": "Two"}]),
        (
            {"text": "Sure?\n\nReally?", "buttons": [{"title": "Yes", "payload": "/affirm", "extra": 1}]},
            [
                {"text": "Sure?", "quick_replies": []},
                {
                    "text": "Really?",
                    "quick_replies": [{"content_type": "text", "title": "Yes", "payload": "/affirm"}],
                },
            ],
        ),
        (
            {"image": "https://a.example/x.png", "attachment": "https://a.example/x.png"},
            [{"attachment": {"type": "image", "payload": {"src": "https://a.example/x.png"}}}],
        ),
        ({"attachment": {"type": "file"}}, [{"attachment": {"type": "file"}}]),
        (
            {"elements": [{"title": "A"}]},
            [{"attachment": {"type": "template", "payload": {"template_type": "generic", "elements": {"title": "A"}}}}],
        ),
        ({"custom": {"data": {"blocks": 1}, "room": "x"}}, [{"blocks": 1}]),
        ({"custom": {"card": 1}}, [{"card": 1}]),
    ],
)
def test_bot_messages_become_rasa_s_payloads(body: dict[str, Any], expected: list[Any]) -> None:
    entry = OutboundMessage(
        outbox_id=1, conversation_id=1, sender_id="s", seq=1, author="bot", body=body, created_at=datetime.now(UTC)
    )
    assert list(payloads(entry)) == expected


# ---- with the real platform ----


async def test_a_page_talks_to_labbot_and_hears_what_the_company_triggers(tmp_path: Path) -> None:
    bot = labbot(credentials={"rest": None, "socketio": {"session_persistence": True}})
    async with (
        running(tmp_path, bot) as lab,
        serving(lab.app) as address,
        page(address, PERSISTENT) as anna,
    ):
        session = await anna.request(None)
        await anna.say("/ask_hours", session)
        await anna.hears("we are open 9-5")
        answer = await lab.http.post(f"/conversations/{session}/trigger_intent", json={"name": "goodbye"})
        assert answer.json()["messages"] == [{"recipient_id": session, "text": "bye"}]
        await anna.hears("bye")
        state = await lab.tracker(session)
        assert state["latest_input_channel"] == "socketio"


async def test_without_credentials_there_is_no_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as lab:
        assert (await lab.http.get("/socket.io/?EIO=4&transport=polling")).status_code == 404
