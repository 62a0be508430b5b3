"""The web chat channel: `/webchat/ws`, its brand, uploads, the widget's files.

The wire protocol is docs/webchat-protocol.md.

What happens on an open socket is in webchat_session.py, the frames in webchat_frames.py.

Invariant: a conversation is opened only with a visitor token that this server signed, or it is a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from connectors.base import ChannelLimits, Ports
from connectors.file_routes import UploadLimits, Uploads, file_routes
from connectors.refusals import Refusals
from connectors.visitors import SENDER_PREFIX, Identity, IdentityRefused, new_visitor_id, read_identity, read_visitor
from connectors.webchat_frames import PROTOCOL, FrameError, Hello, parse_frame, primary_language
from connectors.webchat_session import (
    CLOSE_ANONYMOUS,
    CLOSE_TOO_OFTEN,
    Session,
    SessionSetup,
    Socket,
    SocketClosedError,
    SocketLimits,
    refused_too_often,
)
from connectors.widget_files import widget_routes

CLOSE_FORBIDDEN = 4403


class WebChat:
    """The web chat channel.

    Args:
        brand: gives what the widget shows just now (name, greeting, colours …), as JSON.
        secret: signs visitor tokens; the same on every server of one shop.
        widget_secret: verifies the shop's identity tokens; None: no identity is believed.
        allowed_origins: who may embed the widget, as "https://shop.example"; empty: everybody. Our own pages may.
        debug: whether the demo page may show why the bot did what it did.
        is_strict: nobody without a valid identity is served, and the conversation belongs to that identity: the same
            customer has it on every device, the next one at the same computer does not.
        refusals: counts identity tokens that are not valid, by address.
    """

    name = "web"
    limits = ChannelLimits()
    streams = True

    def __init__(
        self,
        brand: Callable[[], Mapping[str, Any]],
        secret: bytes,
        widget_secret: str | None = None,
        allowed_origins: Sequence[str] = (),
        debug: bool = False,
        socket_limits: SocketLimits | None = None,
        upload_limits: UploadLimits | None = None,
        is_strict: bool = False,
        refusals: Refusals | None = None,
    ) -> None:
        self.brand = brand
        self.secret = secret
        self.allowed_origins = frozenset(origin.rstrip("/").lower() for origin in allowed_origins)
        self.debug = debug
        self._uploads = Uploads(self.allows, secret, upload_limits)
        self._setup = SessionSetup(
            brand=lambda: self.brand(),
            secret=secret,
            widget_secret=widget_secret,
            is_strict=is_strict,
            channel=self.limits,
            socket=socket_limits or SocketLimits(),
            refusals=refusals or Refusals(),
        )

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """The socket, the brand, the widget's files, the demo shop, and where this server keeps files, those."""

        async def socket(websocket: WebSocket) -> None:
            await self._serve(websocket, ports)

        async def brand(request: Request) -> Response:
            origin = request.headers.get("origin")
            if not self.allows(origin, request.headers.get("host", "")):
                return JSONResponse(
                    {"status": "failure", "message": "this origin may not embed the chat", "code": 403}, 403
                )
            headers = {"Access-Control-Allow-Origin": origin or "*", "Vary": "Origin", "Cache-Control": "max-age=60"}
            return JSONResponse({"brand": self.brand(), "debug": self.debug, "protocol": PROTOCOL}, headers=headers)

        return [
            WebSocketRoute("/webchat/ws", socket),
            Route("/webchat/brand", brand, methods=["GET"]),
            *widget_routes(),
            *([] if ports.files is None else [*self._uploads.routes(ports.files), *file_routes(ports.files)]),
        ]

    def sender_of(self, token: str) -> str | None:
        """The conversation's sender_id that a visitor token opens, or None when it is not ours."""
        visitor_id = read_visitor(token, self.secret)
        return None if visitor_id is None else SENDER_PREFIX + visitor_id

    def allows(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may open the chat. A client that is no browser sends no origin and may."""
        if not self.allowed_origins or origin is None:
            return True
        return origin.lower() in self.allowed_origins or _host_of(origin) == host.lower()

    async def _serve(self, websocket: WebSocket, ports: Ports) -> None:
        await websocket.accept()
        if not self.allows(websocket.headers.get("origin"), websocket.headers.get("host", "")):
            # Refused after the handshake: a browser tells a page nothing about a refused handshake.
            await websocket.close(CLOSE_FORBIDDEN, "this origin may not embed the chat")
            return
        socket = Socket(websocket, self._setup.socket.send_within_s)
        try:
            session = await self._hello(socket, ports)
            if session is not None:
                await session.run()
        except (WebSocketDisconnect, SocketClosedError):
            pass

    async def _hello(self, socket: Socket, ports: Ports) -> Session | None:
        """Take the client's first frame; the session, or None when it was no good hello and the socket is closed."""
        try:
            async with asyncio.timeout(self._setup.socket.hello_within_s):
                frame = parse_frame(await socket.receive())
            if not isinstance(frame, Hello):
                raise FrameError("expected_hello", f"the first frame must be a hello, not {frame.type}")
            if frame.protocol != PROTOCOL:
                raise FrameError(
                    "unsupported_protocol", f"this server speaks protocol {PROTOCOL}, not {frame.protocol}"
                )
        except TimeoutError:
            await socket.refuse("expected_hello", "no hello came in time")
            return None
        except FrameError as error:
            await socket.refuse(error.code, str(error))
            return None
        identity: Identity | None = None
        if self._setup.is_strict:
            identity = await self._customer(frame, socket)
            if identity is None:
                return None
        session = Session(
            setup=self._setup,
            socket=socket,
            ports=ports,
            visitor_id=self._visitor(frame, identity),
            language=primary_language(frame.language),
            identity=identity,
        )
        await session.welcome(frame)
        return session

    def _visitor(self, hello: Hello, identity: Identity | None) -> str:
        if identity is not None and (theirs := identity.visitor_id(self.secret)) is not None:
            return theirs
        known = read_visitor(hello.visitor, self.secret) if hello.visitor else None
        return known or new_visitor_id()

    async def _customer(self, hello: Hello, socket: Socket) -> Identity | None:
        """Who it is, where only customers are served; None when it is nobody and the socket is closed."""
        reason = "this server talks to signed-in customers only; give the widget an identity token"
        try:
            identity = read_identity(hello.identity or "", self._setup.widget_secret)
            if identity.subject:
                return identity
            reason = "the identity token names nobody by `sub`, `email` or `phone`"
        except IdentityRefused as error:
            reason = str(error) if hello.identity else reason
            if hello.identity and await refused_too_often(socket, self._setup.refusals):
                await socket.close(CLOSE_TOO_OFTEN, "rate_limited")
                return None
        await socket.error("identity_required", reason)
        await socket.close(CLOSE_ANONYMOUS, "identity_required")
        return None


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None for what no browser sends."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:  # "http://["
        return None
