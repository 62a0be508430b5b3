"""The SMS gateway of docs/connectors.md, played by the test, and the channel that the page tells how to write."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.base import PushConnector
from connectors.memory import MemoryPorts
from tests.server import free_port
from tests.serving import channel_app, serving

PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"
SECRET = "s3cret"


def from_page(language: str) -> str:
    """The page's first block of code in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def sms(gateway: str) -> PushConnector:
    """The page's channel, made from its text."""
    module = ModuleType("my_channels")
    exec(compile(from_page("python"), str(PAGE), "exec"), vars(module))
    made: PushConnector = module.Sms(SECRET, gateway)
    return made


class Gateway:
    """`texts`: what it took, each `id` once, also as `news`; `troubles`: what the next calls meet."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.news: asyncio.Queue[str] = asyncio.Queue()
        self.troubles: deque[str | None] = deque()

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/send", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        call: dict[str, Any] = await request.json()
        match self.troubles.popleft() if self.troubles else None:
            case "slow down":
                return JSONResponse({"error": "busy", "retry_after": 3}, 429)
            case "gone":
                return JSONResponse({"error": "this number takes none"}, 403)
            case "broken off":  # more is promised than comes
                return Response(b'{"ok":', headers={"Content-Length": "100"})
        if not 0 < len(call["text"].strip()) <= 480:
            return JSONResponse({"error": "the text is empty or too long"}, 400)
        if self.texts.setdefault(call["id"], call["text"]) is call["text"]:
            self.news.put_nowait(call["text"])
        return JSONResponse({"ok": True})


class SmsCustomer:
    def __init__(self, connector: PushConnector, gateway: Gateway, webhook: str, http: httpx.AsyncClient) -> None:
        self.connector, self.gateway, self._webhook, self._http = connector, gateway, webhook, http

    async def _post(self, secret: str, sms: Mapping[str, Any]) -> int:
        return (await self._http.post(self._webhook, json=sms, headers={"X-Gateway-Secret": secret})).status_code

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        sms = {"id": key, "from": "+43 1 5678", "text": text, "metadata": metadata, **(metadata or {})}
        return {200: "ok", 503: "busy"}[await self._post(SECRET, sms)]

    async def heard(self) -> list[str]:
        return list(self.gateway.texts.values())

    async def forge(self) -> int:
        return await self._post("guessed", {"id": "1", "from": "+43 1 5678", "text": "hello"})

    def meet(self, *troubles: str | None) -> None:
        self.gateway.troubles.extend(troubles)

    def unreachable(self) -> PushConnector:
        return sms(f"http://127.0.0.1:{free_port()}/send")


@asynccontextmanager
async def sms_of_the_page(ports: MemoryPorts) -> AsyncIterator[SmsCustomer]:
    gateway = Gateway()
    async with serving(gateway.app()) as address, httpx.AsyncClient() as http:
        connector = sms(f"http://{address}/send")
        async with serving(channel_app(connector.routes(ports))) as ours:
            yield SmsCustomer(connector, gateway, f"http://{ours}/webhooks/sms/webhook", http)
