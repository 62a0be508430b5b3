"""Pulling 微信客服 messages: what callbacks announced, page by page, by one process at a time.

State, under `wechat_kf/`: `accounts` (which there are), `called/<account>` (the last callback), `pulled/<account>` (the
last callback whose pull is complete), `cursor/<account>`, and the lease `pull/<account>`.

Invariant: a page's messages, the cursor behind it and, for the last page, `pulled` are one commit.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from connectors.base import ConnectorError, InboundMessage, Ports, StateChange
from connectors.wechat_api import WeChatApi
from connectors.wechat_choices import as_payload
from connectors.wechat_errors import STALE_CALL, Refused
from connectors.wechat_kf_messages import KfEntry, read_kf_entry
from connectors.wechat_options import WeChatKfOptions

log = logging.getLogger("kefu.wechat_kf")

PAGE = 100
LEASE_S = 30.0
MAX_PAGES = 1_000
FIRST_PULL_S = 600.0
"""Without a cursor WeCom begins three days back: what is older than this was answered by somebody else, or never."""


class Puller:
    """Pulls for every account that a callback has named.

    Args:
        on_visit: called with the sender_id after a customer's message was stored.
    """

    def __init__(
        self,
        options: WeChatKfOptions,
        ports: Ports,
        api: WeChatApi,
        holder: str,
        on_visit: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self._options, self._ports, self._api, self._holder = options, ports, api, holder
        self._on_visit, self._clock = on_visit, clock

    async def note_call(self, open_kfid: str, token: str) -> None:
        """Make it durable that this account has news."""
        await self._add_account(open_kfid)
        # Two calls may carry one token; each is a pull of its own.
        call = json.dumps({"token": token, "id": secrets.token_hex(4)})
        await self._ports.receive([], [StateChange(key=_key("called", open_kfid), value=call)])

    async def catch_up(self) -> None:
        """Pull for each account until its last call is answered, unless another process is at it."""
        for open_kfid in await self._accounts():
            try:
                await self._catch_up(open_kfid)
            except ConnectorError as error:  # the call stays open and is tried again at the next look
                log.warning("wechat_kf.pull_failed", extra={"reason": str(error)})

    async def _catch_up(self, open_kfid: str) -> None:
        state = self._ports.state
        while call := await state.get(_key("called", open_kfid)):
            if call == await state.get(_key("pulled", open_kfid)):
                return
            if not await state.lease(_key("pull", open_kfid), self._holder, LEASE_S):
                return
            try:
                await self._pull(open_kfid, call)
            finally:
                await state.lease(_key("pull", open_kfid), self._holder, 0)

    async def _pull(self, open_kfid: str, call: str) -> None:
        token: str = json.loads(call)["token"]
        cursor = await self._ports.state.get(_key("cursor", open_kfid)) or ""
        since = 0.0 if cursor else self._clock() - FIRST_PULL_S
        for _ in range(MAX_PAGES):
            asked = {"cursor": cursor, "open_kfid": open_kfid, "limit": PAGE, **({"token": token} if token else {})}
            try:
                page = await self._api.call("/cgi-bin/kf/sync_msg", asked)
            except Refused as refused:
                if refused.code != STALE_CALL or not token:
                    raise
                token = ""  # its ten minutes are over; without one WeCom answers too, only not as often
                continue
            has_more = page.get("has_more") == 1
            cursor = str(page.get("next_cursor") or cursor)
            changes = [StateChange(key=_key("cursor", open_kfid), value=cursor)] if cursor else []
            if not has_more:
                changes.append(StateChange(key=_key("pulled", open_kfid), value=call))
            messages = await self._messages(page, since)
            await self._ports.receive(messages, changes)
            for sender_id in dict.fromkeys(message.sender_id for message in messages):
                await self._on_visit(sender_id)
            if not has_more:
                return
            await self._ports.state.lease(_key("pull", open_kfid), self._holder, LEASE_S)

    async def _messages(self, page: Mapping[str, Any], since: float) -> list[InboundMessage]:
        raw = page.get("msg_list")
        entries = self._entries(raw if isinstance(raw, list) else [], since)
        return [await as_payload(entry.message, entry.menu_id, self._ports) for entry in entries]

    def _entries(self, page: Sequence[object], since: float) -> list[KfEntry]:
        found = []
        for raw in page:
            if not isinstance(raw, Mapping):
                continue
            entry = read_kf_entry(
                raw, corp_id=self._options.corp_id, texts=self._options.texts, language=self._options.language
            )
            if entry is None:
                _count(raw)
            elif _sent_at(raw) >= since:
                found.append(entry)
        return found

    async def _add_account(self, open_kfid: str) -> None:
        state = self._ports.state
        while True:
            text = await state.get(_ACCOUNTS)
            known = json.loads(text) if text else []
            if open_kfid in known or await state.compare_and_set(_ACCOUNTS, text, json.dumps([*known, open_kfid])):
                return

    async def _accounts(self) -> list[str]:
        text = await self._ports.state.get(_ACCOUNTS)
        return list(json.loads(text)) if text else []


def _count(entry: Mapping[str, Any]) -> None:
    """What no customer wrote: an event, or a colleague's message."""
    event = entry.get("event")
    kind = event.get("event_type") if isinstance(event, Mapping) else entry.get("msgtype")
    if kind == "msg_send_fail":
        log.error("wechat_kf.message_not_delivered", extra={"fail_type": event.get("fail_type") if event else None})
    else:
        log.info("wechat_kf.not_for_the_bot", extra={"kind": str(kind)[:40]})


def _sent_at(entry: Mapping[str, Any]) -> float:
    at = entry.get("send_time")
    return float(at) if isinstance(at, int | float) else 0.0


_ACCOUNTS = "wechat_kf/accounts"


def _key(what: str, open_kfid: str) -> str:
    return f"wechat_kf/{what}/{open_kfid}"
