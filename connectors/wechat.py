"""The WeChat Official Account channel: `/webhooks/wechat`.

WeChat gives an answer five seconds, asks three times, and takes the reply to any of its tries. So the three wait for
the same answer, on whichever replica they arrive; what is later than all of them goes as a customer-service message,
or, where the account may not send those, with the customer's next message.

Invariants: WeChat gets its answer only after `receive` returned; whatever is wrong with a request is one 403; an answer
is handed over by one of passive reply and customer-service message, never by both.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import (
    ConnectorError,
    InboundMessage,
    OutboundMessage,
    Ports,
    Receipt,
    RetryLater,
    SendResult,
    StateChange,
)
from connectors.fetching import PlatformFile
from connectors.wechat_api import TIMEOUT_S, WeChatApi, official_account_api, push_menu
from connectors.wechat_budget import Budget
from connectors.wechat_choices import as_payload
from connectors.wechat_crypto import Rejected, signature
from connectors.wechat_desk import KEPT, Desk
from connectors.wechat_door import Door, Letter
from connectors.wechat_errors import KEEP_S
from connectors.wechat_media import fetch_media
from connectors.wechat_messages import (
    CHANNEL,
    SENDER_PREFIX,
    Arrival,
    is_known,
    read_arrival,
    tapped_wait,
)
from connectors.wechat_options import WeChatOptions
from connectors.wechat_passive import Passive
from connectors.wechat_rendering import LIMITS, pushed
from connectors.wechat_together import Together
from connectors.wechat_xml import (
    Article,
    Envelope,
    article_reply,
    encrypted_reply,
    field,
    text_reply,
    transfer_reply,
)

log = logging.getLogger("kefu.wechat")

HELD_POLL_S = 0.1
SUCCESS = "success"
FORBIDDEN = "forbidden"


@dataclass(frozen=True)
class Transfer:
    """The message goes to WeChat's own desk."""


Reply = str | Article | Transfer


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the channel is made of once it has its ports."""

    ports: Ports
    passive: Passive
    desk: Desk
    together: Together


class WeChat:
    """One Official Account. `transport` replaces the network in tests; `clock` is Unix time."""

    name = CHANNEL
    limits = LIMITS
    can_repeat = False

    def __init__(
        self,
        options: WeChatOptions,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._clock = clock
        self._cipher = options.cipher()
        self._door = Door(
            token=options.token,
            cipher=self._cipher,
            takes_plaintext=options.mode != "safe",
            window_s=options.replay_window_s,
            clock=clock,
        )
        self.budget = Budget(CHANNEL, options.budget, clock)
        self._http = httpx.AsyncClient(base_url=options.api_url, timeout=TIMEOUT_S, transport=transport)
        self.parts: Parts | None = None
        self._rests: set[asyncio.Task[None]] = set()

    @property
    def hold_s(self) -> float:
        # Where nothing can be pushed, every answer waits to be collected.
        return self.options.hold_s if self.options.customer_messages else KEEP_S

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """WeChat's one address: GET checks it, POST brings messages."""
        parts = self._use(ports)

        async def webhook(request: Request) -> Response:
            try:
                if request.method == "GET":
                    return PlainTextResponse(self._door.echo(request.query_params))
                return await self._answer(request, parts)
            except Rejected:
                log.warning("wechat.rejected")
                return PlainTextResponse(FORBIDDEN, 403)
            except ConnectorError as error:
                log.warning("wechat.refused", extra={"reason": type(error).__name__})
                after_s = error.retry_after_s
                headers = {"Retry-After": str(max(1, round(after_s)))} if after_s else None
                return PlainTextResponse(type(error).__name__, error.http_status, headers)
            except ClientDisconnect:
                return Response(status_code=400)

        return [Route("/webhooks/wechat", webhook, methods=["GET", "POST"])]

    async def run(self, ports: Ports) -> None:
        """Keep the connection to WeChat for `send`; at the end, what is still to be sent waits for the next visit."""
        self._use(ports)
        try:
            await asyncio.Event().wait()
        finally:
            for task in tuple(self._rests):
                task.cancel()
            await asyncio.gather(*self._rests, return_exceptions=True)
            await self._http.aclose()

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """A customer-service message, where the account may send them and the customer's budget has room."""
        if not self.options.customer_messages:
            return KEPT
        if self.parts is None:
            return RetryLater(reason="the channel is starting")
        together, desk = self.parts.together, self.parts.desk
        if (fate := await together.fate(message)) is not None:
            return fate
        riders = await together.riders(message)
        if riders and not await together.begin(message, riders):
            riders = []
        shown = pushed([message, *riders], has_menus=self.options.menu_messages, public_url=self.options.public_url)
        result = await desk.send(message.sender_id.removeprefix(SENDER_PREFIX), shown)
        if riders:
            await together.end(message, result)
        return result

    async def fetch_file(
        self, message: InboundMessage, attachment: Mapping[str, Any], max_bytes: int
    ) -> PlatformFile | None:
        """A picture, voice or video that a customer sent."""
        has_api = self.parts is not None and self.options.app_id and self.options.app_secret
        return await fetch_media(self._api(self.parts.ports) if self.parts and has_api else None, attachment, max_bytes)

    async def push_menu(self, ports: Ports) -> None:
        """Replace the account's menu by the options' one. Raises a ConnectorError where WeChat does not take it."""
        try:
            await push_menu(self._api(ports), self.options.menu or {})
        finally:
            await self._http.aclose()

    def _api(self, ports: Ports) -> WeChatApi:
        options = self.options
        return official_account_api(self._http, ports.state, options.app_id, options.app_secret, self._clock)

    def _use(self, ports: Ports) -> Parts:
        if self.parts is None or self.parts.ports is not ports:
            together = Together(ports, self._clock)
            self.parts = Parts(
                ports=ports,
                passive=Passive(self.options, ports, together),
                desk=Desk(self._api(ports), self.budget, ports.state),
                together=together,
            )
        return self.parts

    # ---- one delivery of WeChat ----

    async def _answer(self, request: Request, parts: Parts) -> Response:
        deadline = asyncio.get_running_loop().time() + self.options.try_deadline_s
        letter = await self._door.open(request)
        arrival = read_arrival(
            letter.fields,
            account=self.options.app_id,
            texts=self.options.texts,
            language=self.options.language,
            now=datetime.now(UTC),
        )
        reply: Reply | None
        if (inbound_id := tapped_wait(arrival.menu_id)) is not None:
            reply = await self._fetched(arrival, inbound_id, letter, deadline, parts)
        elif arrival.message is None:
            await self._note(arrival, parts.ports)
            reply = None
        else:
            reply = await self._replied(request, arrival, arrival.message, deadline, parts)
        return self._sealed(reply, letter, arrival)

    async def _replied(
        self, request: Request, arrival: Arrival, message: InboundMessage, deadline: float, parts: Parts
    ) -> Reply | None:
        """Store the message, wait for its answer, and take it along if it comes in time."""
        ports = parts.ports
        message = await as_payload(message, arrival.menu_id, ports)
        (receipt,) = await ports.receive([message], self._renewed(arrival))
        is_last = await self._is_last_try(message, receipt, ports)
        replies = await ports.wait_for_reply(receipt.inbound_id, _left(deadline))
        if replies is None and not is_last:
            await self._until_hung_up(request)
            return None
        reference = f"passive:{receipt.inbound_id}"
        handed = await parts.passive.hand_over(arrival.sender_id, reference, f"kefu.more.{receipt.inbound_id}")
        # An earlier message may be on its way to the customer: the answer is ready, but must not overtake it.
        while (is_held := bool(replies and not handed.reply and await ports.pending(arrival.sender_id))) and (
            left_s := _left(deadline)
        ):
            await asyncio.sleep(min(left_s, HELD_POLL_S))
            handed = await parts.passive.hand_over(arrival.sender_id, reference, f"kefu.more.{receipt.inbound_id}")
        if is_held and not is_last:
            await self._until_hung_up(request)
            return None
        if handed.has_rest and self.options.customer_messages:
            self._push_rest_later(arrival, reference, parts)
        if replies is None and not self.options.customer_messages:
            return parts.passive.later(handed.reply, f"kefu.answer.{receipt.inbound_id}")
        if replies == [] and handed.reply is None and self.options.transfer_customer_service and not arrival.is_event:
            return Transfer()
        return handed.reply

    async def _fetched(
        self, arrival: Arrival, inbound_id: int, letter: Letter, deadline: float, parts: Parts
    ) -> Reply | None:
        """A tap on "get the answer" or "more": nothing for the bot, only what waits."""
        await self._note(arrival, parts.ports)
        replies = await parts.ports.wait_for_reply(inbound_id, _left(deadline))
        tap = f"tap:{field(letter.fields, 'MsgId')}:{field(letter.fields, 'CreateTime')}"
        handed = await parts.passive.hand_over(arrival.sender_id, tap, f"kefu.more.{inbound_id}")
        if handed.reply is None and replies is None:
            return parts.passive.later(None, f"kefu.answer.{inbound_id}")
        return handed.reply

    async def _note(self, arrival: Arrival, ports: Ports) -> None:
        """What the bot does not read still renews what may be sent; an unknown kind is counted."""
        if not is_known(arrival.kind):
            log.warning("wechat.unknown_kind", extra={"kind": arrival.kind})
        if changes := self._renewed(arrival):
            await ports.receive([], changes)

    def _renewed(self, arrival: Arrival) -> list[StateChange]:
        if arrival.allowance is None or not self.options.customer_messages:
            return []
        return [self.budget.renewed(arrival.customer, arrival.allowance)]

    async def _is_last_try(self, message: InboundMessage, receipt: Receipt, ports: Ports) -> bool:
        """WeChat does not number its tries; how long ago the first one came tells."""
        if not receipt.is_duplicate:
            return self.options.tries == 1
        first = await ports.transcript(message.sender_id, receipt.seq - 1, 1)
        if not first:
            return True
        since_s = (message.received_at - first[0].created_at).total_seconds()
        return since_s >= self.options.try_deadline_s * (self.options.tries - 1)

    async def _until_hung_up(self, request: Request) -> None:
        """WeChat tries again only when this try gets no answer at all."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.options.hang_up_s):
                while (await request.receive())["type"] != "http.disconnect":
                    pass

    def _push_rest_later(self, arrival: Arrival, reference: str, parts: Parts) -> None:
        """Only when no try can follow: the rest must not overtake a beginning that WeChat asks for once more."""

        async def push() -> None:
            await asyncio.sleep(self.options.hold_s)
            await parts.passive.push_rest(parts.desk, arrival.customer, arrival.sender_id, reference)

        task = asyncio.create_task(push(), name=f"wechat rest {reference}")
        self._rests.add(task)
        task.add_done_callback(self._rest_ended)

    def _rest_ended(self, task: asyncio.Task[None]) -> None:
        self._rests.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("wechat.rest_failed", exc_info=error)

    # ---- the reply ----

    def _sealed(self, reply: Reply | None, letter: Letter, arrival: Arrival) -> Response:
        """In the mode of the request; nothing to say is WeChat's word for it."""
        if reply is None:
            return PlainTextResponse(SUCCESS)
        to = Envelope(customer=arrival.customer, account=arrival.account_name, at=int(self._clock()))
        match reply:
            case Transfer():
                xml = transfer_reply(to)
            case Article():
                xml = article_reply(to, reply)
            case _:
                xml = text_reply(to, reply)
        if letter.is_encrypted and self._cipher is not None:
            encrypted = self._cipher.encrypt(xml)
            timestamp, nonce = str(to.at), secrets.token_hex(8)
            signed = signature(self.options.token, timestamp, nonce, encrypted)
            xml = encrypted_reply(encrypted, signed, timestamp, nonce)
        return Response(xml, media_type="application/xml")


def _left(deadline: float) -> float:
    return max(0.0, deadline - asyncio.get_running_loop().time())
