"""How the bot's messages get into Slack: at Slack's pace, recognised again, and what each failure means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.responses import Response

from connectors.base import (
    Delivered,
    DeliveryUnknown,
    OutboundMessage,
    PushConnector,
    RetryLater,
    SendResult,
    Undeliverable,
)
from connectors.memory import MemoryPorts
from connectors.slack import Slack
from connectors.slack_api import SlackApi
from connectors.slack_events import Place
from connectors.slack_options import SlackOptions
from connectors.slack_posting import BURST, MAX_WAIT_S, Pace, Poster
from connectors.slack_workspaces import Workspaces
from tests.slack_server import BOT_TOKEN, Failure, FakeSlack, refusal, slack, too_many

THREAD = "1700000000.000100"
BUTTONS = {"text": "Sure?", "buttons": [{"title": "Yes", "payload": "/affirm"}]}


def message(body: dict[str, Any] | None = None, **changes: Any) -> OutboundMessage:
    plain = OutboundMessage(
        outbox_id=7, conversation_id=1, sender_id=f"slack:T0SHOP/C0HELP/{THREAD}", seq=2, author="bot",
        body=body or {"text": "hello"}, created_at=datetime.now(UTC),
    )  # fmt: skip
    return replace(plain, **changes)


@dataclass(kw_only=True)
class Bot:
    """A bot in the fake Slack, and others like it."""

    slack: FakeSlack
    api_url: str

    def __post_init__(self) -> None:
        self.channel = self.another()

    def another(self, secret: bytes = b"secret", token: str = BOT_TOKEN) -> Slack:
        options = SlackOptions(signing_secret="s", bot_token=token, api_url=self.api_url, posts_per_s=1_000)
        made = Slack(options, secret)
        made.routes(MemoryPorts())
        return made

    async def send(self, sent: OutboundMessage | None = None, *, is_repeat: bool = False) -> SendResult:
        return await self.channel.send(sent or message(), is_repeat=is_repeat)

    def texts(self) -> list[str]:
        return [said.text for said in self.slack.posts]


@asynccontextmanager
async def opened() -> AsyncIterator[Bot]:
    async with slack() as (fake, api_url):
        yield Bot(slack=fake, api_url=api_url)


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    async with opened() as made:
        yield made


def test_it_is_a_push_channel_that_can_be_asked() -> None:
    made = Slack(SlackOptions(signing_secret="s", bot_token="xoxb-1"), b"secret")
    assert isinstance(made, PushConnector)
    assert (made.can_repeat, made.hold_s) == (True, 0.0)


async def test_a_post_carries_what_it_is_recognised_by(bot: Bot) -> None:
    result = await bot.send(message(BUTTONS))
    [said] = bot.slack.posts
    assert result == Delivered(external_ref=said.ts)
    assert (said.channel, said.thread_ts) == ("C0HELP", THREAD)
    assert said.metadata is not None
    assert said.metadata["event_type"] == "kefu"
    assert said.metadata["event_payload"]["outbox_id"] == 7


async def test_nothing_to_show_is_delivered_without_a_post(bot: Bot) -> None:
    assert await bot.send(message({"custom": {"type": "hologram"}})) == Delivered()
    assert bot.slack.calls == []


# ---- repeats ----


@pytest.mark.parametrize("sender_id", [f"slack:T0SHOP/C0HELP/{THREAD}", "slack:T0SHOP/D0ANNA"])
async def test_a_repeat_finds_the_post_behind_others_and_posts_nothing(bot: Bot, sender_id: str) -> None:
    await bot.send(message(sender_id=sender_id))
    for number in range(5):  # several pages of them, in a thread and in a channel
        await bot.send(message({"text": f"later {number}"}, outbox_id=8 + number, sender_id=sender_id))
    first = bot.slack.posts[0].ts
    assert await bot.send(message(sender_id=sender_id), is_repeat=True) == Delivered(external_ref=first)
    assert bot.texts().count("hello") == 1


async def test_a_repeat_that_is_not_there_is_posted(bot: Bot) -> None:
    await bot.send(message({"text": "another"}, outbox_id=6))
    assert isinstance(await bot.send(is_repeat=True), Delivered)
    assert bot.texts() == ["another", "hello"]


async def test_of_a_message_in_several_posts_only_the_missing_ones_follow(bot: Bot) -> None:
    long = message({"text": "word " * 1_500})
    await bot.send(long)
    whole = bot.texts()
    assert len(whole) == 3
    del bot.slack.posts[1:]
    await bot.send(long, is_repeat=True)
    assert bot.texts() == whole


async def test_a_post_of_another_installation_with_the_same_number_is_not_ours(bot: Bot) -> None:
    assert isinstance(await bot.another(b"another shop").send(message(), is_repeat=False), Delivered)
    await bot.send(is_repeat=True)
    assert bot.texts() == ["hello", "hello"]


async def test_where_slack_cannot_be_asked_nothing_is_posted(bot: Bot) -> None:
    bot.slack.fail("conversations.replies", refusal("missing_scope", needed="channels:history"))
    result = await bot.send(is_repeat=True)
    assert isinstance(result, DeliveryUnknown)
    assert "channels:history" in result.reason
    assert bot.slack.posts == []


# ---- failures ----


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (too_many(30), RetryLater(reason="chat.postMessage: too many calls", after_s=30.0)),
        (refusal("channel_not_found"), Undeliverable(reason="chat.postMessage: channel_not_found")),
        (refusal("is_archived"), Undeliverable(reason="chat.postMessage: is_archived")),
        (refusal("invalid_auth"), Undeliverable(reason="chat.postMessage: invalid_auth")),
        (refusal("token_expired"), RetryLater(reason="chat.postMessage: token_expired")),
        (refusal("internal_error"), DeliveryUnknown(reason="chat.postMessage: internal_error")),
        (refusal("request_timeout"), RetryLater(reason="chat.postMessage: request_timeout")),
        (Failure(), DeliveryUnknown(reason="chat.postMessage: HTTP 500")),
        (Response("<html>", 200), DeliveryUnknown(reason="chat.postMessage: HTTP 200")),
        (Response("[]", 200), DeliveryUnknown(reason="chat.postMessage: HTTP 200")),
    ],
)
async def test_what_a_failure_means(bot: Bot, failure: Response | Failure, expected: SendResult) -> None:
    bot.slack.fail("chat.postMessage", failure)
    assert await bot.send() == expected


async def test_no_connection_means_not_posted() -> None:
    options = SlackOptions(signing_secret="s", bot_token=BOT_TOKEN, api_url="http://127.0.0.1:9/api/")
    result = await Slack(options, b"secret").send(message(), is_repeat=False)
    assert isinstance(result, RetryLater)
    assert "no connection" in result.reason


async def test_a_sender_id_that_is_no_place_in_slack_is_undeliverable(bot: Bot) -> None:
    assert isinstance(await bot.send(message(sender_id="web:abc")), Undeliverable)


async def test_blocks_that_slack_does_not_take_are_posted_as_text(bot: Bot) -> None:
    bot.slack.fail("chat.postMessage", refusal("invalid_blocks"))
    assert isinstance(await bot.send(message(BUTTONS)), Delivered)
    assert [(said.text, said.blocks) for said in bot.slack.posts] == [("Sure?\nYes", [])]


async def test_a_token_is_never_in_what_is_said_about_a_failure(bot: Bot) -> None:
    result = await bot.another(token="xoxb-wrong-secret").send(message(), is_repeat=False)
    assert isinstance(result, Undeliverable)
    assert "xoxb" not in result.reason


# ---- pace ----


def test_a_channel_gets_a_few_posts_at_once_and_then_one_a_second() -> None:
    pace = Pace()
    waits = [pace.reserve("C1", 100.0) for _ in range(BURST + 3)]
    assert waits == [0.0] * BURST + [1.0, 2.0, 3.0]
    assert pace.reserve("C2", 100.0) == 0.0
    assert pace.reserve("C1", 200.0) == 0.0


def test_a_turn_too_far_away_is_not_taken() -> None:
    pace = Pace()
    while pace.reserve("C1", 100.0) <= MAX_WAIT_S:
        pass
    refused = pace.reserve("C1", 100.0)
    assert refused == pace.reserve("C1", 100.0) > MAX_WAIT_S


async def test_after_too_many_calls_the_channel_is_left_alone(bot: Bot) -> None:
    bot.slack.fail("chat.postMessage", too_many(60))
    await bot.send()
    result = await bot.send(message({"text": "another"}, sender_id="slack:T0SHOP/C0HELP/1700000000.000200"))
    assert isinstance(result, RetryLater)
    assert result.after_s == pytest.approx(60, abs=5)
    assert len(bot.slack.calls_of("chat.postMessage")) == 1
    assert isinstance(await bot.send(message(sender_id="slack:T0SHOP/D0ANNA")), Delivered)


# ---- "is typing…" ----


async def test_a_status_is_shown_in_threads_and_not_asked_for_again_where_the_app_has_none(bot: Bot) -> None:
    options = SlackOptions(signing_secret="s", bot_token=BOT_TOKEN, api_url=bot.api_url)
    api = SlackApi(bot.api_url)
    poster = Poster(options, api, Workspaces(options, api, b"secret"), b"secret")
    await poster.show_status(Place(team="T0SHOP", channel="D0ANNA"))
    assert bot.slack.calls == []
    bot.slack.answers["assistant.threads.setStatus"] = {"ok": True}
    there = Place(team="T0SHOP", channel="C0HELP", thread=THREAD)
    for _ in range(2):
        await poster.show_status(there)
    bot.slack.answers["assistant.threads.setStatus"] = {"ok": False, "error": "missing_scope"}
    for _ in range(3):
        await poster.show_status(there)
    fields = {"channel_id": "C0HELP", "thread_ts": THREAD, "status": "is typing…"}
    assert bot.slack.calls == [("assistant.threads.setStatus", fields)] * 3
