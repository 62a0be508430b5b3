"""Uploads as the widget sees them: `POST /webchat/upload` and what it changes in the socket's frames.

It stands before the real web chat and keeps to the contract: a welcome that says what is taken, ids in `send`, the
files in the transcript.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES = 1_000_000
ACCEPT = ["image/*", "application/pdf", ".txt"]


@dataclass
class Uploading:
    """What was uploaded and sent; `refusals` are the next answers, while `gate` is clear all wait."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[list[str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    refusals: list[tuple[int, str]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    _of_message: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.gate.set()

    def around(self, inner: ASGIApp) -> ASGIApp:
        """The web chat with uploads."""

        async def frames(scope: Scope, receive: Receive, send: Send) -> None:
            await self._pass(inner, scope, receive, send)

        routes = [
            Route("/webchat/upload", self._take, methods=["POST"]),
            Route("/webchat/files/{id}", self._show, methods=["GET"]),
            Mount("/", frames),
        ]
        return Starlette(routes=routes)

    async def _take(self, request: Request) -> Response:
        self.tokens.append(request.headers.get("x-kefu-visitor", ""))
        form = await request.form()
        await self.gate.wait()
        if self.refusals:
            status, message = self.refusals.pop(0)
            return JSONResponse({"message": message}, status)
        file = form["file"]
        assert isinstance(file, UploadFile)
        content = await file.read()
        key = f"file-{len(self.files) + 1}"
        facts = {
            "id": key,
            "name": file.filename,
            "media_type": file.content_type,
            "size": len(content),
            "url": f"/webchat/files/{key}",
        }
        self.files[key] = {**facts, "content": content}
        return JSONResponse(facts)

    async def _show(self, request: Request) -> Response:
        file = self.files[request.path_params["id"]]
        return Response(file["content"], media_type=file["media_type"])

    async def _pass(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await inner(scope, receive, send)
            return

        async def receive_and_look() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive" and (frame := json.loads(message["text"]))["type"] == "send":
                ids = frame.pop("attachments", None)
                if ids:
                    self.sent.append(ids)
                    self._of_message[frame["client_msg_id"]] = ids
                    message = {**message, "text": json.dumps(frame)}
            return message

        async def send_with_files(message: Message) -> None:
            if message["type"] == "websocket.send":
                message = {**message, "text": json.dumps(self._with_files(json.loads(message["text"])))}
            await send(message)

        await inner(scope, receive_and_look, send_with_files)

    def _with_files(self, frame: dict[str, Any]) -> dict[str, Any]:
        if frame["type"] == "welcome":
            return {**frame, "uploads": {"max_bytes": MAX_BYTES, "accept": ACCEPT}}
        ids = self._of_message.get(frame.get("client_msg_id", ""), []) if frame["type"] == "message" else []
        if not ids:
            return frame
        found = [{name: value for name, value in self.files[key].items() if name != "content"} for key in ids]
        return {**frame, "metadata": {"attachments": found}}
