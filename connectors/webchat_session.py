"""One visitor on one socket of the web chat: reads the client's frames, sends it the transcript.

A session has two tasks. One takes frames and acknowledges a message only after `receive` returned. The other reads the
transcript after the last seq it sent; a wake-up of the hub is a hint, and it also looks by itself every few seconds.

Invariant: per connection every transcript entry after `resume_from` is sent once, in order, or `resync` says why not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from connectors.attachments import entry_parts, fresh_links, linked
from connectors.base import BadRequest, ChannelLimits, InboundMessage, OutboundMessage, Part, Ports, TooBusy
from connectors.files import StoredFile, attachment
from connectors.refusals import Refusals
from connectors.visitors import SENDER_PREFIX, Identity, IdentityRefused, read_identity, visitor_token
from connectors.webchat_frames import (
    PROTOCOL,
    ErrorCode,
    FrameError,
    Hello,
    Identify,
    Ping,
    Seen,
    Send,
    parse_frame,
    primary_language,
)

log = logging.getLogger("kefu.webchat")

# WebSocket close codes of our own; the 4000s are for applications.
CLOSE_BAD_HELLO = 4400
CLOSE_ANONYMOUS = 4401
CLOSE_TOO_SLOW = 4408
CLOSE_TOO_OFTEN = 4429
CLOSE_FAILED = 1011

TOO_FAST = "too fast; send again later"
BUSY_RETRY_S = UNAVAILABLE_RETRY_S = 2.0
OVERTAKE_AFTER_S = 5.0
"""How long after it should have come again a message that was put off still holds back those behind it."""


@dataclass(frozen=True, kw_only=True)
class SocketLimits:
    """What one socket may cost."""

    hello_within_s: float = 10.0
    # A wake-up can be lost between processes; the transcript is the truth.
    reread_every_s: float = 5.0
    # A client that takes nothing for so long is gone or hostile; it comes back with resume_from.
    send_within_s: float = 10.0
    transcript_page: int = 100
    messages_per_s: float = 3.0
    message_burst: int = 10
    frames_per_s: float = 20.0
    frame_burst: int = 60
    # Typing ends by itself when a turn says nothing.
    typing_for_s: float = 15.0


@dataclass(frozen=True, kw_only=True)
class SessionSetup:
    """What every session of one web chat shares. `is_strict`: nobody without a valid identity is served."""

    brand: Callable[[], Mapping[str, Any]]
    secret: bytes
    widget_secret: str | None
    is_strict: bool
    channel: ChannelLimits
    socket: SocketLimits
    refusals: Refusals


class SocketClosedError(Exception):
    """This side closed the socket."""


class Socket:
    """One websocket with JSON frames; a send that the client does not take in time closes it."""

    def __init__(self, websocket: WebSocket, send_within_s: float) -> None:
        self._websocket = websocket
        self._send_within_s = send_within_s
        self._one_at_a_time = asyncio.Lock()

    @property
    def address(self) -> str | None:
        """Whom it is from; a proxy's word for it where the server believes that proxy."""
        client = self._websocket.client
        return None if client is None else client.host

    async def receive(self) -> str:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        text = message.get("text")
        if text is None:
            raise FrameError("bad_frame", "frames are JSON text, not binary")
        return str(text)

    async def send(self, frame: Mapping[str, Any]) -> None:
        text = json.dumps({key: value for key, value in frame.items() if value is not None}, ensure_ascii=False)
        try:
            async with asyncio.timeout(self._send_within_s), self._one_at_a_time:
                await self._websocket.send_text(text)
        except TimeoutError as error:
            log.info("webchat.slow_consumer")
            await self.close(CLOSE_TOO_SLOW, "the client does not read")
            raise SocketClosedError from error
        except RuntimeError as error:  # Starlette's word for a socket that is closed already
            raise SocketClosedError from error

    async def error(
        self, code: ErrorCode, message: str, client_msg_id: str | None = None, retry_after_s: float | None = None
    ) -> None:
        await self.send(
            {
                "type": "error",
                "code": code,
                "message": message,
                "client_msg_id": client_msg_id,
                "retry_after_s": retry_after_s,
            }
        )

    async def refuse(self, code: ErrorCode, message: str) -> None:
        await self.error(code, message)
        await self.close(CLOSE_BAD_HELLO, code)

    async def close(self, code: int, reason: str) -> None:
        try:
            # The closing handshake waits for the same client that does not read.
            async with asyncio.timeout(1):
                await self._websocket.close(code, reason)
        except (TimeoutError, RuntimeError):
            pass


async def refused_too_often(socket: Socket, refusals: Refusals) -> bool:
    """Count an identity token that is not valid; whether the client was told to wait, in place of what was wrong."""
    wait_s = refusals.note(socket.address)
    if wait_s is None:
        return False
    await socket.error("rate_limited", "too many identity tokens that are not valid", None, round(wait_s, 2))
    return True


@dataclass(frozen=True)
class _PutOff:
    """A message that was refused for now: what the client sent behind it must not overtake it."""

    client_msg_id: str
    code: ErrorCode
    until: float


@dataclass
class _Bucket:
    """A token bucket: `take` says how long to wait, 0 when the frame may pass."""

    per_s: float
    burst: int
    tokens: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens, self.at = float(self.burst), time.monotonic()

    def take(self) -> float:
        now = time.monotonic()
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.per_s)
        self.at = now
        if self.tokens < 1:
            return round((1 - self.tokens) / self.per_s, 2)
        self.tokens -= 1
        return 0.0


class Session:
    """One visitor on one socket, after a good hello."""

    def __init__(
        self,
        *,
        setup: SessionSetup,
        socket: Socket,
        ports: Ports,
        visitor_id: str,
        language: str | None,
        identity: Identity | None = None,
    ) -> None:
        limits = setup.socket
        self.setup, self.socket, self.ports, self.limits = setup, socket, ports, limits
        self.visitor_id, self.language = visitor_id, language
        self.sender_id = SENDER_PREFIX + visitor_id
        self.identity: Identity | None = identity
        self.sent_seq = self.seen_seq = 0
        self._news = asyncio.Event()
        self._is_typing = self._shows_typing = False
        self._typing_until = 0.0
        self._frames = _Bucket(limits.frames_per_s, limits.frame_burst)
        self._messages = _Bucket(limits.messages_per_s, limits.message_burst)
        self._put_off: _PutOff | None = None

    async def welcome(self, hello: Hello) -> None:
        """Say who the client is and where its transcript begins."""
        last_seq = await self.ports.last_seq(self.sender_id)
        is_ahead = hello.resume_from > last_seq
        self.sent_seq = 0 if is_ahead else hello.resume_from
        if self.sent_seq == 0 and hello.history is not None:
            self.sent_seq = max(0, last_seq - hello.history)
        await self.socket.send(
            {
                "type": "welcome",
                "protocol": PROTOCOL,
                "visitor": visitor_token(self.visitor_id, self.setup.secret),
                "conversation": self.sender_id,
                "last_seq": last_seq,
                "resume_from": self.sent_seq,
                "brand": self.setup.brand(),
                "max_text_chars": self.setup.channel.max_inbound_chars,
                "uploads": store.rules.offer() if (store := self.ports.files) and store.rules.kinds else None,
                "server_time": _iso(datetime.now(UTC)),
                "bound": self.setup.is_strict or None,
            }
        )
        if is_ahead:
            await self._resync(last_seq, "the client is ahead of this server")
        if hello.identity and self.identity is None:
            await self._identify(hello.identity)

    async def run(self) -> None:
        """Serve until either side closes."""
        unsubscribe = self.ports.subscribe(self.sender_id, self._wake)
        tasks = {asyncio.create_task(self._read_frames()), asyncio.create_task(self._read_transcript())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unsubscribe()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            error = task.exception()
            if error is not None and not isinstance(error, WebSocketDisconnect | SocketClosedError):
                log.error("webchat.session_failed", exc_info=error)
                await self.socket.close(CLOSE_FAILED, "the server failed; reconnect")

    # ---- client → server ----

    async def _read_frames(self) -> None:
        while True:
            try:
                frame = parse_frame(await self.socket.receive())
            except FrameError as error:
                if wait_s := self._frames.take():
                    await self.socket.error("rate_limited", TOO_FAST, error.client_msg_id, wait_s)
                else:
                    await self.socket.error(error.code, str(error), error.client_msg_id)
                continue
            client_msg_id = frame.client_msg_id if isinstance(frame, Send) else None
            if not await self._within_limits(client_msg_id, self._frames):
                continue
            match frame:
                case Send():
                    if not await self._is_behind(frame.client_msg_id):
                        await self._take(frame)
                case Seen():
                    await self._confirm(frame.seq)
                case Identify():
                    await self._identify(frame.identity)
                case Ping():
                    await self.socket.send({"type": "pong"})
                case Hello():
                    await self.socket.error("expected_hello", "a socket says hello once; open a new one")

    async def _within_limits(self, client_msg_id: str | None, bucket: _Bucket) -> bool:
        wait_s = bucket.take()
        if wait_s and client_msg_id is not None:
            await self._refuse_for_now("rate_limited", TOO_FAST, client_msg_id, wait_s)
        elif wait_s:
            await self.socket.error("rate_limited", TOO_FAST, None, wait_s)
        return not wait_s

    async def _refuse_for_now(self, code: ErrorCode, message: str, client_msg_id: str, retry_after_s: float) -> None:
        now, first = time.monotonic(), self._put_off
        if first is None or first.client_msg_id == client_msg_id or now > first.until:
            self._put_off = _PutOff(client_msg_id, code, now + retry_after_s + OVERTAKE_AFTER_S)
        await self.socket.error(code, message, client_msg_id, retry_after_s)

    async def _is_behind(self, client_msg_id: str) -> bool:
        """Refuse a message while one before it was put off, unless the client seems to have given that one up."""
        first = self._put_off
        if first is None or first.client_msg_id == client_msg_id or time.monotonic() > first.until:
            self._put_off = None
            return False
        wait_s = max(0.1, first.until - OVERTAKE_AFTER_S - time.monotonic())
        await self.socket.error(first.code, "a message before this one waits to be sent again", client_msg_id, wait_s)
        return True

    async def _take(self, frame: Send) -> None:
        """Store the message, then acknowledge it; every other end is an error frame that names the message."""
        try:
            text = frame.content(self.setup.channel.max_inbound_chars)
            context = frame.known_context()
        except FrameError as error:
            await self.socket.error(error.code, str(error), frame.client_msg_id)
            return
        if self.setup.is_strict and not self._is_identified():
            await self._refuse_anonymous("the identity token has expired", frame.client_msg_id)
            return
        if not await self._within_limits(frame.client_msg_id, self._messages):
            return
        try:
            files = await self._attached(frame)
            receipt = (await self.ports.receive([self._inbound(frame, text, files, context)]))[0]
        except TooBusy as error:
            await self._refuse_for_now("busy", str(error), frame.client_msg_id, error.retry_after_s or BUSY_RETRY_S)
        except BadRequest as error:
            await self.socket.error("refused", str(error), frame.client_msg_id)
        except Exception:
            # Whatever failed, the client must hear that the message is not stored.
            log.exception("webchat.receive_failed")
            reason = "the message could not be stored"
            await self._refuse_for_now("unavailable", reason, frame.client_msg_id, UNAVAILABLE_RETRY_S)
        else:
            await self.socket.send({"type": "ack", "client_msg_id": frame.client_msg_id, "seq": receipt.seq})
            self._news.set()

    async def _attached(self, frame: Send) -> list[StoredFile]:
        """The files that a message names. Raises BadRequest when one is not this visitor's, or is no longer there."""
        store = self.ports.files
        found = await store.find(self.sender_id, frame.attachments) if store and frame.attachments else {}
        for file_id in frame.attachments:
            if file_id not in found:
                raise BadRequest(f"attachment {file_id!r} is no file of this visitor; upload it again")
        return [found[file_id] for file_id in dict.fromkeys(frame.attachments)]

    def _inbound(
        self, frame: Send, text: str, files: Sequence[StoredFile], context: Mapping[str, Any]
    ) -> InboundMessage:
        now = datetime.now(UTC)
        metadata: dict[str, Any] = self.identity.metadata(now) if self.identity else {}
        if context:
            metadata["context"] = dict(context)
        if frame.payload is not None and frame.shown_title():
            metadata["title"] = frame.shown_title()
        if files and (store := self.ports.files):
            metadata["attachments"] = [attachment(file, store.link(file)) for file in files]
            if not text:
                # The bot needs something to read; the conversation shows the files alone.
                text, metadata["title"] = store.rules.text_of(files), ""
        return InboundMessage(
            channel="web",
            account="",
            # The client chooses its ids, so they are told apart by visitor.
            external_id=f"{self.visitor_id}:{frame.client_msg_id}",
            customer=self.visitor_id,
            sender_id=self.sender_id,
            text=text,
            received_at=now,
            metadata=metadata,
            input_channel="web",
            language_hint=primary_language(frame.language) or self.language,
        )

    async def _confirm(self, seq: int) -> None:
        # A client cannot have what this socket did not send.
        seq = min(seq, self.sent_seq)
        if seq > self.seen_seq:
            await self.ports.confirm(self.sender_id, seq)
            self.seen_seq = seq

    async def _identify(self, token: str) -> None:
        try:
            identity = read_identity(token, self.setup.widget_secret)
        except IdentityRefused as error:
            self.identity = None
            has_to_wait = await refused_too_often(self.socket, self.setup.refusals)
            if self.setup.is_strict and has_to_wait:
                await self.socket.close(CLOSE_TOO_OFTEN, "rate_limited")
            elif self.setup.is_strict:
                await self._refuse_anonymous(str(error))
            elif not has_to_wait:
                await self.socket.error("identity_invalid", str(error))
            return
        if self.setup.is_strict and identity.visitor_id(self.setup.secret) != self.visitor_id:
            await self._refuse_anonymous("this is another customer; open a socket of their own")
            return
        self.identity = identity

    def _is_identified(self) -> bool:
        return self.identity is not None and datetime.now(UTC) < self.identity.expires_at

    async def _refuse_anonymous(self, reason: str, client_msg_id: str | None = None) -> None:
        await self.socket.error("identity_required", reason, client_msg_id)
        await self.socket.close(CLOSE_ANONYMOUS, "identity_required")

    # ---- server → client ----

    def _wake(self, kind: str) -> None:
        if kind == "typing":
            self._is_typing = True
            self._typing_until = time.monotonic() + self.limits.typing_for_s
        self._news.set()

    async def _read_transcript(self) -> None:
        while True:
            # Cleared before reading: what arrives while we read wakes us once more.
            self._news.clear()
            while await self._send_page():
                pass
            await self._send_typing()
            try:
                async with asyncio.timeout(self.limits.reread_every_s):
                    await self._news.wait()
            except TimeoutError:
                pass

    async def _send_page(self) -> bool:
        """Send the next entries; whether there may be more."""
        page = await self.ports.transcript(self.sender_id, self.sent_seq, self.limits.transcript_page)
        if not page:
            return False
        if self.sent_seq and page[0].seq != self.sent_seq + 1:
            await self._resync(page[-1].seq, "the history after the client's last message is gone")
            self.sent_seq = 0
            return True
        shown = [entry_parts(entry) for entry in page]
        links = await fresh_links(self.ports.files, self.sender_id, shown)
        for entry, entry_shown in zip(page, shown, strict=True):
            if entry.author != "customer":
                self._is_typing = entry.goes_on
                self._typing_until = time.monotonic() + self.limits.typing_for_s
            await self.socket.send(message_frame(entry, linked(entry_shown, links)))
            self.sent_seq = entry.seq
        return len(page) == self.limits.transcript_page

    async def _resync(self, last_seq: int, reason: str) -> None:
        await self.socket.send({"type": "resync", "last_seq": last_seq, "reason": reason})

    async def _send_typing(self) -> None:
        is_typing = self._is_typing and time.monotonic() < self._typing_until
        if is_typing != self._shows_typing:
            self._shows_typing = is_typing
            await self.socket.send({"type": "typing", "on": is_typing})


def message_frame(entry: OutboundMessage, shown: Sequence[Part]) -> dict[str, Any]:
    """One transcript entry as the client gets it."""
    is_customer = entry.author == "customer"
    return {
        "type": "message",
        "seq": entry.seq,
        "id": f"{entry.conversation_id}-{entry.seq}",
        "author": entry.author,
        "parts": [part.model_dump(exclude_none=True) for part in shown],
        "created_at": _iso(entry.created_at),
        "continues": entry.continues,
        "more": entry.goes_on or None,
        "client_msg_id": entry.client_id.rpartition(":")[2] if is_customer and entry.client_id else None,
    }


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
