"""A small Slack for tests: the Web API over real HTTP, Socket Mode over real websockets.

Blocks are checked by slack_sdk's own models, so that the channel is not judged by its own understanding of Slack alone.
slack_sdk's own clients talk to this server too (test_slack_server.py).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.serving import serving

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, BOT_USER, BOT_TOKEN, APP_TOKEN = "T0SHOP", "U0BOT", "xoxb-of-the-shop", "xapp-of-the-shop"
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
        self.used: list[str] = []  # the token of each post
        self.failures: dict[str, list[Response | Failure | None]] = {}
        self.answers: dict[str, Any] = {}
        self.files: dict[str, Response] = {}  # what the paths under /files-pri/ give to who has a token; others, a page
        self.file_tokens: list[str] = []  # what was shown to them
        self.address = ""
        self.on_post: Callable[[Said], None] = lambda said: None
        self.answers_after_s = 0.0  # how long the caller waits to hear what was done
        self.sockets: list[WebSocket] = []
        self.opened = 0  # sockets so far
        self.seen_beside: set[WebSocket] = set()  # those that were open when another one was opened
        self.acks: dict[str, dict[str, Any]] = {}
        self._news, self._closing = asyncio.Event(), asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/{method}", self._call, methods=["GET", "POST"]),
            Route("/files-pri/{name}", self._file),
            WebSocketRoute("/link", self._link),
        ]

    def close(self) -> None:
        """Let go of the calls that got no answer."""
        self._closing.set()

    def fail(self, method: str, *answers: Response | Failure | None) -> None:
        """What the next calls meet; None is none."""
        self.failures.setdefault(method, []).extend(answers)

    async def until(self, is_so: Callable[[], object], within_s: float = 20) -> None:
        """Wait for it; whatever happens here is looked at."""
        async with asyncio.timeout(within_s):
            while not is_so():
                self._news.clear()
                await self._news.wait()

    async def said(self, count: int, within_s: float = 20) -> list[Said]:
        """The first posts, as soon as there are so many."""
        await self.until(lambda: len(self.posts) >= count, within_s)
        return self.posts[:count]

    async def called(self, method: str, times: int = 1) -> list[dict[str, str]]:
        """The fields of the method's calls, as soon as there were so many."""
        await self.until(lambda: len(self.calls_of(method)) >= times)
        return self.calls_of(method)

    def calls_of(self, method: str) -> list[dict[str, str]]:
        return [fields for name, fields in self.calls if name == method]

    async def _call(self, request: Request) -> Response:
        method = request.path_params["method"]
        try:
            fields = await _fields(request)
        except ClientDisconnect:  # the caller ended before it had said what it wanted
            return Response(status_code=400)
        self.calls.append((method, fields))
        self._news.set()
        if (waiting := self.failures.get(method)) and (failure := waiting.pop(0)) is not None:
            if isinstance(failure, Response):
                return failure
            if failure.after_doing:
                self._do(method, fields, request)
            if failure.is_silent:
                await self._closing.wait()
            return Response(status_code=500)
        done = self._do(method, fields, request)
        await asyncio.sleep(self.answers_after_s)
        return JSONResponse(done)

    async def _file(self, request: Request) -> Response:
        """As Slack's: without a token that may read files there is a page to sign in, with status 200."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        self.file_tokens.append(token)
        if (waiting := self.failures.get("files")) and isinstance(failure := waiting.pop(0), Response):
            return failure
        if token not in self.tokens:
            return HTMLResponse("<!DOCTYPE html><html><body>Sign in to Slack</body></html>")
        return self.files.get(request.path_params["name"], Response(status_code=404))

    def _do(self, method: str, fields: Mapping[str, str], request: Request) -> dict[str, Any]:
        if method in self.answers:
            made = self.answers[method]
            return dict(made(fields) if callable(made) else made)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if method == "apps.connections.open" and token == APP_TOKEN:
            return {"ok": True, "url": f"ws://{self.address}/link?ticket={len(self.calls)}"}
        if token not in self.tokens:
            return {"ok": False, "error": "invalid_auth"}
        match method:
            case "auth.test":
                return {"ok": True, "team_id": self.tokens[token], "user_id": BOT_USER}
            case "chat.postMessage":
                self.used.append(token)
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
        self.on_post(said)
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
        is_asked = fields.get("include_all_metadata") == "1"
        more = str(start + 2) if len(found) > start + 2 else ""
        return {
            "ok": True,
            "messages": [said.to_json(with_metadata=is_asked) for said in found[start : start + 2]],
            "has_more": bool(more),
            "response_metadata": {"next_cursor": more},
        }

    # ---- Socket Mode ----

    async def _link(self, socket: WebSocket) -> None:
        await socket.accept()
        self.opened += 1
        self.seen_beside |= set(self.sockets)
        self.sockets.append(socket)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0APP"}})
        self._news.set()
        try:
            while True:
                ack = await socket.receive_json()
                self.acks[ack["envelope_id"]] = ack.get("payload", {})
                self._news.set()
        except WebSocketDisconnect:
            self.sockets.remove(socket)
            self._news.set()

    async def connected(self, count: int = 1) -> None:
        """So many sockets listen."""
        await self.until(lambda: len(self.sockets) == count)

    async def deliver(self, kind: str, payload: Mapping[str, Any], *, attempt: int = 0) -> str:
        """Send an envelope over the newest socket; its id."""
        envelope_id = f"envelope-{next(_numbers)}"
        envelope = {"type": kind, "envelope_id": envelope_id, "payload": payload, "retry_attempt": attempt}
        await self.sockets[-1].send_json({**envelope, "accepts_response_payload": kind == "slash_commands"})
        return envelope_id

    async def acked(self, envelope_id: str) -> dict[str, Any]:
        """What the acknowledgement carried."""
        await self.until(lambda: envelope_id in self.acks)
        return self.acks[envelope_id]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """HTTP 500, after the call was carried out or instead of it; or no answer at all."""

    after_doing: bool = False
    is_silent: bool = False


async def _fields(request: Request) -> dict[str, str]:
    """A form or JSON, as Slack takes either; what is no text is JSON, as in a form."""
    if request.headers.get("content-type", "").startswith("application/json"):
        given = await request.json()
        return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
    return {name: str(value) for name, value in {**request.query_params, **await request.form()}.items()}


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
        fake.address = address
        try:
            yield fake, f"http://{address}/api/"
        finally:
            fake.close()


def credentials(api_url: str, **more: Any) -> dict[str, Any]:
    """What `slack:` in credentials.yml says."""
    return {"slack_token": BOT_TOKEN, "slack_signing_secret": SECRET, "api_url": api_url, **more}
