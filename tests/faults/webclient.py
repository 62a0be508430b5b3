"""A web-chat client as the widget is one, for tests: reconnects, resends what was not acknowledged, resumes.

It speaks docs/webchat-protocol.md over a real socket and writes down what it did and saw; judging is checker.py's.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.faults.checker import Acked, Event, Received, Resynced, Sent

PROTOCOL = 1
FIRST_WAIT_S = 0.05
LONGEST_WAIT_S = 1.0
RETRYABLE = {"rate_limited", "busy", "unavailable"}


@dataclass(frozen=True, kw_only=True)
class Say:
    """What the customer does: types `text`, or presses a button that sends `payload`."""

    text: str | None = None
    payload: str | None = None


class WebClient:
    """One visitor, online inside `async with` (again and again, if a test likes); `events` is what happened, in order.

    Args:
        url: the server, "http://127.0.0.1:8000"; of several, each connection goes to any.
        drop_chance: how often, per frame received, the network breaks by itself.
        token: of a visitor who was here before.
        on_change: called after every frame and when the connection breaks.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        name: str,
        *,
        seed: int = 0,
        drop_chance: float = 0.0,
        token: str | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name, self.token = name, token
        self.conversation = ""
        self.events: list[Event] = []
        self.errors: Counter[str] = Counter()
        self.connections = 0
        self.last_seen = 0
        self.unacked: dict[str, Say] = {}
        self.acked = 0
        self.is_connected = False
        self.replays_s: list[float] = []  # from each new connection's beginning until it had what was missed
        urls = [url] if isinstance(url, str) else url
        self._urls = [one.replace("http", "ws", 1) + "/webchat/ws" for one in urls]
        self._rng = random.Random(f"{name}:{seed}")
        self._drop_chance = drop_chance
        self._on_change = on_change
        self._sent_here: set[str] = set()  # over the present connection
        self._is_resyncing = False
        self._online_at = self._connecting_at = 0.0
        self._missed_until = 0
        self._task: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None
        self._outgoing = asyncio.Event()
        self._changed = asyncio.Event()

    # ---- what a test calls ----

    async def __aenter__(self) -> WebClient:
        self._task = asyncio.create_task(self._stay_connected(), name=self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def say(self, what: Say, message_id: str | None = None) -> str:
        """Send as soon as there is a connection, and again until it is acknowledged. Returns its client_msg_id."""
        message_id = message_id or f"{self.name}-{self._rng.getrandbits(64):016x}"
        self.unacked[message_id] = what
        self.events.append(Sent(message_id=message_id))
        self._outgoing.set()
        return message_id

    async def until(self, is_so: Callable[[], bool], timeout_s: float = 30) -> bool:
        """Wait for something this client sees; False when it did not come in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    self._changed.clear()
                    await self._changed.wait()
        return is_so()

    def drop(self, offline_s: float = 0.0) -> None:
        """Lose the connection as a phone in a tunnel does: without a word to the server, and for that long."""
        self._online_at = time.monotonic() + offline_s
        if self._socket is not None:
            self._socket.transport.abort()

    def received(self) -> list[Received]:
        return [event for event in self.events if isinstance(event, Received)]

    def bot_texts(self) -> list[str]:
        """What the bot said, message by message."""
        parts = [json.loads(entry.body) for entry in self.received() if entry.author == "bot"]
        return ["\n".join(part.get("text", "") for part in entry) for entry in parts]

    # ---- the connection ----

    async def _stay_connected(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            seen = self.connections
            await asyncio.sleep(max(0.0, self._online_at - time.monotonic()))
            self._connecting_at = time.monotonic()
            with suppress(OSError, WebSocketException, TimeoutError):
                # No pings of the library: an idle test server that is stopped must look idle, not dead.
                async with connect(
                    self._rng.choice(self._urls), proxy=None, ping_interval=None, compression=None, close_timeout=1
                ) as socket:
                    self._socket = socket
                    await self._converse(socket)
            self._socket, self.is_connected = None, False
            self._has_changed()
            wait_s = FIRST_WAIT_S if self.connections > seen else min(LONGEST_WAIT_S, wait_s * 2)
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))

    async def _converse(self, socket: ClientConnection) -> None:
        hello = {"type": "hello", "protocol": PROTOCOL, "visitor": self.token, "resume_from": self.last_seen}
        await socket.send(_frame(hello))
        sending = asyncio.create_task(self._send_forever(socket))
        try:
            async for raw in socket:
                self._take(json.loads(raw))
                self._has_changed()
                if self._drop_chance and self._rng.random() < self._drop_chance:
                    socket.transport.abort()
                    return
        finally:
            sending.cancel()
            await asyncio.wait({sending})  # unlike awaiting it, this is ended by being cancelled
            if not sending.cancelled():
                sending.exception()

    async def _send_forever(self, socket: ClientConnection) -> None:
        confirmed = self.last_seen
        self._sent_here = set()
        while True:
            self._outgoing.clear()
            # Nothing but hello before the welcome: until then nobody knows whose messages these are.
            for message_id, what in list(self.unacked.items()) if self.is_connected else ():
                if message_id not in self._sent_here:
                    self._sent_here.add(message_id)
                    send = {"type": "send", "client_msg_id": message_id, "text": what.text, "payload": what.payload}
                    await socket.send(_frame(send))
            if self.last_seen > confirmed:
                confirmed = self.last_seen
                await socket.send(_frame({"type": "seen", "seq": confirmed}))
            await self._outgoing.wait()

    def _take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self.connections += 1
                if self.conversation not in {"", frame["conversation"]}:
                    self.errors["became_another_visitor"] += 1
                self.token, self.conversation = frame["visitor"], frame["conversation"]
                self.is_connected = True
                self._missed_until = frame["last_seq"] if frame["last_seq"] > self.last_seen else 0
                self._outgoing.set()
            case "ack":
                if self.unacked.pop(frame["client_msg_id"], None) is not None:
                    self.acked += 1
                self.events.append(Acked(message_id=frame["client_msg_id"], seq=frame["seq"]))
            case "message":
                self._take_message(frame)
            case "resync":
                self._is_resyncing = True
            case "error":
                self._take_error(frame)

    def _has_changed(self) -> None:
        self._changed.set()
        self._on_change()

    def _take_message(self, frame: dict[str, Any]) -> None:
        if self._is_resyncing:
            self._is_resyncing = False
            self.events.append(Resynced(next_seq=frame["seq"]))
        self.last_seen = frame["seq"]
        if self._missed_until and self.last_seen >= self._missed_until:
            self.replays_s.append(time.monotonic() - self._connecting_at)
            self._missed_until = 0
        self.events.append(
            Received(
                seq=frame["seq"],
                author=frame["author"],
                body=json.dumps(frame["parts"], ensure_ascii=False),
                message_id=frame.get("client_msg_id"),
            )
        )
        self._outgoing.set()

    def _take_error(self, frame: dict[str, Any]) -> None:
        self.errors[frame["code"]] += 1
        message_id = frame.get("client_msg_id")
        if message_id in self.unacked and frame["code"] in RETRYABLE:
            asyncio.get_running_loop().call_later(frame.get("retry_after_s") or 1.0, self._again, message_id)

    def _again(self, message_id: str) -> None:
        self._sent_here.discard(message_id)
        self._outgoing.set()


def _frame(fields: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in fields.items() if value is not None}, ensure_ascii=False)
