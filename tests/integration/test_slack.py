"""Slack with the real platform: signed requests in, posts in a small Slack of the tests' own out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from bot.worker import WorkerLimits
from tests import slack_people as workspace
from tests.lab import Lab, labbot, running
from tests.slack_people import Slacker
from tests.slack_server import ANNA, APP_TOKEN, BERT, CHANNEL, Failure, FakeSlack, credentials, slack, too_many

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True, kw_only=True)
class Shop:
    """labbot in Slack."""

    lab: Lab
    slack: FakeSlack
    people: Slacker


@asynccontextmanager
async def shop(home: Path, *, limits: WorkerLimits | None = None, **options: Any) -> AsyncIterator[Shop]:
    async with slack() as (fake, api_url):
        bot = labbot(credentials={"slack": credentials(api_url, **options)})
        async with running(home, bot, limits=limits) as lab:
            yield Shop(lab=lab, slack=fake, people=Slacker(lab.http))


async def said_in_all(shop: Shop, **place: Any) -> list[str]:
    """Everything that was said in a conversation, after one more message there was answered."""
    farewell = workspace.in_channel("/goodbye", **place) if place else workspace.direct("/goodbye")
    await shop.people.event(workspace.event(farewell))
    channel, thread = farewell["channel"], place.get("thread_ts")

    def said() -> list[str]:
        return [post.text for post in shop.slack.posts if (post.channel, post.thread_ts) == (channel, thread)]

    await shop.slack.until(lambda: "bye" in said())
    return said()


# ---- conversations ----


async def test_a_direct_message_is_answered_in_its_channel(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        answer = await it.people.event(workspace.event(workspace.direct("/ask_hours")))
        assert (answer.status_code, answer.text) == (200, "")
        [said] = await it.slack.said(1)
        assert (said.channel, said.thread_ts, said.text) == ("D0ANNA", None, "we are open 9-5")
        state = await it.lab.tracker("slack:T0SHOP/D0ANNA")
        assert state["latest_input_channel"] == "slack"


async def test_a_mention_is_answered_in_its_thread_and_the_thread_goes_on_without_one(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        asked = workspace.mention("/ask_hours")
        await it.people.event(workspace.event(asked))
        [first] = await it.slack.said(1)
        assert (first.channel, first.thread_ts, first.text) == (CHANNEL, asked["ts"], "we are open 9-5")
        # A colleague joins in, without a mention.
        await it.people.event(workspace.event(workspace.in_channel("/goodbye", BERT, thread_ts=asked["ts"])))
        first, second = await it.slack.said(2)
        assert (second.thread_ts, second.text) == (asked["ts"], "bye")
        events = (await it.lab.tracker(f"slack:T0SHOP/C0HELP/{asked['ts']}"))["events"]
        assert [event["metadata"]["user"] for event in events if event["event"] == "user"] == [ANNA, BERT]


async def test_three_deliveries_of_one_event_are_one_message(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        payload = workspace.event(workspace.direct("/ask_hours"))
        answers = [await it.people.event(payload, retry=number) for number in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert await said_in_all(it) == ["we are open 9-5", "bye"]


async def test_a_mention_and_its_message_are_one_message(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        asked = workspace.mention("/ask_hours")
        same = {**asked, "type": "message", "channel_type": "channel", "client_msg_id": "a-b-c"}
        await asyncio.gather(it.people.event(workspace.event(asked)), it.people.event(workspace.event(same)))
        assert await said_in_all(it, thread_ts=asked["ts"]) == ["we are open 9-5", "bye"]


async def test_answers_come_in_the_order_of_the_messages(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        for text in ("/ask_hours", "/goodbye", "/ask_hours"):
            await it.people.event(workspace.event(workspace.direct(text)))
        assert [said.text for said in await it.slack.said(3)] == ["we are open 9-5", "bye", "we are open 9-5"]


# ---- posted once, whatever happens ----


async def test_a_post_whose_answer_was_lost_is_not_posted_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.fail("chat.postMessage", Failure(after_doing=True))
        asked = workspace.mention("/ask_hours")
        await it.people.event(workspace.event(asked))
        await it.slack.called("conversations.replies")
        await it.people.event(workspace.event(workspace.in_channel("/goodbye", thread_ts=asked["ts"])))
        assert [said.text for said in await it.slack.said(2)] == ["we are open 9-5", "bye"]


async def test_a_post_that_slack_did_not_take_is_posted_after_all(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.fail("chat.postMessage", Failure(), JSONResponse({"ok": False, "error": "internal_error"}))
        await it.people.event(workspace.event(workspace.direct("/ask_hours")))
        assert await said_in_all(it) == ["we are open 9-5", "bye"]


async def test_a_sender_that_died_after_posting_is_not_doubled(tmp_path: Path) -> None:
    async with shop(tmp_path, limits=WorkerLimits(lease_s=2.0, poll_s=0.1)) as it:
        asked = workspace.mention("/ask_hours")
        # The post is in Slack, and its sender ends before it hears so: its claim is never settled, as after a SIGKILL.
        it.slack.fail("chat.postMessage", Failure(after_doing=True, is_silent=True))
        await it.people.event(workspace.event(asked))
        await it.slack.said(1)
        [sender] = [task for task in asyncio.all_tasks() if "Worker._deliver(" in repr(task)]
        sender.cancel()
        await it.people.event(workspace.event(workspace.in_channel("/goodbye", thread_ts=asked["ts"])))
        assert [said.text for said in await it.slack.said(2)] == ["we are open 9-5", "bye"]
        assert len(it.slack.calls_of("conversations.replies")) == 1


async def test_too_many_calls_are_waited_out_as_long_as_slack_says(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        it.slack.fail("chat.postMessage", too_many(3))
        begun = asyncio.get_running_loop().time()
        await it.people.event(workspace.event(workspace.direct("/ask_hours")))
        [said] = await it.slack.said(1)
        assert said.text == "we are open 9-5"
        assert asyncio.get_running_loop().time() - begun >= 3
        assert len(it.slack.calls_of("chat.postMessage")) == 2


# ---- buttons, commands, Socket Mode ----


async def test_a_button_that_the_bot_showed_says_its_payload(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        asked = workspace.mention("/show_rich")
        await it.people.event(workspace.event(asked))
        [shown] = await it.slack.said(1)
        elements = [element for block in shown.blocks for element in block.get("elements", [])]
        assert elements
        for _ in range(2):
            pressed = workspace.press(shown, {**elements[0], "action_ts": "1700000000.000001"})
            assert (await it.people.press(pressed)).status_code == 200
        await it.people.event(workspace.event(workspace.in_channel("/ask_hours", thread_ts=asked["ts"])))
        await it.slack.until(lambda: it.slack.posts[-1].text == "we are open 9-5")
        events = (await it.lab.tracker(f"slack:T0SHOP/C0HELP/{asked['ts']}"))["events"]
        said = [event["text"] for event in events if event["event"] == "user"]
        assert said == ["/show_rich", elements[0]["value"], "/ask_hours"]


async def test_a_command_begins_again_in_the_direct_message(tmp_path: Path) -> None:
    async with shop(tmp_path) as it:
        await it.people.event(workspace.event(workspace.direct("/ask_hours")))
        await it.slack.said(1)
        answer = await it.people.form(workspace.command("reset"))
        assert answer.json()["response_type"] == "ephemeral"
        await said_in_all(it)
        events = (await it.lab.tracker("slack:T0SHOP/D0ANNA"))["events"]
        assert "restart" in [event["event"] for event in events]


async def test_a_conversation_over_socket_mode(tmp_path: Path) -> None:
    async with shop(tmp_path, slack_app_token=APP_TOKEN) as it:
        await it.slack.connected()
        asked = workspace.mention("/ask_hours")
        for _ in range(2):
            await it.slack.acked(await it.slack.deliver("events_api", workspace.event(asked)))
        # And once more over HTTP: both lead into the same inbox.
        await it.people.event(workspace.event(asked))
        assert await said_in_all(it, thread_ts=asked["ts"]) == ["we are open 9-5", "bye"]
