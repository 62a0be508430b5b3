"""The bot's messages → `chat.postMessage`, at a pace that Slack takes, and never twice.

Slack has no idempotency key. Each post carries the outbox id in its metadata, signed, so that a sender who takes over
from a dead one can ask the conversation what it already has.

Invariant: what may have been posted is looked for before it is posted again; where that cannot be asked, nothing is
posted.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Mapping
from typing import Any

from connectors.base import Delivered, DeliveryUnknown, OutboundMessage, RetryLater, SendResult, Undeliverable
from connectors.slack_api import NotDone, Refused, SlackApi, SlackCallFailed, Unclear
from connectors.slack_blocks import SlackPost, plain_post, posts
from connectors.slack_events import Place
from connectors.slack_options import SlackOptions
from connectors.slack_workspaces import Workspaces

log = logging.getLogger("kefu.slack")

EVENT_TYPE = "kefu"
BURST = 3
MAX_WAIT_S = 10.0
"""Longer than this a message waits in the outbox, not in a sender's hands."""
CLOCK_SKEW_S = 120.0
PAGE = 200
MAX_PAGES = 20
MAX_CHANNELS = 10_000
_NOT_SHOWN = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long"})
_TOKEN_IS_OLD = frozenset({"token_expired"})
# The app has not this feature, or not its scope: asking again at each message would change nothing.
_NO_STATUS = frozenset({"missing_scope", "not_allowed_token_type", "unknown_method", "feature_not_enabled"})


class Pace:
    """Who may post in a channel when: one each `every_s` on average, `BURST` at once. Other processes do not count."""

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._free_at: dict[str, float] = {}

    def reserve(self, channel: str, now: float) -> float:
        """Take the next turn; seconds until it comes. A turn that is further away than MAX_WAIT_S is not taken."""
        free_at = max(self._free_at.get(channel, now), now)
        wait_s = free_at - now - (BURST - 1) * self._every_s
        if wait_s <= MAX_WAIT_S:
            self._forget_idle(now)
            self._free_at[channel] = free_at + self._every_s
        return max(0.0, wait_s)

    def hold(self, channel: str, until: float) -> None:
        """Slack said that it takes nothing in this channel before then."""
        blocked = until + (BURST - 1) * self._every_s
        self._free_at[channel] = max(self._free_at.get(channel, blocked), blocked)

    def _forget_idle(self, now: float) -> None:
        if len(self._free_at) > MAX_CHANNELS:
            self._free_at = {channel: at for channel, at in self._free_at.items() if at > now}


class Poster:
    """Sends to every workspace. `secret` signs the metadata that a post is recognised by."""

    def __init__(self, options: SlackOptions, api: SlackApi, workspaces: Workspaces, secret: bytes) -> None:
        self._api, self._workspaces, self._secret = api, workspaces, secret
        self._status = options.status
        self._pace = Pace(1 / options.posts_per_s)
        self._without_status: set[str] = set()

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        """Post everything that the message shows, one post after the other; see `connectors.base.PushConnector`."""
        place = Place.read(message.sender_id)
        if place is None:
            return Undeliverable(reason=f"{message.sender_id[:80]!r} names no conversation in Slack")
        try:
            return Delivered(external_ref=await self._send(place, message, is_repeat))
        except NotDone as error:
            return RetryLater(reason=str(error), after_s=error.after_s)
        except Refused as error:
            if error.error in _TOKEN_IS_OLD:
                await self._workspaces.expire(place.team)
                return RetryLater(reason=str(error))
            return Undeliverable(reason=str(error))
        except SlackCallFailed as error:
            return DeliveryUnknown(reason=str(error))

    async def _send(self, place: Place, message: OutboundMessage, is_repeat: bool) -> str | None:
        token = await self._workspaces.token(place.team)
        await self._wait_for_turn(place)  # before anything is asked: a turn that is far away costs Slack no call
        there = await self._find(token, place, message) if is_repeat else {}
        ref: str | None = None
        for number, post in enumerate(posts(message.body)):
            if number:
                await self._wait_for_turn(place)
            ref = there.get(number) or await self._post(token, place, post, self._metadata(message, number))
        return ref

    async def _post(self, token: str, place: Place, post: SlackPost, metadata: Mapping[str, Any]) -> str:
        try:
            return await self._call_post(token, place, post, metadata)
        except Refused as error:
            if error.error not in _NOT_SHOWN or not post.blocks:
                raise
            log.warning("slack.blocks_refused", extra={"reason": error.error})
            return await self._call_post(token, place, plain_post(post), metadata)

    async def _wait_for_turn(self, place: Place) -> None:
        wait_s = self._pace.reserve(place.channel, time.monotonic())
        if wait_s > MAX_WAIT_S:
            raise NotDone("chat.postMessage", "too much waits for this channel already", wait_s)
        await asyncio.sleep(wait_s)

    async def _call_post(self, token: str, place: Place, post: SlackPost, metadata: Mapping[str, Any]) -> str:
        try:
            answer = await self._api.call(
                "chat.postMessage",
                token,
                channel=place.channel,
                thread_ts=place.thread or None,
                text=post.text,
                blocks=list(post.blocks) or None,
                metadata=dict(metadata),
                unfurl_links=False,
            )
        except NotDone as error:
            if error.after_s:
                self._pace.hold(place.channel, time.monotonic() + error.after_s)
            raise
        return str(answer.get("ts", ""))

    # ---- asked before anything is posted again ----

    async def _find(self, token: str, place: Place, message: OutboundMessage) -> dict[int, str]:
        """Which posts of the message the conversation has already: number → time stamp."""
        method = "conversations.replies" if place.thread else "conversations.history"
        oldest = f"{max(0.0, message.created_at.timestamp() - CLOCK_SKEW_S):.6f}"
        found: dict[int, str] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            try:
                answer = await self._api.call(
                    method,
                    token,
                    channel=place.channel,
                    ts=place.thread or None,
                    oldest=oldest,
                    limit=PAGE,
                    cursor=cursor,
                    include_all_metadata=True,
                )
            except Refused as error:
                # The question was refused, not the message: it may be there.
                raise Unclear(method, f"cannot ask what is there already: {error.reason}") from error
            found |= self._ours(answer.get("messages"), message)
            cursor = _next_cursor(answer)
            if not cursor:
                return found
        raise Unclear(method, "the conversation is too long to be searched")

    def _ours(self, messages: object, message: OutboundMessage) -> dict[int, str]:
        found: dict[int, str] = {}
        for each in messages if isinstance(messages, list) else ():
            metadata = each.get("metadata") if isinstance(each, Mapping) else None
            payload = metadata.get("event_payload") if isinstance(metadata, Mapping) else None
            if not isinstance(payload, Mapping) or payload.get("outbox_id") != message.outbox_id:
                continue
            number = payload.get("part")
            if isinstance(number, int) and payload == self._payload(message, number):
                found[number] = str(each.get("ts", ""))
        return found

    def _metadata(self, message: OutboundMessage, number: int) -> dict[str, Any]:
        return {"event_type": EVENT_TYPE, "event_payload": self._payload(message, number)}

    def _payload(self, message: OutboundMessage, number: int) -> dict[str, Any]:
        """Two installations of Kefu in one channel may have the same outbox id: the proof tells them apart."""
        signed = f"slack-post:{message.sender_id}:{message.outbox_id}:{number}".encode()
        proof = hmac.new(self._secret, signed, hashlib.sha256).hexdigest()[:32]
        return {"outbox_id": message.outbox_id, "part": number, "proof": proof}

    # ---- "is typing…" ----

    async def show_status(self, place: Place) -> None:
        """Show that an answer is made, where Slack can: in threads. It ends with the next post. Best effort."""
        if not self._status or not place.thread or place.team in self._without_status:
            return
        try:
            token = await self._workspaces.token(place.team)
            await self._api.call(
                "assistant.threads.setStatus",
                token,
                channel_id=place.channel,
                thread_ts=place.thread,
                status=self._status,
            )
        except SlackCallFailed as error:
            if isinstance(error, Refused) and error.error in _NO_STATUS:
                self._without_status.add(place.team)
            log.info("slack.status_failed", extra={"reason": error.reason})


def _next_cursor(answer: Mapping[str, Any]) -> str | None:
    more = answer.get("response_metadata")
    cursor = more.get("next_cursor") if isinstance(more, Mapping) else None
    return cursor if isinstance(cursor, str) and cursor else None
