"""What Slack tells, over HTTP or Socket Mode → messages in the durable inbox.

A post is known by its channel and time stamp: `app_mention` and `message` for one post, and every repeat of either, are
one message, by the inbox's own unique key.

Invariant: when a function here returns, what it was given is stored or needs no answer; it may be acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.base import BadRequest, InboundMessage, Ports, StateChange
from connectors.slack_api import SlackApi, SlackCallFailed
from connectors.slack_blocks import LIMITS
from connectors.slack_events import (
    AppRemoved,
    AssistantThread,
    Command,
    Ignored,
    Origin,
    Place,
    Post,
    read_command,
    read_event,
    read_interaction,
)
from connectors.slack_options import SlackOptions
from connectors.slack_text import plain_text
from connectors.slack_workspaces import Workspaces, enterprise_key

log = logging.getLogger("kefu.slack")

CHANNEL = "slack"
OPEN_WITHIN_S = 2.0  # Slack waits three seconds for the answer to a slash command
HELP = (
    "Write to me in a direct message, or mention me in a channel; I answer in the thread.\n"
    "`{name} human`: a person takes over\n`{name} reset`: we begin again"
)
PASSED_ON = "I have passed that on. The answer comes as a direct message."
NOT_NOW = "That did not work just now. Please write to me in a direct message."


class Intake:
    """Reads payloads and stores what is for the bot. `on_taken` hears of each message that was new."""

    def __init__(
        self,
        options: SlackOptions,
        ports: Ports,
        api: SlackApi,
        workspaces: Workspaces,
        on_taken: Callable[[Place], None],
    ) -> None:
        self._options, self._ports, self._api, self._workspaces = options, ports, api, workspaces
        self._on_taken = on_taken
        self._noted: set[tuple[str, str]] = set()

    async def take_event(self, payload: Mapping[str, Any]) -> None:
        """An Events API callback. Raises BadRequest or TooBusy: then it is not stored."""
        match read_event(payload):
            case Post() as post:
                await self._take_post(post)
            case AssistantThread() as opened:
                key = _assistant_key(opened.origin.team, opened.channel, opened.thread_ts)
                await self._ports.receive([], [StateChange(key=key, value="1"), *self._enterprise(opened.origin)])
            case AppRemoved() as removed:
                await self._workspaces.forget(removed.origin.team, removed.origin.enterprise, removed.at)
            case Ignored(reason="rate_limited"):
                log.warning("slack.app_rate_limited", extra={"team": str(payload.get("team_id"))[:40]})
            case Ignored(reason=reason):
                log.info("slack.ignored", extra={"reason": reason})

    async def take_interaction(self, payload: Mapping[str, Any]) -> None:
        """What a person did with buttons and selects; their values are the person's messages."""
        for press in read_interaction(payload):
            place = await self._place(press.origin.team, press.channel, press.thread_ts, press.message_ts, press.user)
            said = {"title": press.title} if press.title else {}
            await self._store(
                place,
                press.origin,
                press.user,
                external_id=f"press:{press.channel}:{press.message_ts}:{press.user}:{press.action_ts}",
                text=press.value[: LIMITS.max_inbound_chars],
                metadata=said,
            )

    async def take_command(self, form: Mapping[str, Any]) -> dict[str, Any]:
        """A slash command; what Slack shows to the person alone."""
        command = read_command(form)
        word = command.text.casefold()
        if word not in self._options.command_texts:
            return _to_the_person(HELP.format(name=command.name or "/kefu"))
        if changes := self._enterprise(command.origin):  # first, because the next call needs the right token
            await self._ports.receive([], changes)
        channel = await self._direct_channel(command)
        if channel is None:
            return _to_the_person(NOT_NOW)
        await self._store(
            Place(team=command.origin.team, channel=channel),
            command.origin,
            command.user,
            external_id=f"command:{command.trigger_id}",
            text=self._options.command_texts[word],
            metadata={"command": f"{command.name} {word}"},
        )
        return _to_the_person(PASSED_ON)

    # ---- posts ----

    async def _take_post(self, post: Post) -> None:
        place = await self._place(post.origin.team, post.channel, post.thread_ts, post.ts, post.user)
        if not await self._is_for_the_bot(post, place):
            log.debug("slack.not_for_the_bot")
            return
        text = plain_text(post.text, post.origin.bot_users)
        names = " ".join(f"[{file.get('name', 'file')}]" for file in post.files)
        text = text or names
        if not text:
            log.info("slack.ignored", extra={"reason": "empty"})
            return
        metadata: dict[str, Any] = {"thread_id": place.thread or None, "users": sorted(post.origin.bot_users)}
        if len(text) > LIMITS.max_inbound_chars:
            # Refusing it would only make Slack send it again.
            text, metadata["is_cut"] = text[: LIMITS.max_inbound_chars], True
        if post.files:
            metadata["attachments"] = [dict(file) for file in post.files]
        await self._store(
            place, post.origin, post.user, external_id=f"{post.channel}:{post.ts}", text=text, metadata=metadata
        )

    async def _is_for_the_bot(self, post: Post, place: Place) -> bool:
        """A direct message, a mention, any post in the open channel, a further post in a thread that the bot is in."""
        if place.is_direct or post.mentions_bot or post.channel == self._options.open_channel:
            return True
        if post.thread_ts is None or not place.thread or post.addresses_others:
            return False
        return await self._ports.last_seq(place.sender_id) > 0

    async def _place(self, team: str, channel: str, thread_ts: str | None, ts: str, user: str) -> Place:
        place = Place(team=team, channel=channel)
        if place.is_direct:
            # The app's own chat panel is made of threads; in an ordinary direct message a thread changes nothing.
            is_panel = thread_ts and await self._ports.state.get(_assistant_key(team, channel, thread_ts))
            return Place(team=team, channel=channel, thread=thread_ts or "") if is_panel else place
        if self._options.has_threads:
            return Place(team=team, channel=channel, thread=thread_ts or ts)
        return Place(team=team, channel=channel, user=user)

    # ---- storing ----

    async def _store(
        self, place: Place, origin: Origin, user: str, *, external_id: str, text: str, metadata: Mapping[str, Any]
    ) -> None:
        """One commit. A thread belongs to who began it: a colleague who joins in writes in the same conversation."""
        for is_last_try in (False, True):
            opener, changes = await self._opener(place, user)
            message = InboundMessage(
                channel=CHANNEL,
                account=origin.team,
                external_id=external_id,
                customer=opener,
                thread=place.thread,
                sender_id=place.sender_id,
                text=text,
                received_at=datetime.now(UTC),
                metadata={"out_channel": place.channel, "team": origin.team, "user": user, **metadata},
                input_channel=CHANNEL,
            )
            try:
                (receipt,) = await self._ports.receive([message], [*changes, *self._enterprise(origin)])
            except BadRequest:
                # Two people opened the thread at once, and the other's post was stored first.
                if is_last_try or not changes:
                    raise
                continue
            self._noted |= {(change.key, change.value) for change in self._enterprise(origin)}
            if not receipt.is_duplicate:
                self._on_taken(place)
            return

    async def _opener(self, place: Place, user: str) -> tuple[str, list[StateChange]]:
        if place.is_direct or not place.thread:
            return user, []
        key = f"slack/opener/{place.sender_id}"
        opener = await self._ports.state.get(key)
        return (opener, []) if opener else (user, [StateChange(key=key, value=user)])

    def _enterprise(self, origin: Origin) -> list[StateChange]:
        """Which organisation's token speaks in the workspace, where it is not the workspace's own."""
        if origin.enterprise is None:
            return []
        change = StateChange(key=enterprise_key(origin.team), value=origin.enterprise)
        return [] if (change.key, change.value) in self._noted else [change]

    async def _direct_channel(self, command: Command) -> str | None:
        """The bot's direct messages with the person, wherever they wrote the command."""
        try:
            async with asyncio.timeout(OPEN_WITHIN_S):
                token = await self._workspaces.token(command.origin.team)
                answer = await self._api.call("conversations.open", token, users=command.user)
        except (SlackCallFailed, TimeoutError) as error:
            log.warning("slack.no_direct_message", extra={"reason": str(error)[:200]})
            return None
        channel = answer.get("channel")
        found = channel.get("id") if isinstance(channel, Mapping) else None
        return found if isinstance(found, str) and Place.read(Place(team="T", channel=found).sender_id) else None


def _assistant_key(team: str, channel: str, thread_ts: str) -> str:
    return f"slack/assistant/{team}/{channel}/{thread_ts}"


def _to_the_person(text: str) -> dict[str, Any]:
    return {"response_type": "ephemeral", "text": text}
