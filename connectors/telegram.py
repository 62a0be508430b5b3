"""Telegram's Bot API: updates come to Rasa's path `/webhooks/telegram/webhook`, messages go out one call a part.

What updates and calls look like is in telegram_messages.py.

Invariant: an update is read only with the secret its webhook was registered with, and acknowledged only after `receive`
returned. What Telegram may have got is never sent again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import ChannelState, Delivered, InboundMessage, OutboundMessage, Ports, SendResult, Unauthorized
from connectors.inbound import clean_text, parse_json_object, read_body
from connectors.memory import MemoryState
from connectors.payloads import full_payload
from connectors.sending import post_json, send_parts
from connectors.telegram_messages import LIMITS, Call, calls, outcome, plain_command, read_update, without_photo

log = logging.getLogger("kefu.telegram")

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
REGISTER_AGAIN_S = 30.0
MAX_BODY_BYTES = 262_144


@dataclass(kw_only=True, repr=False)
class Telegram:
    """One bot, as `telegram:` in credentials.yml describes it. Raises ValueError for what cannot work.

    Attributes:
        access_token: BotFather's.
        verify: the bot's user name; a command to another bot of the same group is not for this one.
        webhook_url: the public address of the webhook, registered at each start.
        secret_token: what you registered the webhook with, where you did it yourself; else it is made from the token.
        start_text: what /start says in the customer's name, as "/greet".
        api_url: a Bot API server of your own.
    """

    access_token: str = ""
    verify: str = ""
    webhook_url: str = ""
    secret_token: str = ""
    start_text: str = "/start"
    api_url: str = "https://api.telegram.org"

    name = "telegram"
    limits = LIMITS
    can_repeat, hold_s = False, 0.0  # no idempotency key, and nobody is told what was sent

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+:[\w-]+", self.access_token, re.ASCII):
            raise ValueError("access_token is not one of BotFather's, as 123456:ABC-DEF")
        if not (self.webhook_url or self.secret_token):
            raise ValueError("give webhook_url, to be registered, or the secret_token that you registered it with")
        made = hmac.new(self.access_token.encode(), b"the webhook's secret", hashlib.sha256).hexdigest()
        self._secret, self._bot = self.secret_token or made, self.access_token.partition(":")[0]
        self._http = httpx.AsyncClient(timeout=10.0)
        self._state: ChannelState = MemoryState()

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """The webhook, and the health path that Rasa gives each channel."""
        self._state = ports.state

        async def webhook(request: Request) -> Response:
            given = request.headers.get(SECRET_HEADER, "").encode("latin-1")
            if not hmac.compare_digest(given, self._secret.encode()):
                raise Unauthorized("this is not the secret that the webhook was registered with")
            try:
                update = parse_json_object(await read_body(request, MAX_BODY_BYTES))
            except ClientDisconnect:
                return Response(status_code=400)
            if (message := await self._inbound(update, ports)) is not None:
                await ports.receive([message])
            match update:
                case {"callback_query": {"id": str(query)}}:  # a call in the answer: the pressed button stops waiting
                    return JSONResponse({"method": "answerCallbackQuery", "callback_query_id": clean_text(query)})
            return JSONResponse({})

        return [
            Route("/webhooks/telegram/", lambda _: JSONResponse({"status": "ok"}), methods=["GET"]),
            Route("/webhooks/telegram/webhook", webhook, methods=["POST"]),
        ]

    async def run(self, ports: Ports) -> None:
        """Register the webhook, once a start."""
        call = {"url": self.webhook_url, "secret_token": self._secret, "allowed_updates": ["message", "callback_query"]}
        while self.webhook_url and not isinstance(result := await self._call(("setWebhook", call)), Delivered):
            log.error("telegram.not_registered", extra={"reason": result.reason})
            await asyncio.sleep(REGISTER_AGAIN_S)
        await asyncio.Event().wait()

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """One call a part; after a refusal the next try begins with the part that was refused."""
        chat = {"chat_id": message.sender_id.partition(":")[2]}
        shown = [(method, chat | call) for method, call in calls(message, self.webhook_url)]
        return await send_parts(shown, self._call, self._state, f"telegram/sent/{message.outbox_id}")

    async def _inbound(self, update: Mapping[str, Any], ports: Ports) -> InboundMessage | None:
        if (said := read_update(update)) is None:
            return None
        sender_id = f"telegram:{said.chat}"
        typed = plain_command(said.text, self.start_text, self.verify)
        text = clean_text(await full_payload(typed, sender_id, ports)).strip()[: LIMITS.max_inbound_chars]
        if not text and not said.files:
            return None
        return InboundMessage(
            channel=self.name,
            account="",  # people keep their number, and so their conversation, when the shop takes another bot
            external_id=f"{self._bot}:{said.update}:{said.place}",  # update numbers begin anew after a quiet week
            customer=str(said.chat),
            sender_id=sender_id,
            text=text,
            received_at=datetime.now(UTC),
            metadata={"attachments": said.files} if said.files else {},
            input_channel=self.name,
            language_hint=said.language,
        )

    async def _call(self, call: Call) -> SendResult:
        method, parameters = call
        answer = await post_json(self._http, f"{self.api_url}/bot{self.access_token}/{method}", parameters)
        if not isinstance(answer, dict):
            return answer
        if method == "sendPhoto" and answer.get("error_code") == 400:
            return await self._call(without_photo(parameters))
        return outcome(answer)
