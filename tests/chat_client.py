"""A web chat client for tests: the `websockets` library and the documented frames, nothing of our own code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

Frame = dict[str, Any]
WITHIN_S = 5.0


class ChatClient:
    """One socket. `expect` reads on until a frame of that type comes; what it passes on the way stays in `passed`.

    `within_s`: how long a frame may take; more where something is loaded first.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.welcome: Frame = {}
        self.passed: list[Frame] = []
        self.within_s = WITHIN_S

    async def send(self, type_: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def hello(self, **fields: Any) -> Frame:
        await self.send("hello", **{"protocol": 1, **fields})
        self.welcome = await self.expect("welcome")
        return self.welcome

    async def next(self) -> Frame:
        frame: Frame = json.loads(await asyncio.wait_for(self.socket.recv(), self.within_s))
        return frame

    async def expect(self, type_: str) -> Frame:
        while (frame := await self.next())["type"] != type_:
            self.passed.append(frame)
        return frame

    async def messages(self, count: int) -> list[Frame]:
        return [await self.expect("message") for _ in range(count)]


@asynccontextmanager
async def chat(address: str, origin: str | None = None, **hello: Any) -> AsyncIterator[ChatClient]:
    """Connect and say hello; without fields in `hello`, a new visitor."""
    async with connect(f"ws://{address}/webchat/ws", origin=origin) as socket:  # type: ignore[arg-type]
        client = ChatClient(socket)
        await client.hello(**hello)
        yield client


def said(frame: Frame) -> str:
    """The text of a message frame."""
    return "\n".join(part.get("text", "") for part in frame["parts"])
