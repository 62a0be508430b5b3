"""WeCom's side of 微信客服 in tests: callbacks enveloped by wechatpy, and the interface that is pulled from."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import xmltodict  # type: ignore[import-untyped]
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from wechatpy.crypto import PrpCrypto, _get_signature  # type: ignore[import-untyped]
from wechatpy.enterprise.crypto import WeChatCrypto  # type: ignore[import-untyped]

from tests.serving import serving
from tests.wechat_side import AES_KEY, TOKEN

CORP_ID = "ww5823bf96d3bd56c7"
KF_ACCOUNT = "wkAJ2GCAAASSm4_FhToWMFea0xAFfd3Q"
KF_CUSTOMER = "wmAJ2GCAAAme1XQRC-NI-q0_ZM9ukoAw"
KF_SENDER = f"wechat_kf:{KF_ACCOUNT}:{KF_CUSTOMER}"


@dataclass(kw_only=True)
class KfServer:
    """WeCom's interface and the messages customers wrote.

    Attributes:
        page: how many messages one pull gives.
        answers: what `kf/send_msg` answers next: an error number, or "taken but unsaid".
        sent: what customers see: the first message of each msgid.
        tokens: the callback tokens that pulls carried; stale_tokens are refused.
    """

    url: str = ""
    page: int = 2
    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int | str] = field(default_factory=list)
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)
    sends: int = 0
    pulls: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    stale_tokens: set[str] = field(default_factory=set)
    pull_errors: list[int] = field(default_factory=list)
    fetches: int = 0
    media: dict[str, Response] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, text: str, **changes: Any) -> None:
        """A customer writes."""
        number = len(self.messages) + 1
        message = {
            "msgid": f"m{number}",
            "open_kfid": KF_ACCOUNT,
            "external_userid": KF_CUSTOMER,
            "send_time": int(time.time()),
            "origin": 3,
            "msgtype": "text",
            "text": {"content": text},
        }
        self.messages.append(message | changes)

    async def gettoken(self, request: Request) -> Response:
        assert request.query_params["corpid"] == CORP_ID
        self.fetches += 1
        return JSONResponse({"errcode": 0, "errmsg": "ok", "access_token": "corp token", "expires_in": 7200})

    async def sync_msg(self, request: Request) -> Response:
        assert request.query_params["access_token"] == "corp token"
        asked = json.loads(await request.body())
        self.pulls.append(asked["cursor"])
        self.tokens.append(asked.get("token"))
        if asked.get("token") in self.stale_tokens:
            return JSONResponse({"errcode": 95007, "errmsg": "invalid msg token"})
        if self.pull_errors:
            return JSONResponse({"errcode": self.pull_errors.pop(0), "errmsg": "no"})
        start = int(asked["cursor"].removeprefix("c") or 0)
        end = start + min(self.page, asked["limit"])
        return JSONResponse(
            {
                "errcode": 0,
                "next_cursor": f"c{min(end, len(self.messages))}",
                "has_more": int(end < len(self.messages)),
                "msg_list": self.messages[start:end],
            }
        )

    async def send_msg(self, request: Request) -> Response:
        self.sends += 1
        answer = self.answers.pop(0) if self.answers else 0
        body = json.loads(await request.body())
        assert len(body["msgid"].encode()) <= 32
        if answer in (0, "taken but unsaid"):
            self.sent.setdefault(body["msgid"], body)
            self.news.set()
        if answer == "taken but unsaid":
            return Response("", status_code=504)
        return JSONResponse({"errcode": answer, "errmsg": "ok", "msgid": body["msgid"]})

    async def media_get(self, request: Request) -> Response:
        assert request.query_params["access_token"] == "corp token"
        return self.media[request.query_params["media_id"]]

    def texts(self) -> list[str]:
        return [message["text"]["content"] for message in self.sent.values()]

    async def has_sent(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(self.sent) < count:
                self.news.clear()
                await self.news.wait()
        return self.texts()

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/cgi-bin/gettoken", self.gettoken, methods=["GET"]),
                Route("/cgi-bin/kf/sync_msg", self.sync_msg, methods=["POST"]),
                Route("/cgi-bin/kf/send_msg", self.send_msg, methods=["POST"]),
                Route("/cgi-bin/media/get", self.media_get, methods=["GET"]),
            ]
        )


@asynccontextmanager
async def kf_server() -> AsyncIterator[KfServer]:
    server = KfServer()
    async with serving(server.app()) as address:
        server.url = f"http://{address}"
        yield server


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Calls back as WeCom does."""

    http: httpx.AsyncClient

    async def check(self, echo: str) -> httpx.Response:
        encrypted = self._sealed(echo)
        return await self.http.get("/webhooks/wechat/kf", params=self._query(encrypted, echostr=encrypted))

    async def call(self, token: str = "t1", event: str = "kf_msg_or_event", account: str = KF_ACCOUNT) -> str:
        fields = {
            "ToUserName": CORP_ID,
            "CreateTime": str(int(time.time())),
            "MsgType": "event",
            "Event": event,
            "Token": token,
            "OpenKfId": account,
        }
        encrypted = self._sealed(xmltodict.unparse({"xml": fields}, full_document=False))
        body = xmltodict.unparse({"xml": {"ToUserName": CORP_ID, "Encrypt": encrypted, "AgentID": ""}})
        answer = await self.http.post("/webhooks/wechat/kf", params=self._query(encrypted), content=body.encode())
        assert answer.status_code == 200, answer.text
        return answer.text

    def _sealed(self, text: str) -> str:
        crypto = WeChatCrypto(TOKEN, AES_KEY, CORP_ID)
        return str(PrpCrypto(crypto.key).encrypt(text, CORP_ID).decode())

    def _query(self, encrypted: str, **more: str) -> dict[str, str]:
        timestamp, nonce = str(int(time.time())), "n0nce"
        signed = _get_signature(TOKEN, timestamp, nonce, encrypted)
        return {"msg_signature": signed, "timestamp": timestamp, "nonce": nonce, **more}
