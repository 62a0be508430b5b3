"""What every request passes before its route, and every answer after it. Nothing here knows a conversation.

Invariant: an answer that is no refusal leaves as the route made it, with one header more.
"""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.refusals import Refusals


class NoSniff:
    """Every answer is what its Content-Type says: a browser must not look for a page in what a customer typed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, marked if scope["type"] == "http" else send)


class AsciiQueries:
    """An address has no other characters (RFC 3986); the framework fails over a query that does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["query_string"].isascii():
            await PlainTextResponse("the query must be percent-encoded", 400)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class RefusalLimit:
    """Answers 429 in place of the refusals (401, on a webhook 403 too) of an address that had too many."""

    def __init__(self, app: ASGIApp, refusals: Refusals) -> None:
        self._app, self._refusals = app, refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = (401, 403) if scope["path"].startswith("/webhooks/") else (401,)
        is_replaced = False

        async def limited(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and message["status"] in refused:
                wait_s = self._refusals.note((scope.get("client") or (None,))[0])
                if wait_s is not None:
                    is_replaced = True
                    await _too_many(wait_s, message)(scope, receive, send)
            if not is_replaced:
                await send(message)

        await self._app(scope, receive, limited)


def _too_many(wait_s: float, refusal: Message) -> JSONResponse:
    """Rasa's error shape; a page of another origin may read it where it might have read the refusal."""
    body = {
        "status": "failure",
        "message": "too many requests from this address without a valid signature or token; try again later",
        "reason": "TooManyRefusals",
        "code": 429,
    }
    answer = JSONResponse(body, 429, {"Retry-After": str(max(1, round(wait_s)))})
    kept = (b"access-control-", b"vary", b"cache-control")
    answer.raw_headers += [header for header in refusal["headers"] if header[0].lower().startswith(kept)]
    return answer
