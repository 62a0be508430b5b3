"""微信客服 (KF), through WeCom's interface: `/webhooks/wechat/kf`.

WeCom's callback says only that there is something; messages are pulled with a cursor. The callback is stored before it
is acknowledged, and every process looks after what was stored, so a pull that dies is made by another.

Invariants: the cursor moves in the commit that stores the messages it passed; a message's outbox id makes its `msgid`,
so that one sent twice arrives once.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from connectors.base import ConnectorError, Delivered, InboundMessage, OutboundMessage, Ports, RetryLater, SendResult
from connectors.fetching import PlatformFile
from connectors.wechat_api import TIMEOUT_S, WeChatApi, corp_api
from connectors.wechat_crypto import Rejected
from connectors.wechat_door import Door
from connectors.wechat_errors import NotSent, Refused, Unclear, send_result
from connectors.wechat_kf_messages import CHANNEL, Address
from connectors.wechat_kf_pull import Puller
from connectors.wechat_media import fetch_media
from connectors.wechat_options import WeChatKfOptions
from connectors.wechat_rendering import LIMITS, kf_message, pushed
from connectors.wechat_xml import field

log = logging.getLogger("kefu.wechat_kf")

MAX_KFID_CHARS = 100


class WeChatKf:
    """One company's KF accounts. `transport` replaces the network in tests; `clock` is Unix time."""

    name = CHANNEL
    limits = LIMITS
    can_repeat = True
    hold_s = 0.0

    def __init__(
        self,
        options: WeChatKfOptions,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self._door = Door(
            token=options.token,
            cipher=options.cipher(),
            takes_plaintext=False,
            window_s=options.replay_window_s,
            clock=clock,
        )
        self._http = httpx.AsyncClient(base_url=options.api_url, timeout=TIMEOUT_S, transport=transport)
        self._clock = clock
        self._holder = secrets.token_hex(8)
        self._called = asyncio.Event()
        self._ports: Ports | None = None
        self._api: WeChatApi | None = None

    def routes(self, ports: Ports) -> list[BaseRoute]:
        """WeCom's callback address: GET checks it, POST says that there are messages."""
        puller = self._use(ports)

        async def callback(request: Request) -> Response:
            try:
                if request.method == "GET":
                    return PlainTextResponse(self._door.echo_encrypted(request.query_params))
                await self._note(request, puller)
                return PlainTextResponse("success")
            except Rejected:
                log.warning("wechat_kf.rejected")
                return PlainTextResponse("forbidden", 403)
            except ConnectorError as error:
                return PlainTextResponse(type(error).__name__, error.http_status)
            except ClientDisconnect:
                return Response(status_code=400)

        return [Route("/webhooks/wechat/kf", callback, methods=["GET", "POST"])]

    async def run(self, ports: Ports) -> None:
        """Pull what callbacks announced, here or to another process that died before it pulled."""
        puller = self._use(ports)
        try:
            while True:
                self._called.clear()
                await puller.catch_up()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.options.poll_s):
                        await self._called.wait()
        except asyncio.CancelledError:
            await self._http.aclose()  # only at the end: after a failure the platform calls `run` again
            raise

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """`kf/send_msg`; a repeat carries the same ids and is dropped by WeCom."""
        if self._api is None or self._ports is None:
            return RetryLater(reason="the channel is starting")
        try:
            await self._send(message)
        except (Refused, NotSent, Unclear) as error:
            if isinstance(error, Refused) and error.remedy == "keep":
                await self._ports.state.compare_and_set(_kept(message.sender_id), None, "1")
            return send_result(error)
        return Delivered()

    async def fetch_file(
        self, message: InboundMessage, attachment: Mapping[str, Any], max_bytes: int
    ) -> PlatformFile | None:
        """A picture, voice, video or file that a customer sent."""
        return await fetch_media(self._api, attachment, max_bytes)

    async def _send(self, message: OutboundMessage) -> None:
        assert self._api is not None
        address = Address.of(message.sender_id)
        shown = pushed([message], has_menus=self.options.menu_messages, public_url=self.options.public_url)
        for part, one in enumerate(shown):
            await self._api.call(
                "/cgi-bin/kf/send_msg",
                {
                    "touser": address.customer,
                    "open_kfid": address.open_kfid,
                    "msgid": message_key(message, part),
                    **kf_message(one),
                },
            )

    async def _note(self, request: Request, puller: Puller) -> None:
        """Store what the callback says; `run` does the rest."""
        fields = (await self._door.open(request)).fields
        open_kfid = field(fields, "OpenKfId")
        if field(fields, "Event") != "kf_msg_or_event" or not 0 < len(open_kfid) <= MAX_KFID_CHARS:
            log.info("wechat_kf.other_callback")
            return
        await puller.note_call(open_kfid, field(fields, "Token"))
        self._called.set()

    async def _send_kept(self, sender_id: str) -> None:
        """What could not be sent before may go out now that the customer has written again; the outbox sends it."""
        assert self._ports is not None
        if await self._ports.state.take(_kept(sender_id)) is not None:
            await self._ports.hasten(sender_id)

    def _use(self, ports: Ports) -> Puller:
        options = self.options
        if self._ports is not ports or self._api is None:
            self._ports = ports
            self._api = corp_api(self._http, ports.state, options.corp_id, options.secret, self._clock)
        return Puller(options, ports, self._api, self._holder, self._send_kept, self._clock)


def message_key(message: OutboundMessage, part: int) -> str:
    """The `msgid` of a part: the same for each try, another one for each row of any database, at most 32 bytes."""
    return f"{message.outbox_id}-{int(message.created_at.timestamp())}-{part}"


def _kept(sender_id: str) -> str:
    return f"wechat_kf/kept/{sender_id}"
