"""The customers of the connector suite: one of each channel, who says something and sees what comes back.

A new channel passes the suite by an entry in `CHANNELS` or `PUSHED`: it serves the connector and gives a customer.
A channel that messages are pushed to gives a `PushCustomer`; telegram_platform.py is the example.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Literal, Protocol

import httpx
import socketio

from connectors.base import Connector, PushConnector
from connectors.memory import MemoryPorts
from connectors.rest import Rest
from connectors.socketio import SocketIo
from connectors.webchat import WebChat
from tests.chat_client import ChatClient, chat, said
from tests.contract.slack_platform import slack_direct
from tests.contract.sms_gateway import sms_of_the_page
from tests.contract.telegram_platform import telegram
from tests.serving import channel_app, serving

Trouble = Literal["slow down", "gone", "broken off"]
"""What a platform says to a call: too many, this customer takes none, nothing at all after it has read it."""


class Customer(Protocol):
    """One customer on one channel: `say` ends when the channel acknowledged ("ok") or refused (the reason's class)."""

    @property
    def connector(self) -> Connector: ...

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str: ...

    async def heard(self) -> list[str]:
        """The texts of the bot's messages, as they were shown."""
        ...


class PushCustomer(Customer, Protocol):
    """A customer on a platform that passes messages on and takes ours; the test plays the platform."""

    @property
    def connector(self) -> PushConnector: ...

    async def forge(self) -> int:
        """Send what says to be the platform's and is not; the status that comes back."""
        ...

    def meet(self, *troubles: Trouble | None) -> None:
        """What the next calls to the platform meet, in order; None is none."""
        ...

    def unreachable(self) -> PushConnector:
        """A connector of this channel whose platform does not answer."""
        ...


class RestCustomer:
    def __init__(self, connector: Connector, address: str, http: httpx.AsyncClient) -> None:
        self.connector = connector
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
    def __init__(self, connector: Connector, client: ChatClient) -> None:
        self.connector, self._client = connector, client

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
    def __init__(self, connector: Connector, client: socketio.AsyncClient) -> None:
        self.connector = connector
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


@asynccontextmanager
async def rest(ports: MemoryPorts) -> AsyncIterator[RestCustomer]:
    connector = Rest()
    async with serving(channel_app(connector.routes(ports))) as address, httpx.AsyncClient() as http:
        yield RestCustomer(connector, address, http)


@asynccontextmanager
async def web(ports: MemoryPorts) -> AsyncIterator[WebCustomer]:
    connector = WebChat(dict, b"secret of the contract suite")
    async with serving(channel_app(connector.routes(ports))) as address, chat(address) as client:
        yield WebCustomer(connector, client)


@asynccontextmanager
async def socket_io(ports: MemoryPorts) -> AsyncIterator[SocketIoCustomer]:
    connector = SocketIo()
    async with serving(channel_app(connector.routes(ports))) as address, socketio.AsyncSimpleClient() as simple:
        await simple.connect(f"http://{address}", transports=["websocket"])
        yield SocketIoCustomer(connector, simple.client)


Open = Callable[[MemoryPorts], AbstractAsyncContextManager[Customer]]
OpenPushed = Callable[[MemoryPorts], AbstractAsyncContextManager[PushCustomer]]
PUSHED: dict[str, OpenPushed] = {"telegram": telegram, "slack": slack_direct, "sms": sms_of_the_page}
CHANNELS: dict[str, Open] = {"rest": rest, "web": web, "socketio": socket_io, **PUSHED}
