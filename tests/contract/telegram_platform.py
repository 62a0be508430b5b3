"""Telegram, played by the test: updates built and calls checked with python-telegram-bot, which knows nothing of us.

It calls the webhook that was registered with it, with the secret it was registered with, and refuses what the real Bot
API refuses: texts and payloads that are too long, links that are none.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import telegram as ptb
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from telegram.constants import InlineKeyboardButtonLimit, InlineKeyboardMarkupLimit, MessageLimit

from connectors.base import PushConnector
from connectors.memory import MemoryPorts
from connectors.telegram import Telegram
from tests.server import free_port
from tests.serving import channel_app, serving

TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"
ANNA = ptb.User(id=4711, first_name="Anna", is_bot=False, language_code="de-AT")
CHAT = ptb.Chat(id=4711, type="private")
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"


class TelegramPlatform:
    """The Bot API. `calls`: what it took, as (method, parameters); `troubles`: what the next calls meet."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.troubles: deque[str | None] = deque()
        self.webhook: dict[str, Any] = {}
        self.registered = asyncio.Event()

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/bot{token}/{method}", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        if request.path_params["token"] != TOKEN:
            return _refused(401, "Unauthorized")
        method, call = request.path_params["method"], await _parameters(request)
        if method == "setWebhook":
            self.webhook = call
            self.registered.set()
            return JSONResponse({"ok": True, "result": True})
        match self.troubles.popleft() if self.troubles else None:
            case "slow down":
                return _refused(429, "Too Many Requests: retry after 3", retry_after=3)
            case "gone":
                return _refused(403, "Forbidden: bot was blocked by the user")
            case "no picture":
                return _refused(400, "Bad Request: failed to get HTTP URL content")
            case "broken off":  # more is promised than comes
                return Response(b'{"ok":', headers={"Content-Length": "100"})
            case "a proxy's page":
                return Response("<html>Bad Gateway</html>", 502)
        if why := _wrong(method, call):
            return _refused(400, f"Bad Request: {why}")
        self.calls.append((method, call))
        sent = ptb.Message(message_id=len(self.calls), date=datetime.now(UTC), chat=CHAT, text=call.get("text"))
        return JSONResponse({"ok": True, "result": sent.to_dict()})


async def _parameters(request: Request) -> dict[str, Any]:
    """JSON, as we send it, or a form, as python-telegram-bot does."""
    if request.headers["content-type"].startswith("application/json"):
        return dict(await request.json())
    form = await request.form()
    return {name: _value(str(value)) for name, value in form.items()}


def _value(written: str) -> Any:
    with suppress(ValueError):
        if isinstance(value := json.loads(written), dict | list):
            return value
    return written


def _wrong(method: str, call: Mapping[str, Any]) -> str | None:
    """What the real Bot API would refuse."""
    if not str(call.get("chat_id", "")).lstrip("-").isdigit():
        return "chat not found"
    if method == "sendMessage":
        if not call["text"].strip():
            return "message text is empty"
        if len(call["text"]) > MessageLimit.MAX_TEXT_LENGTH:
            return "message is too long"
    elif method == "sendPhoto":
        if len(call.get("caption", "")) > MessageLimit.CAPTION_LENGTH:
            return "message caption is too long"
        if not call["photo"].startswith("http"):
            return "wrong file identifier/HTTP URL specified"
    else:
        return f"method {method} not found"
    if "reply_markup" in call:
        return _wrong_keyboard(call["reply_markup"])
    return None


def _wrong_keyboard(markup: dict[str, Any]) -> str | None:
    keyboard = ptb.InlineKeyboardMarkup.de_json(markup, None)
    if keyboard.to_dict() != markup:
        return "can't parse reply keyboard markup JSON object"
    buttons = [button for row in keyboard.inline_keyboard for button in row]
    if len(buttons) > InlineKeyboardMarkupLimit.TOTAL_BUTTON_NUMBER:
        return "reply markup is too long"
    for button in buttons:
        if not button.text:
            return "text buttons are unallowed to be empty"
        if isinstance(button.callback_data, str):
            if not 1 <= len(button.callback_data.encode()) <= InlineKeyboardButtonLimit.MAX_CALLBACK_DATA:
                return "BUTTON_DATA_INVALID"
        elif not (button.url or "").startswith(("http://", "https://")):
            return "BUTTON_URL_INVALID"
    return None


def _refused(code: int, why: str, **parameters: int) -> Response:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": why}
    return JSONResponse(body | ({"parameters": parameters} if parameters else {}), code)


class TelegramCustomer:
    """Anna, in her chat with the bot."""

    def __init__(self, connector: Telegram, platform: TelegramPlatform, http: httpx.AsyncClient) -> None:
        self.connector, self.platform, self._http = connector, platform, http
        self._keys: list[str] = []

    async def say(self, text: str, key: str, metadata: Mapping[str, Any] | None = None) -> str:
        if key not in self._keys:
            self._keys.append(key)
        number = self._keys.index(key) + 1
        message = ptb.Message(message_id=number, date=datetime.now(UTC), chat=CHAT, from_user=ANNA, text=text)
        update = ptb.Update(update_id=number, message=message).to_dict()
        update["message"] |= metadata or {}
        answer = await self.pass_on({**update, **(metadata or {})})
        return {200: "ok", 503: "busy"}[answer.status_code]

    async def pass_on(self, update: Mapping[str, Any]) -> httpx.Response:
        """An update, as Telegram sends it to the webhook that was registered."""
        headers = {SECRET_HEADER: self.platform.webhook["secret_token"], "Content-Type": "application/json"}
        content = json.dumps(update)  # as Telegram writes it, in ASCII: half an emoji is possible
        return await self._http.post(self.platform.webhook["url"], content=content, headers=headers)

    async def heard(self) -> list[str]:
        return [call.get("text") or call.get("caption") or call["photo"] for _, call in self.platform.calls]

    async def forge(self) -> int:
        message = ptb.Message(message_id=1, date=datetime.now(UTC), chat=CHAT, from_user=ANNA, text="hello")
        update = ptb.Update(update_id=1, message=message).to_dict()
        url = self.platform.webhook["url"]
        return (await self._http.post(url, json=update, headers={SECRET_HEADER: "guessed"})).status_code

    def meet(self, *troubles: str | None) -> None:
        self.platform.troubles.extend(troubles)

    def unreachable(self) -> PushConnector:
        return Telegram(access_token=TOKEN, secret_token="s", api_url=f"http://127.0.0.1:{free_port()}")


@asynccontextmanager
async def telegram(ports: MemoryPorts, **settings: str) -> AsyncIterator[TelegramCustomer]:
    """The bot is served and has registered itself."""
    platform, ours = TelegramPlatform(), channel_app()
    async with serving(platform.app()) as api, serving(ours) as address, httpx.AsyncClient() as http:
        url = f"http://{address}/webhooks/telegram/webhook"
        connector = Telegram(access_token=TOKEN, webhook_url=url, api_url=f"http://{api}", **settings)
        ours.router.routes.extend(connector.routes(ports))
        running = asyncio.create_task(connector.run(ports))
        try:
            async with asyncio.timeout(10):
                await platform.registered.wait()
            yield TelegramCustomer(connector, platform, http)
        finally:
            running.cancel()
