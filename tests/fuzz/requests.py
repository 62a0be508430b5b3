"""One request or one websocket as bytes, put to an ASGI application in this process.

It is no HTTP client: header values, paths and bodies that a client library refuses to send are sent as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

Header = tuple[bytes, bytes]
LOCAL = ("127.0.0.1", 50_000)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """`breaks_off`: the client is gone after half of the body."""

    path: str
    method: str = "POST"
    query: bytes = b""
    headers: tuple[Header, ...] = ()
    body: bytes = b""
    breaks_off: bool = False
    client: tuple[str, int] = LOCAL


@dataclass(kw_only=True)
class Answered:
    """`error`: what came out of the application in place of an answer, or after it."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: BaseException | None = None


async def ask(app: ASGIApp, asked: Asked) -> Answered:
    """The application's answer; `status` 0 where there was none."""
    answered, gone = Answered(), asyncio.Event()
    half = len(asked.body) // 2
    pieces = [asked.body[:half], asked.body[half:]]
    if asked.breaks_off:
        pieces.pop()

    async def receive() -> Message:
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces) or asked.breaks_off}
        if not asked.breaks_off:
            await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered.status = message["status"]
            answered.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        else:
            answered.body += message.get("body", b"")

    headers = [(b"host", b"localhost"), (b"content-length", str(len(asked.body)).encode()), *asked.headers]
    scope = _scope("http", asked.path, asked.query, headers, asked.client) | {"method": asked.method, "scheme": "http"}
    try:
        await app(scope, receive, send)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what the fuzzing looks for
        answered.error = error
    finally:
        gone.set()
    return answered


def _scope(kind: str, path: str, query: bytes, headers: Sequence[Header], client: tuple[str, int]) -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": client,
        "server": ("localhost", 80),
    }


class Wire:
    """A websocket to the application: frames go in, what comes back is read with `next`. Leave it with `close`."""

    def __init__(self, app: ASGIApp, path: str, client: tuple[str, int] = LOCAL) -> None:
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._out: asyncio.Queue[Message] = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})
        scope = _scope("websocket", path, b"", [(b"host", b"localhost")], client) | {"scheme": "ws", "subprotocols": []}
        self._task = asyncio.create_task(self._run(app, scope))
        self.error: BaseException | None = None

    async def _run(self, app: ASGIApp, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._in.get, self._out.put)
        except Exception as error:  # noqa: BLE001
            self.error = error
        self._out.put_nowait({"type": "websocket.close", "code": 1006})

    def send(self, frame: str | bytes) -> None:
        content = {"text": frame} if isinstance(frame, str) else {"bytes": frame}
        self._in.put_nowait({"type": "websocket.receive", **content})

    async def next(self) -> str | None:
        """The next text frame; None once the socket is closed."""
        while (message := await self._out.get())["type"] != "websocket.close":
            if message["type"] == "websocket.send":
                return str(message["text"])
        self._out.put_nowait(message)
        return None

    async def close(self) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self._task
