"""What reaches the Socket.IO library: packets that can be read. It logs an error, or answers "ok", for any other.

Invariant: whatever a client sends, no exception of the library's comes of it; a client that sends what is no packet is
disconnected.
"""

from __future__ import annotations

import logging
from typing import Any

from engineio.packet import packet_names  # type: ignore[import-untyped]
from engineio.payload import Payload  # type: ignore[import-untyped]
from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet  # type: ignore[import-untyped]
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("kefu.socketio")


class CheckedPacket(Packet):  # type: ignore[misc]
    """A packet that is one of a chat's (connect, event, disconnect), or a wish to be disconnected."""

    packet_type: int
    data: Any

    def __init__(self, *args: Any, encoded_packet: str | bytes | None = None, **kwargs: Any) -> None:
        super().__init__(*args, encoded_packet=encoded_packet, **kwargs)
        if encoded_packet is not None and not encoded_packet:  # the library does not decode nothing
            self.decode("")

    def decode(self, encoded_packet: str | bytes) -> int:
        """Never raises; the number of attachments, which is none."""
        try:
            attachments = super().decode(encoded_packet)
            is_ours = self.packet_type in (CONNECT, DISCONNECT) or (self.packet_type == EVENT and self._is_event())
        except Exception:  # noqa: BLE001  the library raises whatever its parsing meets
            attachments, is_ours = 0, False
        if attachments or not is_ours:
            log.warning("socketio.bad_packet")
            self.packet_type, self.namespace, self.id, self.data = DISCONNECT, None, None, None
        return 0

    def _is_event(self) -> bool:
        return isinstance(self.data, list) and bool(self.data) and isinstance(self.data[0], str)


class CheckedPolls:
    """Refuses the body of a long-polling client that is no list of packets. Put it before the library's application."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._packets(Request(scope, receive))
        except ClientDisconnect:
            return
        if body is None:
            log.warning("socketio.bad_poll")
            await PlainTextResponse("not a list of packets", 400)(scope, receive, send)
            return
        pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return pieces.pop() if pieces else await receive()

        await self._app(scope, again, send)

    async def _packets(self, request: Request) -> bytes | None:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._max_bytes:
                return None
        try:
            packets = Payload(encoded_payload=body.decode()).packets
        except Exception:  # noqa: BLE001  as above
            return None
        return body if all(packet.packet_type < len(packet_names) for packet in packets) else None
