"""A small Slack for tests: the Web API over real HTTP, people as signed requests, Socket Mode over real sockets.

Signatures are made by slack_sdk's own signer, and blocks are checked by slack_sdk's own models, so that the channel is
not judged by its own understanding of Slack alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tests.serving import serving

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, BOT_USER, BOT_TOKEN = "T0SHOP", "U0BOT", "xoxb-of-the-shop"
ANNA, BERT = "U0ANNA", "U0BERT"
CHANNEL, DIRECT = "C0HELP", "D0ANNA"
_numbers = itertools.count(1)


def next_ts() -> str:
    """A time stamp as Slack gives it: now, and unlike any other."""
    return f"{int(time.time())}.{next(_numbers):06d}"


@dataclass(kw_only=True)
class Said:
    """One post in the fake Slack."""

    channel: str
    ts: str
    text: str
    thread_ts: str | None = None
    blocks: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None

    def to_json(self, *, with_metadata: bool) -> dict[str, Any]:
        shown = {"type": "message", "ts": self.ts, "text": self.text, "thread_ts": self.thread_ts}
        return shown | ({"metadata": self.metadata} if with_metadata and self.metadata else {})


class FakeSlack:
    """The Web API. `failures` are answered instead, one after the other, to calls of their method."""

    def __init__(self) -> None:
        self.tokens = {BOT_TOKEN: TEAM}
        self.posts: list[Said] = []
        self.calls: list[tuple[str, dict[str, str]]] = []
        self.failures: dict[str, list[Response | Failure]] = {}
        self.answers: dict[str, Any] = {}
        self._news = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/{method}", self._call, methods=["POST"])]

    def fail(self, method: str, *answers: Response | Failure) -> None:
        self.failures.setdefault(method, []).extend(answers)

    async def said(self, count: int) -> list[Said]:
        """The first posts, as soon as there are so many."""
        async with asyncio.timeout(20):
            while len(self.posts) < count:
                self._news.clear()
                await self._news.wait()
        return self.posts[:count]

    async def called(self, method: str, times: int = 1) -> list[dict[str, str]]:
        """The fields of the method's calls, as soon as there were so many."""
        async with asyncio.timeout(20):
            while len(found := [fields for name, fields in self.calls if name == method]) < times:
                self._news.clear()
                await self._news.wait()
        return found

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        form = await request.form()
        fields = {name: str(value) for name, value in form.items()}
        self.calls.append((method, fields))
        self._news.set()
        if waiting := self.failures.get(method):
            failure = waiting.pop(0)
            if isinstance(failure, Response):
                return failure
            if failure.after_doing:
                self._do(method, fields, request)
            return Response(status_code=500)
        return JSONResponse(self._do(method, fields, request))

    def _do(self, method: str, fields: Mapping[str, str], request: Request) -> dict[str, Any]:
        if method in self.answers:
            made = self.answers[method]
            return dict(made(fields) if callable(made) else made)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            return {"ok": False, "error": "invalid_auth"}
        match method:
            case "auth.test":
                return {"ok": True, "team_id": self.tokens[token], "user_id": BOT_USER}
            case "chat.postMessage":
                return self._post(fields)
            case "conversations.replies" | "conversations.history":
                return self._history(fields)
            case "conversations.open":
                return {"ok": True, "channel": {"id": "D" + fields["users"][1:]}}
        return {"ok": False, "error": "unknown_method"}

    def _post(self, fields: Mapping[str, str]) -> dict[str, Any]:
        blocks = json.loads(fields.get("blocks", "[]"))
        if problem := block_problem(blocks):
            return {"ok": False, "error": "invalid_blocks", "response_metadata": {"messages": [problem]}}
        if len(fields["text"]) > 40_000:
            return {"ok": False, "error": "msg_too_long"}
        metadata = json.loads(fields["metadata"]) if "metadata" in fields else None
        said = Said(
            channel=fields["channel"], ts=next_ts(), text=fields["text"], thread_ts=fields.get("thread_ts"),
            blocks=blocks, metadata=metadata,
        )  # fmt: skip
        self.posts.append(said)
        self._news.set()
        return {"ok": True, "channel": said.channel, "ts": said.ts, "message": said.to_json(with_metadata=True)}

    def _history(self, fields: Mapping[str, str]) -> dict[str, Any]:
        """Two a page, newest first in a channel and oldest first in a thread, as Slack."""
        thread = fields.get("ts")
        found = [
            said
            for said in self.posts
            if said.channel == fields["channel"]
            and (said.thread_ts == thread if thread else said.thread_ts is None)
            and float(said.ts) > float(fields.get("oldest", 0))
        ]
        found = found if thread else found[::-1]
        start = int(fields.get("cursor", 0))
        is_asked = fields.get("include_all_metadata") == "true"
        more = str(start + 2) if len(found) > start + 2 else ""
        return {
            "ok": True,
            "messages": [said.to_json(with_metadata=is_asked) for said in found[start : start + 2]],
            "has_more": bool(more),
            "response_metadata": {"next_cursor": more},
        }


@dataclass(frozen=True, kw_only=True)
class Failure:
    """HTTP 500, after the call was carried out or instead of it."""

    after_doing: bool = False


def refusal(error: str, **more: Any) -> Response:
    return JSONResponse({"ok": False, "error": error, **more})


def too_many(retry_after_s: int) -> Response:
    return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(retry_after_s)})


def block_problem(blocks: list[dict[str, Any]]) -> str | None:
    """What slack_sdk finds wrong with the blocks, in limits and in fields that Slack requires."""
    if len(blocks) > 50:
        return "no more than 50 items allowed"
    try:
        for block in Block.parse_all(blocks):
            block.validate_json()
            for element in getattr(block, "elements", None) or []:
                element.validate_json()
            for name in ("text", "accessory"):
                if (inner := getattr(block, name, None)) is not None:
                    inner.validate_json()
    except SlackObjectFormationError as error:
        return str(error)
    ids = [element.get("action_id") for block in blocks for element in block.get("elements", [])]
    return "action ids are not unique" if len(ids) != len(set(ids)) else None


@asynccontextmanager
async def slack() -> AsyncIterator[tuple[FakeSlack, str]]:
    """The fake and the address of its Web API."""
    fake = FakeSlack()
    async with serving(Starlette(routes=fake.routes())) as address:
        yield fake, f"http://{address}/api/"


def credentials(api_url: str, **more: Any) -> dict[str, Any]:
    """What `slack:` in credentials.yml says."""
    return {"slack_token": BOT_TOKEN, "slack_signing_secret": SECRET, "api_url": api_url, **more}


# ---- what people do ----


def event(event: Mapping[str, Any], *, event_id: str | None = None, **more: Any) -> dict[str, Any]:
    """An Events API callback."""
    return {
        "token": "old", "team_id": TEAM, "api_app_id": "A0APP", "type": "event_callback", "event": dict(event),
        "event_id": event_id or f"Ev{next(_numbers)}", "event_time": int(time.time()),
        "authorizations": [{"enterprise_id": None, "team_id": TEAM, "user_id": BOT_USER, "is_bot": True}],
        **more,
    }  # fmt: skip


def direct(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    """A direct message's event."""
    inner = {"type": "message", "channel": "D" + user[1:], "channel_type": "im", "user": user, "text": text}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def mention(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    inner = {"type": "app_mention", "channel": CHANNEL, "user": user, "text": f"<@{BOT_USER}> {text}"}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def in_channel(text: str, user: str = ANNA, **more: Any) -> dict[str, Any]:
    inner = {"type": "message", "channel": CHANNEL, "channel_type": "channel", "user": user, "text": text}
    return {**inner, "ts": next_ts(), "team": TEAM, **more}


def press(said: Said, action: Mapping[str, Any], user: str = ANNA) -> dict[str, Any]:
    """A press on an element of a post, as `block_actions`."""
    message = {"type": "message", "ts": said.ts, "text": said.text, "blocks": said.blocks}
    if said.thread_ts:
        message["thread_ts"] = said.thread_ts
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "anna", "team_id": TEAM},
        "team": {"id": TEAM, "domain": "shop"},
        "channel": {"id": said.channel, "name": "help"},
        "container": {"type": "message", "message_ts": said.ts, "channel_id": said.channel, "is_ephemeral": False},
        "message": message,
        "trigger_id": "1.2.abc",
        "response_url": "https://hooks.slack.com/actions/T/1/x",
        "actions": [{"action_ts": next_ts(), "block_id": "b", **action}],
    }


def command(text: str, user: str = ANNA, **more: str) -> dict[str, str]:
    return {
        "token": "old", "team_id": TEAM, "channel_id": CHANNEL, "channel_name": "help", "user_id": user,
        "user_name": "anna", "command": "/kefu", "text": text, "is_enterprise_install": "false",
        "trigger_id": f"1.{next(_numbers)}.abc", "response_url": "https://hooks.slack.com/commands/T/1/x", **more,
    }  # fmt: skip


# ---- as Slack sends it ----


def signed(body: str | bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """The headers that slack_sdk's signer makes."""
    timestamp = str(int(time.time() if at is None else at))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    assert signature is not None
    return {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}


class Slacker:
    """Delivers signed requests to the bot, as Slack would."""

    def __init__(self, http: httpx.AsyncClient, base: str = "") -> None:
        self._http, self._base = http, base

    async def event(self, payload: Mapping[str, Any], path: str = "events", retry: int = 0) -> httpx.Response:
        again = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"} if retry else {}
        return await self.raw(json.dumps(payload), path, {"Content-Type": "application/json", **again})

    async def press(self, payload: Mapping[str, Any], path: str = "interactivity") -> httpx.Response:
        return await self.form({"payload": json.dumps(payload)}, path)

    async def form(self, fields: Mapping[str, str], path: str = "commands") -> httpx.Response:
        return await self.raw(urlencode(fields), path, {"Content-Type": "application/x-www-form-urlencoded"})

    async def raw(self, body: str, path: str, headers: Mapping[str, str]) -> httpx.Response:
        url = f"{self._base}/webhooks/slack/{path}"
        return await self._http.post(url, content=body.encode(), headers={**signed(body), **headers})
