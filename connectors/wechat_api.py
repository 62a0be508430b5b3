"""WeChat's HTTP interface: one call, one token at a time for every replica.

Invariant: of any number of callers that learn at once that the token is no good, one asks WeChat for another; a call
that is refused again with the fresh token is refused, not repeated.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeVar

import httpx

from connectors.base import ChannelState
from connectors.fetching import PlatformFile
from connectors.files import FileTooLarge, size_text
from connectors.wechat_errors import ALERTS, NO_PERMISSION, NoToken, NotSent, Refused, Unclear

log = logging.getLogger("kefu.wechat")
T = TypeVar("T")

TIMEOUT_S = 8.0
MEDIA = "/cgi-bin/media/get"
LEASE_S = 20.0
WAIT_S = 10.0
"""Who waits longer for another process's token tells the outbox to come again, before the outbox loses patience."""
EARLY_S = 120.0
"""A token is replaced this long before it ends: a call under way keeps a valid one."""
FORCE_EVERY_S = 60.0
"""WeChat forces a token out 20 times a day at most; more often than this it would not help either."""


@dataclass(frozen=True, kw_only=True)
class Token:
    value: str
    expires_at: float
    forced_at: float = 0.0

    def to_text(self) -> str:
        return json.dumps({"value": self.value, "expires_at": self.expires_at, "forced_at": self.forced_at})

    @classmethod
    def of(cls, text: str | None) -> Token | None:
        return cls(**json.loads(text)) if text else None


Fetch = Callable[[bool], Awaitable[tuple[str, float]]]
"""Ask WeChat for a token, by force or not: (token, seconds it lives)."""


class Tokens:
    """The account's access token, shared by all processes through `ChannelState`.

    Args:
        key: where the value is kept; the lease has the same name.
        fetch: the one thing that costs quota.
        can_force: whether WeChat replaces a token that it still holds valid.
    """

    def __init__(
        self,
        state: ChannelState,
        key: str,
        fetch: Fetch,
        *,
        can_force: bool,
        clock: Callable[[], float] = time.time,
        poll_s: float = 0.1,
        wait_s: float = WAIT_S,
    ) -> None:
        self._state, self._key, self._fetch, self._clock = state, key, fetch, clock
        self._can_force, self._poll_s, self._wait_s = can_force, poll_s, wait_s
        self._holder = secrets.token_hex(8)
        self._renewals: dict[str | None, asyncio.Task[str]] = {}

    async def get(self) -> str:
        """The token that is good as far as anybody knows. Raises Refused, NotSent or Unclear where none can be had."""
        known = Token.of(await self._state.get(self._key))
        return known.value if known and self._is_fresh(known) else await self.renew(None)

    async def renew(self, failed: str | None) -> str:
        """A token other than `failed`, fetched only if that still is the current one; joins a renewal under way."""
        renewal = self._renewals.get(failed)
        if renewal is None:
            renewal = asyncio.create_task(self._renew(failed))
            self._renewals[failed] = renewal
            renewal.add_done_callback(lambda _: self._renewals.pop(failed, None))
        return await asyncio.shield(renewal)

    async def _renew(self, failed: str | None) -> str:
        give_up_at = time.monotonic() + self._wait_s
        while time.monotonic() < give_up_at:
            text = await self._state.get(self._key)
            known = Token.of(text)
            if known and known.value != failed and self._is_fresh(known):
                return known.value
            if await self._state.lease(self._key, self._holder, LEASE_S):
                try:
                    if await self._state.get(self._key) != text:
                        continue  # another process was faster, between our look and our lease
                    return await self._fetch_and_keep(text, known, failed)
                finally:
                    await self._state.lease(self._key, self._holder, 0)
            await asyncio.sleep(self._poll_s)
        raise NotSent("another process is fetching the access token and does not come to an end")

    async def _fetch_and_keep(self, text: str | None, known: Token | None, failed: str | None) -> str:
        value, lives_s = await self._fetch(False)
        forced_at = known.forced_at if known else 0.0
        if value == failed and self._can_force and self._clock() - forced_at > FORCE_EVERY_S:
            forced_at = self._clock()
            value, lives_s = await self._fetch(True)
        token = Token(value=value, expires_at=self._clock() + lives_s, forced_at=forced_at)
        if not await self._state.compare_and_set(self._key, text, token.to_text()):
            log.warning("wechat.token_changed_meanwhile")
        return value

    def _is_fresh(self, token: Token) -> bool:
        return token.expires_at - EARLY_S > self._clock()


class WeChatApi:
    """Calls with an access token, in WeChat's way: the token in the query, the outcome in `errcode`."""

    def __init__(self, http: httpx.AsyncClient, tokens: Tokens) -> None:
        self._http, self._tokens = http, tokens

    async def call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """WeChat's answer. Raises Refused, NotSent or Unclear."""
        return await self._with_token(lambda token: post(self._http, path, body, {"access_token": token}))

    async def media(self, media_id: str, max_bytes: int) -> PlatformFile | str:
        """A file that a customer sent, or, of some videos, the address where it lies.

        Raises Refused, NotSent or Unclear, or FileTooLarge.
        """
        return await self._with_token(
            lambda token: _download(self._http, {"access_token": token, "media_id": media_id}, max_bytes)
        )

    async def _with_token(self, ask: Callable[[str], Awaitable[T]]) -> T:
        token = await self._token()
        try:
            return await ask(token)
        except Refused as refused:
            if refused.remedy != "refresh":
                raise
            log.warning("wechat.token_refused", extra={"code": refused.code})
        return await ask(await self._token(failed=token))

    async def _token(self, failed: str | None = None) -> str:
        """Whatever goes wrong with the token, the message itself was not sent."""
        try:
            return await (self._tokens.get() if failed is None else self._tokens.renew(failed))
        except Refused as refused:
            raise NoToken(refused.code, str(refused)) from refused
        except Unclear as error:
            raise NotSent("no access token could be had") from error


async def post(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Any], query: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """One request. The text goes as UTF-8: WeChat shows `\\u4f60` as it stands in some places."""
    content = json.dumps(body, ensure_ascii=False).encode(errors="replace")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return await _answered(path, http.build_request("POST", path, params=query, content=content, headers=headers), http)


async def get(http: httpx.AsyncClient, path: str, query: Mapping[str, str]) -> dict[str, Any]:
    return await _answered(path, http.build_request("GET", path, params=query), http)


async def _answered(path: str, request: httpx.Request, http: httpx.AsyncClient) -> dict[str, Any]:
    try:
        answer = await http.send(request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotSent(f"WeChat was not reached ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise Unclear(f"WeChat did not answer ({type(error).__name__})") from error
    return _read(path, answer)


async def _download(http: httpx.AsyncClient, query: Mapping[str, str], max_bytes: int) -> PlatformFile | str:
    # As it is: a few packed bytes can become gigabytes.
    request = http.build_request("GET", MEDIA, params=query, headers={"Accept-Encoding": "identity"})
    content = bytearray()
    try:
        answer = await http.send(request, stream=True)
        try:
            async for chunk in answer.aiter_raw():
                content += chunk
                if len(content) > max_bytes:
                    raise FileTooLarge(f"the file is larger than {size_text(max_bytes)}")
        finally:
            await answer.aclose()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise NotSent(f"WeChat was not reached ({type(error).__name__})") from error
    except httpx.HTTPError as error:
        raise Unclear(f"WeChat did not answer ({type(error).__name__})") from error
    if answer.status_code == 200 and (disposition := answer.headers.get("content-disposition")):
        return PlatformFile(name=_file_name(disposition), content=bytes(content))
    told = _read(MEDIA, httpx.Response(answer.status_code, content=bytes(content)))
    if not isinstance(told.get("video_url"), str):
        raise Unclear("WeChat gave no file")
    return str(told["video_url"])


def _file_name(disposition: str) -> str:
    header = Message()
    header["content-disposition"] = disposition
    return header.get_filename() or "file"


def _read(path: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        value = answer.json()
        code = int(value.get("errcode") or 0)
    except (ValueError, AttributeError, TypeError) as error:
        raise Unclear(f"WeChat answered HTTP {answer.status_code} without a JSON object") from error
    if code:
        refused = Refused(code, str(value.get("errmsg", "")))
        is_alarming = refused.remedy in ALERTS or code == NO_PERMISSION
        level = logging.ERROR if is_alarming else logging.WARNING
        log.log(level, "wechat.refused", extra={"path": path, "code": code, "remedy": refused.remedy})
        raise refused
    if answer.status_code != 200:
        raise Unclear(f"WeChat answered HTTP {answer.status_code}")
    return dict(value)


def token_of(answer: Mapping[str, Any]) -> tuple[str, float]:
    """Token and lifetime out of WeChat's answer. Raises Unclear where they are not in it."""
    try:
        return str(answer["access_token"]), float(answer["expires_in"])
    except (KeyError, TypeError, ValueError) as error:
        raise Unclear("WeChat gave no access token") from error


def official_account_api(
    http: httpx.AsyncClient, state: ChannelState, app_id: str, app_secret: str, clock: Callable[[], float] = time.time
) -> WeChatApi:
    """An Official Account's interface: `stable_token` gives every caller the same token."""

    async def fetch(force: bool) -> tuple[str, float]:
        body = {
            "grant_type": "client_credential",
            "appid": app_id,
            "secret": app_secret,
            "force_refresh": force,
        }
        return token_of(await post(http, "/cgi-bin/stable_token", body))

    return WeChatApi(http, Tokens(state, f"wechat/token/{app_id}", fetch, can_force=True, clock=clock))


def corp_api(
    http: httpx.AsyncClient, state: ChannelState, corp_id: str, secret: str, clock: Callable[[], float] = time.time
) -> WeChatApi:
    """WeCom's interface: asked again, it gives the same token until that ends."""

    async def fetch(_: bool) -> tuple[str, float]:
        return token_of(await get(http, "/cgi-bin/gettoken", {"corpid": corp_id, "corpsecret": secret}))

    return WeChatApi(http, Tokens(state, f"wechat_kf/token/{corp_id}", fetch, can_force=False, clock=clock))


async def push_menu(api: WeChatApi, menu: Mapping[str, Any]) -> None:
    """Replace the account's menu by this one (`button: […]`, as WeChat describes it)."""
    await api.call("/cgi-bin/menu/create", menu)
