"""Slack's requests: size, signature, form, in this order; and what it is answered.

Invariant: nothing is parsed before its signature was verified, and whatever was sent ends in an answer below 500 unless
the platform itself failed.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from connectors.base import BadRequest, ConnectorError, storable_text
from connectors.inbound import parse_json_object, read_body
from connectors.slack_signature import verify

log = logging.getLogger("kefu.slack")

MAX_BODY_BYTES = 1_048_576  # a press carries the whole message it was on
MAX_FIELDS = 100

Handle = Callable[[Mapping[str, Any]], Awaitable[object]]


class SlackRequests:
    """The endpoint of every path that Slack calls: what a request is, it says itself."""

    def __init__(self, secret: str, *, on_event: Handle, on_interaction: Handle, on_command: Handle) -> None:
        self._secret = secret
        self._on_event, self._on_interaction, self._on_command = on_event, on_interaction, on_command

    async def answer(self, request: Request) -> Response:
        """Verify and handle one request. What the platform itself raises is passed on: nothing is acknowledged."""
        try:
            body = await read_body(request, MAX_BODY_BYTES)
            verify(
                body,
                request.headers.get("x-slack-request-timestamp"),
                request.headers.get("x-slack-signature"),
                secret=self._secret,
                now=time.time(),
            )
            return await self._dispatch(body)
        except ConnectorError as error:
            log.warning("slack.refused", extra={"reason": type(error).__name__, "status": error.http_status})
            return _failure(error)
        except ClientDisconnect:
            return Response(status_code=400)

    async def _dispatch(self, body: bytes) -> Response:
        if body.lstrip()[:1] == b"{":
            return await self._json(parse_json_object(body))
        form = _form(body)
        if "payload" in form:
            await self._on_interaction(parse_json_object(form["payload"]))
            return Response()
        if "command" in form:
            return JSONResponse(await self._on_command(form))
        if form.get("ssl_check"):
            return Response()
        raise BadRequest("the body is none of Slack's: no event, no interaction, no command")

    async def _json(self, payload: Mapping[str, Any]) -> Response:
        if payload.get("type") == "url_verification":
            challenge = payload.get("challenge")
            if not isinstance(challenge, str):
                raise BadRequest("`challenge` must be a string")
            return JSONResponse({"challenge": storable_text(challenge)})
        await self._on_event(payload)
        return Response()


def _form(body: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadRequest("the body is not a form") from error


def _failure(error: ConnectorError) -> Response:
    headers = {}
    if error.http_status < 500:
        headers["X-Slack-No-Retry"] = "1"  # the same bytes would be refused again
    elif error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after_s)))
    body = {"status": "failure", "reason": type(error).__name__, "message": str(error), "code": error.http_status}
    return Response(json.dumps(body), error.http_status, headers, media_type="application/json")
