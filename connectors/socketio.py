"""Rasa's Socket.IO channel: the event names and payloads that existing web widgets know, over python-socketio.

A session reads the transcript after the last entry it sent, so that a message that nobody asked for (a reminder, an
operator's word) is pushed as well, and one that came while the page was away is sent when it is back.

Invariant: a message is acknowledged only after `receive` returned. A session is watched only once this channel has
stored a message of it: naming another channel's conversation opens nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jwt
import socketio  # type: ignore[import-untyped]
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from connectors.base import (
    MAX_ID_CHARS,
    BadRequest,
    ChannelLimits,
    ConnectorError,
    InboundMessage,
    OutboundMessage,
    Ports,
)
from connectors.inbound import clean_text, customer_metadata, message_text
from connectors.rendering import rasa_messages
from connectors.socketio_packets import CheckedPacket, CheckedPolls

log = logging.getLogger("kefu.socketio")

REREAD_S = 5.0
"""A wake-up can be lost between processes; the transcript is the truth."""
PAGE = 100
MAX_FRAME_BYTES = 128 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class SocketIoOptions:
    """What `socketio:` in credentials.yml says, with Rasa's names and defaults."""

    user_message_evt: str = "user_uttered"
    bot_message_evt: str = "bot_uttered"
    namespace: str = "/"
    session_persistence: bool = False
    socketio_path: str = "/socket.io"
    jwt_key: str | None = None
    jwt_method: str = "HS256"
    metadata_key: str = "metadata"

    @staticmethod
    def of(credentials: Mapping[str, Any] | None) -> SocketIoOptions:
        """Keys that are not given, or empty, have Rasa's default; a number where a name belongs is read as text."""
        given = {key: value for key, value in (credentials or {}).items() if value is not None}
        options: dict[str, Any] = {
            name: given[name] if name == "session_persistence" else str(given[name])
            for name in SocketIoOptions.__dataclass_fields__
            if name in given
        }
        options["session_persistence"] = str(given.get("session_persistence", False)).lower() == "true"
        options["socketio_path"] = "/" + str(given.get("socketio_path", "/socket.io")).strip("/")
        return SocketIoOptions(**options)


@dataclass(kw_only=True)
class _Session:
    """One conversation and the sockets that show it in this process."""

    id: str
    sockets: set[str] = field(default_factory=set)
    sent_seq: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    watching: asyncio.Task[None] | None = None


class SocketIo:
    """The channel. `allowed_origins`: pages that may connect; none means all, as in Rasa."""

    name = "socketio"
    limits = ChannelLimits()

    def __init__(self, options: SocketIoOptions | None = None, allowed_origins: Sequence[str] = ()) -> None:
        self.options = options or SocketIoOptions()
        self._origins: str | list[str] = list(allowed_origins) or "*"
        self._sessions: dict[str, _Session] = {}
        self._of_socket: dict[str, _Session] = {}

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """The socket, and the health path that Rasa gives each channel."""
        # One event of a client after the other: two messages sent at once must not change places.
        server = socketio.AsyncServer(
            async_mode="asgi",
            async_handlers=False,
            cors_allowed_origins=self._origins,
            max_http_buffer_size=MAX_FRAME_BYTES,
            namespaces=[self.options.namespace],
            serializer=CheckedPacket,
        )
        _Events(self, server, ports).register()
        path = self.options.socketio_path
        return [
            Route("/webhooks/socketio/", _health, methods=["GET"]),
            Mount(path, app=CheckedPolls(socketio.ASGIApp(server, socketio_path=path), MAX_FRAME_BYTES)),
        ]

    # ---- sessions of this process ----

    def join(self, sid: str, session_id: str) -> _Session:
        """The socket shows this session from now on, and no other."""
        current = self._of_socket.get(sid)
        if current is not None and current.id == session_id:
            return current
        self.leave(sid)
        session = self._sessions.setdefault(session_id, _Session(id=session_id))
        session.sockets.add(sid)
        self._of_socket[sid] = session
        return session

    def leave(self, sid: str) -> None:
        """The last socket's leaving ends the watching."""
        session = self._of_socket.pop(sid, None)
        if session is None:
            return
        session.sockets.discard(sid)
        if not session.sockets:
            self._sessions.pop(session.id, None)
            if session.watching is not None:
                session.watching.cancel()

    def may_connect(self, auth: object) -> bool:
        """With a `jwt_key` only a socket whose `auth.token` it signed."""
        if not self.options.jwt_key:
            return True
        token = auth.get("token") if isinstance(auth, Mapping) else None
        if not isinstance(token, str):
            return False
        try:
            jwt.decode(token.removeprefix("Bearer "), self.options.jwt_key, algorithms=[self.options.jwt_method])
        except (jwt.PyJWTError, ValueError, NotImplementedError):
            return False
        return True


class _Events:
    """What the server does at each event of a client."""

    def __init__(self, channel: SocketIo, server: Any, ports: Ports) -> None:
        self._channel, self._server, self._ports = channel, server, ports
        self._options = channel.options

    def register(self) -> None:
        namespace = self._options.namespace
        self._server.on("connect", self._connect, namespace=namespace)
        self._server.on("disconnect", self._disconnect, namespace=namespace)
        self._server.on("session_request", self._session_request, namespace=namespace)
        self._server.on(self._options.user_message_evt, self._message, namespace=namespace)

    async def _connect(self, sid: str, environ: object, auth: object = None) -> bool:
        return self._channel.may_connect(auth)

    async def _disconnect(self, sid: str, reason: object = None) -> None:
        self._channel.leave(sid)

    async def _session_request(self, sid: str, data: object = None) -> None:
        """Confirm the session that the page remembers, or give it a new one."""
        session_id = _session_id(data) or uuid4().hex
        if self._options.session_persistence:
            session = self._channel.join(sid, session_id)
            stored = await self._ports.state.get(_key(session_id))
            if stored is not None:
                self._watch(session, int(stored))
        await self._emit("session_confirm", session_id, sid)

    async def _message(self, sid: str, data: object = None) -> dict[str, Any]:
        """Store what was said; what is returned goes to a client that asked for an acknowledgement."""
        session_id = _session_id(data) if self._options.session_persistence else sid
        if session_id is None:
            log.warning("socketio.no_session")
            return _failure("BadRequest", "no valid session_id; ask for one with session_request")
        try:
            receipt = (await self._ports.receive([self._inbound(session_id, data)]))[0]
        except ConnectorError as error:
            log.warning("socketio.refused", extra={"reason": type(error).__name__})
            return _failure(type(error).__name__, str(error), error.retry_after_s)
        self._watch(self._channel.join(sid, session_id), await self._known_to(session_id))
        return {"status": "ok", "duplicate": receipt.is_duplicate}

    def _inbound(self, session_id: str, data: object) -> InboundMessage:
        given: Mapping[str, Any] = data if isinstance(data, Mapping) else {"message": data}
        metadata = given.get(self._options.metadata_key)
        if isinstance(metadata, str):
            try:
                metadata = json.loads(metadata)
            except (ValueError, RecursionError) as error:
                raise BadRequest("the metadata is not valid JSON") from error
        key = given.get("message_id")
        is_keyed = isinstance(key, str) and 0 < len(key) <= MAX_ID_CHARS - len(session_id) - 1
        return InboundMessage(
            channel=self._channel.name,
            account="",
            external_id=f"{session_id}:{clean_text(str(key))}" if is_keyed else uuid4().hex,
            customer=session_id,
            sender_id=session_id,
            text=message_text(given.get("message"), "message", self._channel.limits.max_inbound_chars),
            received_at=datetime.now(UTC),
            metadata=customer_metadata(metadata),
            input_channel=self._channel.name,
        )

    async def _known_to(self, session_id: str) -> int:
        """The last entry that the session's page was sent; notes a new session, so that it can be taken up again."""
        if not self._options.session_persistence:
            return 0
        await self._ports.state.compare_and_set(_key(session_id), None, "0")
        return int(await self._ports.state.get(_key(session_id)) or 0)

    # ---- server → client ----

    def _watch(self, session: _Session, after_seq: int) -> None:
        if session.watching is None:
            session.sent_seq = after_seq
            session.watching = asyncio.create_task(self._follow(session), name=f"socketio {session.id}")

    async def _follow(self, session: _Session) -> None:
        unsubscribe = self._ports.subscribe(session.id, lambda _: session.news.set())
        try:
            while True:
                session.news.clear()  # before reading: what arrives while we read wakes us once more
                try:
                    await self._send_new(session)
                except Exception:  # the database is away for a moment: the session outlives that
                    log.exception("socketio.read_failed")
                with suppress(TimeoutError):
                    async with asyncio.timeout(REREAD_S):
                        await session.news.wait()
        finally:
            unsubscribe()

    async def _send_new(self, session: _Session) -> None:
        while page := await self._ports.transcript(session.id, session.sent_seq, PAGE):
            before, has_spoken = session.sent_seq, False
            for entry in page:
                for payload in payloads(entry) if entry.author != "customer" else ():
                    for sid in tuple(session.sockets):
                        await self._emit(self._options.bot_message_evt, payload, sid)
                    has_spoken = True
                session.sent_seq = entry.seq
            if has_spoken:
                await self._ports.confirm(session.id, session.sent_seq)
                await self._note(session, before)

    async def _note(self, session: _Session, before: int) -> None:
        """Keep the place, unless another process that shows the session keeps it already."""
        if self._options.session_persistence:
            key = _key(session.id)
            stored = await self._ports.state.get(key)
            if stored is not None and int(stored) < session.sent_seq:
                await self._ports.state.compare_and_set(key, stored, str(session.sent_seq))

    async def _emit(self, event: str, payload: object, sid: str) -> None:
        await self._server.emit(event, payload, to=sid, namespace=self._options.namespace)


def payloads(entry: OutboundMessage) -> Iterator[Any]:
    """What Rasa emits for one bot message: text by paragraphs, buttons as quick replies, the rest as attachments.

    A `custom` with `data` is emitted as that, as in Rasa; another one as it is, where Rasa raises.
    """
    elements = entry.body.get("elements")
    body = {key: value for key, value in entry.body.items() if key != "elements"}  # REST writes those otherwise
    for message in rasa_messages(body, entry.sender_id):
        if "buttons" in message:
            yield from _with_buttons(str(message.get("text") or ""), message["buttons"])
        elif "text" in message:
            yield {"text": message["text"]}
        elif "image" in message:
            yield {"attachment": {"type": "image", "payload": {"src": message["image"]}}}
        elif "attachment" in message:
            yield {"attachment": message["attachment"]}
        else:
            custom = message["custom"]
            yield custom["data"] if isinstance(custom, Mapping) and "data" in custom else custom
    for element in elements if isinstance(elements, list) else ():
        payload = {"template_type": "generic", "elements": element}
        yield {"attachment": {"type": "template", "payload": payload}}


def _with_buttons(text: str, buttons: object) -> Iterator[dict[str, Any]]:
    *first, last = text.strip().split("\n\n")
    for paragraph in first:
        yield {"text": paragraph, "quick_replies": []}
    shown = [button for button in buttons if isinstance(button, Mapping)] if isinstance(buttons, Sequence) else []
    replies = [
        {"content_type": "text", "title": button.get("title"), "payload": button.get("payload")} for button in shown
    ]
    yield {"text": last, "quick_replies": replies}


def _failure(reason: str, message: str, retry_after_s: float | None = None) -> dict[str, Any]:
    return {"status": "failure", "reason": reason, "message": message, "retry_after_s": retry_after_s}


def _session_id(data: object) -> str | None:
    """The id that a page sent, if it can name a conversation."""
    given = data.get("session_id") if isinstance(data, Mapping) else None
    session_id = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    is_usable = 0 < len(session_id) <= MAX_ID_CHARS and clean_text(session_id) == session_id
    return session_id if is_usable and session_id.strip() and not _CONTROL.search(session_id) else None


def _key(session_id: str) -> str:
    return f"socketio/{session_id}"


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})
