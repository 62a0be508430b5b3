"""Rasa's REST channel: `POST /webhooks/rest/webhook` in, a JSON list of messages out.

What a client of Rasa sends and gets stays as it was. Ours: a repeat with the same `Idempotency-Key` or `message_id` is
answered with the first answer, and errors are real HTTP errors where Rasa answers an empty list.

Invariant: nothing is answered before `receive` returned, and no input ends in a 500.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import (
    MAX_ID_CHARS,
    BadRequest,
    ChannelLimits,
    ConnectorError,
    InboundMessage,
    Ports,
)
from connectors.inbound import clean_text, customer_metadata, message_text, parse_json_object, read_body
from connectors.rendering import rasa_messages

log = logging.getLogger("kefu.rest")

MAX_BODY_BYTES = 65_536
# Rasa's name for the conversation of a request that names no sender.
DEFAULT_SENDER = "default"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Rest:
    """One turn for one HTTP request. Attributes: `deadline_s`, after which the client gets a 504 and may ask again."""

    name = "rest"
    limits = ChannelLimits()

    def __init__(self, *, deadline_s: float = 30.0) -> None:
        self.deadline_s = deadline_s
        self._confirmations: set[asyncio.Task[None]] = set()

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """Rasa's two paths."""

        async def webhook(request: Request) -> Response:
            try:
                return await self._answer(request, ports)
            except ConnectorError as error:
                return _failure(error.http_status, type(error).__name__, str(error), error.retry_after_s)
            except ClientDisconnect:
                return Response(status_code=400)

        return [
            Route("/webhooks/rest/", _health, methods=["GET"]),
            Route("/webhooks/rest/webhook", webhook, methods=["POST"]),
        ]

    async def _answer(self, request: Request, ports: Ports) -> Response:
        message = self._parse(await read_body(request, MAX_BODY_BYTES), request.headers.get("idempotency-key"))
        receipt = (await ports.receive([message]))[0]
        replies = await ports.wait_for_reply(receipt.inbound_id, self.deadline_s)
        if replies is None:
            return _failure(
                504,
                "NoAnswerInTime",
                f"the message is stored and will be answered, but not within {self.deadline_s:g} s; "
                "send it again with the same Idempotency-Key to get the answer",
                retry_after_s=5.0,
            )
        if replies:
            self._confirm(ports, message.sender_id, replies[-1].seq)
        found = [out for reply in replies for out in rasa_messages(reply.body, message.sender_id)]
        if request.query_params.get("stream", "").lower() == "true":
            return _stream(found)
        return JSONResponse(found)

    def _parse(self, raw: bytes, idempotency_key: str | None) -> InboundMessage:
        body = parse_json_object(raw)
        sender = _sender(body.get("sender"))
        return InboundMessage(
            channel=self.name,
            account="",
            external_id=_external_id(sender, idempotency_key or body.get("message_id")),
            customer=sender,
            sender_id=sender,
            text=message_text(body.get("message"), "message", self.limits.max_inbound_chars),
            received_at=datetime.now(UTC),
            metadata=customer_metadata(body.get("metadata")),
            input_channel=_input_channel(body.get("input_channel")) or self.name,
        )

    def _confirm(self, ports: Ports, sender_id: str, seq: int) -> None:
        """Mark the answer delivered beside the response: the client need not wait for one more commit."""
        task = asyncio.create_task(_confirmed(ports, sender_id, seq))
        self._confirmations.add(task)
        task.add_done_callback(self._confirmations.discard)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _confirmed(ports: Ports, sender_id: str, seq: int) -> None:
    try:
        await ports.confirm(sender_id, seq)
    except Exception:
        # The answer is out already; a row that stays "ready" is shown to operators.
        log.exception("rest.confirm_failed")


def _sender(value: object) -> str:
    if value is None:
        return DEFAULT_SENDER
    # Rasa turns numbers into text; a boolean or an object is a mistake of the caller.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRequest("`sender` must be a string")
    sender = str(value)
    if not sender.strip() or len(sender) > MAX_ID_CHARS or clean_text(sender) != sender or _CONTROL.search(sender):
        raise BadRequest(f"`sender` must have 1 to {MAX_ID_CHARS} printable characters")
    return sender


def _external_id(sender: str, key: object) -> str:
    """Keys are the caller's, so each counts for its sender only: a guessed key gives nobody another sender's answer."""
    if key is None or key == "":
        return uuid4().hex
    if not isinstance(key, str | int) or not 1 <= len(str(key)) <= 255 or _CONTROL.search(str(key)):
        raise BadRequest("`message_id` and Idempotency-Key must have 1 to 255 printable characters")
    scoped = f"{len(sender)}:{sender}:{clean_text(str(key))}"
    return scoped if len(scoped) <= MAX_ID_CHARS else hashlib.sha256(scoped.encode()).hexdigest()


def _input_channel(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > 64:
        raise BadRequest("`input_channel` must be a string of at most 64 characters")
    return clean_text(value)


def _stream(messages: Iterable[dict[str, Any]]) -> Response:
    # A turn is committed as a whole, so there is nothing to send earlier: Rasa's lines, in one piece.
    lines = "".join(json.dumps(message) + "\n" for message in messages)
    return Response(lines, media_type="text/event-stream")


def _failure(status: int, reason: str, message: str, retry_after_s: float | None = None) -> Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(max(1, round(retry_after_s)))}
    body = {"status": "failure", "message": message, "reason": reason, "code": status}
    return JSONResponse(body, status_code=status, headers=headers)
