"""WeChat's side in tests: deliveries as WeChat makes them (signed or enveloped by wechatpy), and its HTTP interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import xmltodict  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from wechatpy.crypto import PrpCrypto, WeChatCrypto, _get_signature  # type: ignore[import-untyped]
from wechatpy.utils import WeChatSigner  # type: ignore[import-untyped]

from bot.storage import outbox
from tests.lab import Lab
from tests.serving import serving

TOKEN = "AAAAA"
APP_ID = "wx5823bf96d3bd56c7"
AES_KEY = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
ACCOUNT = "gh_7f083739789a"
CUSTOMER = "oia2TjjewbmiOUlr6X-1crbLOvLw"
NOW = 1_714_036_504
TRY_S, CLOSE_AFTER_S = 1.0, 1.4
"""A try's deadline and WeChat's patience: 4.5 s and 5 s in life."""


def message_xml(text: str, message_id: int = 1, **fields: str) -> str:
    values = {"MsgType": "text", "Content": text, "MsgId": str(message_id)} | fields
    return xml(**values)


def event_xml(event: str, key: str = "", **fields: str) -> str:
    return xml(**{"MsgType": "event", "Event": event, "EventKey": key} | fields)


def xml(**fields: str) -> str:
    """A delivery as WeChat writes it, by the peer's own XML writer."""
    base = {"ToUserName": ACCOUNT, "FromUserName": CUSTOMER, "CreateTime": str(NOW)}
    return str(xmltodict.unparse({"xml": base | fields}, full_document=False))


@dataclass(frozen=True, kw_only=True)
class Account:
    """Sends deliveries to one address, in one mode, and reads the replies with wechatpy."""

    http: httpx.AsyncClient
    mode: str = "plaintext"
    token: str = TOKEN
    path: str = "/webhooks/wechat"
    now: int = NOW

    def query(self, nonce: str = "n0nce", **more: str) -> dict[str, str]:
        signer = WeChatSigner()
        signer.add_data(self.token, str(self.now), nonce)
        return {"signature": signer.signature, "timestamp": str(self.now), "nonce": nonce, **more}

    def delivery(self, body: str) -> tuple[dict[str, str], str]:
        """Query and body of one POST."""
        query = self.query()
        if self.mode == "plaintext":
            return query, body
        encrypted = PrpCrypto(WeChatCrypto(TOKEN, AES_KEY, APP_ID).key).encrypt(body, APP_ID).decode()
        outer = {"ToUserName": ACCOUNT, "Encrypt": encrypted}
        if self.mode == "compatible":
            outer = xmltodict.parse(body)["xml"] | outer
        msg_signature = _get_signature(self.token, str(self.now), query["nonce"], encrypted)
        query |= {"encrypt_type": "aes", "msg_signature": msg_signature, "openid": CUSTOMER}
        return query, str(xmltodict.unparse({"xml": outer}, full_document=False))

    async def deliver(self, body: str) -> httpx.Response:
        query, content = self.delivery(body)
        return await self.http.post(self.path, params=query, content=content.encode())

    def read(self, answer: httpx.Response) -> dict[str, Any]:
        """The reply's fields, out of the envelope where there is one; {} for "success"."""
        assert answer.status_code == 200, answer.text
        if answer.text == "success":
            return {}
        fields = dict(xmltodict.parse(answer.content)["xml"])
        if self.mode == "plaintext":
            assert "Encrypt" not in fields
            return fields
        signed = (fields["MsgSignature"], fields["TimeStamp"], fields["Nonce"])
        inner = WeChatCrypto(self.token, AES_KEY, APP_ID).decrypt_message(answer.content, *signed)
        return dict(xmltodict.parse(inner)["xml"])

    async def ask(self, body: str) -> str | None:
        """The reply's text; None where there is none."""
        content: str | None = self.read(await self.deliver(body)).get("Content")
        return content

    async def answer(self, body: str) -> str | None:
        """The text that one of WeChat's three tries gets: where tries are short, a busy machine may need the second."""
        last = (await self.ask_thrice(body))[-1]
        content: str | None = None if last is None else last.get("Content")
        return content

    async def ask_thrice(self, body: str, before_try: Callable[[int], None] = lambda _: None) -> list[Any]:
        """As WeChat does: close a try after a while and make another; None for a try that was closed."""
        return await ask_in_turn([self, self, self], body, before_try)


async def settled(lab: Lab) -> None:
    """Nothing is left to be sent."""
    assistant_id = lab.platform.bot.assistant.assistant_id
    async with asyncio.timeout(10):
        while await lab.platform.db.read(lambda c: outbox.undelivered(c, assistant_id, waiting=True)):
            await asyncio.sleep(0.02)


async def ask_in_turn(tries: Sequence[Account], body: str, before_try: Callable[[int], None]) -> list[Any]:
    """Three tries, each at the replica that the load balancer chooses."""
    outcomes: list[dict[str, Any] | None] = []
    for number, account in enumerate(tries, start=1):
        before_try(number)
        try:
            async with asyncio.timeout(CLOSE_AFTER_S):
                outcomes.append(account.read(await account.deliver(body)))
            return outcomes
        except TimeoutError:
            outcomes.append(None)
    return outcomes


@dataclass(kw_only=True)
class WeChatServer:
    """WeChat's interface, as far as the channel calls it.

    Attributes:
        answers: what `message/custom/send` or `kf/send_msg` answers next, before it takes messages: an error number,
            "drop" (closes without an answer), or "hang".
        sent: what was taken; `on_sent` hears of each.
    """

    url: str = ""
    token: str = "token-1"
    valid: set[str] = field(default_factory=lambda: {"token-1"})
    lives_s: int = 7_200
    fetches: list[bool] = field(default_factory=list)
    fetch_errors: list[int] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    on_sent: Callable[[dict[str, Any]], None] = lambda message: None
    menus: list[dict[str, Any]] = field(default_factory=list)
    media: dict[str, Response] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)  # what lies at the addresses of pictures, for everybody
    calls: int = 0
    hang: asyncio.Event | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def invalidate(self, value: str | None = None) -> None:
        """The current token is no good any more; the next is handed out to whoever asks."""
        self.valid.clear()
        self.token = value or f"token-{len(self.fetches) + 2}"
        self.valid.add(self.token)

    async def stable_token(self, request: Request) -> Response:
        body = json.loads(await request.body())
        assert body["grant_type"] == "client_credential"
        self.fetches.append(body["force_refresh"])
        if self.fetch_errors:
            return JSONResponse({"errcode": self.fetch_errors.pop(0), "errmsg": "no token"})
        if body["force_refresh"]:
            self.invalidate()
        return JSONResponse({"access_token": self.token, "expires_in": self.lives_s})

    async def custom_send(self, request: Request) -> Response:
        return await self._take(request, self.sent)

    async def menu_create(self, request: Request) -> Response:
        return await self._take(request, self.menus)

    async def media_get(self, request: Request) -> Response:
        if request.query_params["access_token"] not in self.valid:
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential"})
        unknown = JSONResponse({"errcode": 40007, "errmsg": "invalid media_id"})
        return self.media.get(request.query_params["media_id"], unknown)

    async def picture(self, request: Request) -> Response:
        return Response(self.pictures[request.path_params["name"]], media_type="image/jpeg")

    async def _take(self, request: Request, into: list[dict[str, Any]]) -> Response:
        self.calls += 1
        if request.query_params["access_token"] not in self.valid:
            return JSONResponse({"errcode": 40001, "errmsg": "invalid credential"})
        answer = self.answers.pop(0) if self.answers else 0
        if answer == "nonsense":
            return Response("<html>gateway</html>", status_code=502)
        raw = await request.body()
        if self.hang is not None:
            await self.hang.wait()
        if answer in (0, "taken but unsaid"):
            into.append(json.loads(raw))
            self.on_sent(into[-1])
            self.news.set()
        if answer == "taken but unsaid":
            return Response("", status_code=504)
        return JSONResponse({"errcode": answer, "errmsg": "" if answer else "ok"})

    async def has_sent(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(self.sent) < count:
                self.news.clear()
                await self.news.wait()
        return self.sent

    def texts(self) -> list[str]:
        return [message["text"]["content"] for message in self.sent]

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/cgi-bin/stable_token", self.stable_token, methods=["POST"]),
                Route("/cgi-bin/message/custom/send", self.custom_send, methods=["POST"]),
                Route("/cgi-bin/menu/create", self.menu_create, methods=["POST"]),
                Route("/cgi-bin/media/get", self.media_get, methods=["GET"]),
                Route("/mmbiz/{name}", self.picture, methods=["GET"]),
            ]
        )


@asynccontextmanager
async def wechat_server() -> AsyncIterator[WeChatServer]:
    server = WeChatServer()
    async with serving(server.app()) as address:
        server.url = f"http://{address}"
        yield server


def credentials(**changes: Any) -> Mapping[str, Any]:
    """`wechat:` of an account in plain text, with a deadline that a busy machine keeps."""
    values = {
        "token": TOKEN,
        "app_id": APP_ID,
        "app_secret": "secret",
        "try_deadline_s": 10,
        "replay_window_s": 0,
    }
    return values | changes
