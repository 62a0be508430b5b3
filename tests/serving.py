"""A real uvicorn on a free port inside the test's own event loop, for tests that bring their own routes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from connectors.base import ConnectorError


def channel_app(routes: Sequence[BaseRoute] = ()) -> Starlette:
    """A connector's routes, with what `bot.app` does for all of them: an error is answered with its own status."""

    async def refuse(_: Request, error: Exception) -> Response:
        assert isinstance(error, ConnectorError)
        return JSONResponse({"message": str(error)}, error.http_status)

    return Starlette(routes=routes, exception_handlers={ConnectorError: refuse})


def listen(port: int = 0) -> socket.socket:
    """A listening socket: whoever connects before the server runs waits in its queue, so nobody has to poll."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve until the block ends; the value is "127.0.0.1:port". Open sockets are closed, as by a restart."""
    listener = listen(port)
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield "{}:{}".format(*listener.getsockname())
    finally:
        server.should_exit = True
        await task
        listener.close()
