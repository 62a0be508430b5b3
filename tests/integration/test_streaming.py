"""Replies said while they are written: a real server writes slowly, a real socket reads, a real process is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bot.storage.tables import events, outbox
from tests.chat_client import ChatClient, Frame, chat, said
from tests.lab import Lab, Reader, running
from tests.server import stored
from tests.serving import serving
from tests.slow_writer import SlowWriter, writing
from tests.streaming_shop import MARK, QUESTION, QUOTED, TOLD, ShopServer, shop_bot

SENTENCES = ["By hand, please. ", "In cold water. ", "With little soap."]


@asynccontextmanager
async def shop(folder: Path, writer: SlowWriter, **options: Any) -> AsyncIterator[tuple[Lab, ChatClient]]:
    """The platform on a port, and a customer in its web chat."""
    bot = shop_bot(folder, writer.url, **options)
    async with running(folder / "home", bot, Reader(TOLD)) as lab, serving(lab.app) as address, chat(address) as client:
        yield lab, client


async def ask(client: ChatClient, text: str = QUESTION, number: int = 1) -> None:
    await client.send("send", client_msg_id=f"message-{number}", text=text)


async def heard(client: ChatClient, count: int) -> list[Frame]:
    """The next so many messages of the bot."""
    client.within_s = 60.0  # the first question loads what reads it
    frames: list[Frame] = []
    while len(frames) < count:
        frame = await client.expect("message")
        frames += [frame] if frame["author"] == "bot" else []
    return frames


def whole(frames: list[Frame]) -> str:
    """What a client shows that joins the parts."""
    return "".join(frame.get("continues", {}).get("joined_by", "") + said(frame) for frame in frames)


async def tracker_events(lab: Lab, client: ChatClient) -> list[dict[str, Any]]:
    return list((await lab.tracker(client.welcome["conversation"]))["events"])


async def test_each_sentence_is_read_before_the_next_is_written(tmp_path: Path) -> None:
    with writing(SlowWriter(SENTENCES)) as writer:
        async with shop(tmp_path, writer) as (lab, client):
            await ask(client)
            frames = []
            for number in (1, 2):
                writer.let()
                frames += await heard(client, 1)
                assert writer.written == number
            assert (await lab.platform.ports.wait_for_reply(1, 0.0)) is None, "it is not the whole answer yet"
            writer.let()
            frames += await heard(client, 1)
            assert whole(frames) == f"By hand, please. In cold water. With little soap.\n{MARK}"
            assert [frame.get("more") for frame in frames] == [True, True, None]
            first = frames[0]["seq"]
            assert [frame.get("continues") for frame in frames] == [None, *[{"seq": first, "joined_by": " "}] * 2]
            reply = await lab.platform.ports.wait_for_reply(1, 5.0)
            assert reply is not None
            assert [part.body["text"] for part in reply] == [said(frame) for frame in frames]

            log = await tracker_events(lab, client)
            bots = [event for event in log if event["event"] == "bot"]
            assert [event["text"] for event in bots] == [said(frame) for frame in frames]
            kept = [event["metadata"]["knowledge"] for event in bots]
            assert [(each["kind"], each["generation"]["model"]) for each in kept] == [("generated", "slow")] * 3
            assert [(each.get("continues"), each.get("more")) for each in kept] == [
                (None, True),
                (True, True),
                (True, None),
            ]
            assert {each["sources"][0]["source"] for each in kept} == {"en/wool.md#wool"}
            stamps = [event["timestamp"] for event in log]
            assert stamps == sorted(set(stamps))


async def test_without_the_option_and_on_other_channels_the_reply_is_whole(tmp_path: Path) -> None:
    text = f"By hand, please. In cold water. With little soap.\n{MARK}"
    with writing(SlowWriter(SENTENCES, pause_s=0.0)) as writer:
        async with shop(tmp_path / "on", writer) as (lab, _):
            assert await lab.say(QUESTION) == [text], "Rasa's REST channel cannot show parts"
        async with shop(tmp_path / "off", writer, streams=False) as (_, client):
            await ask(client)
            (frame,) = await heard(client, 1)
            assert (said(frame), "more" in frame, "continues" in frame) == (text, False, False)


async def test_a_reply_of_one_sentence_is_one_message(tmp_path: Path) -> None:
    with writing(SlowWriter(["By hand, please."], pause_s=0.0)) as writer:
        async with shop(tmp_path, writer) as (_, client):
            await ask(client)
            (frame,) = await heard(client, 1)
            assert (said(frame), "more" in frame) == (f"By hand, please.\n{MARK}", False)


async def test_a_second_sentence_that_may_not_be_said_is_not_and_the_passage_follows(tmp_path: Path) -> None:
    with writing(SlowWriter(["By hand, please. ", "At 40 degrees. ", "Always."], pause_s=0.0)) as writer:
        async with shop(tmp_path, writer) as (lab, client):
            await ask(client)
            frames = await heard(client, 2)
            assert whole(frames) == f"By hand, please.\n{QUOTED}"
            bots = [event for event in await tracker_events(lab, client) if event["event"] == "bot"]
            kept = bots[1]["metadata"]["knowledge"]
            assert (kept["kind"], kept["generation"]["problem"]) == ("extracted", "number: 40")
            assert "40" not in str(bots[1]["text"])


@pytest.mark.parametrize("why", ["it breaks off", "it is late"])
async def test_a_writer_that_ends_in_the_middle_leaves_the_rest_to_the_passage(tmp_path: Path, why: str) -> None:
    sentences = ["By hand, please. ", "In cold "]
    with writing(SlowWriter(sentences, ends_well=False)) as writer:
        late = why == "it is late"
        async with shop(tmp_path, writer, deadline_s=2.0 if late else 60.0) as (_, client):
            writer.let(1 if late else 2)
            await ask(client)
            assert whole(await heard(client, 2)) == f"By hand, please.\n{QUOTED}"


async def test_what_a_form_asks_again_after_an_answer_waits_for_the_whole_of_it(tmp_path: Path) -> None:
    with writing(SlowWriter(SENTENCES, pause_s=0.1)) as writer:
        async with shop(tmp_path, writer) as (lab, client):
            await ask(client, "my order")
            assert [said(frame) for frame in await heard(client, 1)] == ["Which number?"]
            await ask(client, QUESTION, 2)
            answer, again = await heard(client, 2)
            text = f"By hand, please. In cold water. With little soap.\n{MARK}"
            assert (said(answer), said(again)) == (text, "Which number?")
            assert "more" not in answer
            log = await tracker_events(lab, client)
            kept = next(event for event in log if event["event"] == "bot" and event["text"] == text)
            assert "more" not in kept["metadata"]["knowledge"]
            asked = [event for event in log if event["event"] == "user"][-1]
            assert asked["parse_data"]["knowledge"]["text"] == text
            await ask(client, "A-17", 3)
            assert [said(frame) for frame in await heard(client, 1)] == ["Thank you."]


async def test_what_the_customer_says_meanwhile_waits_and_is_answered_after_the_reply(tmp_path: Path) -> None:
    with writing(SlowWriter(SENTENCES)) as writer:
        async with shop(tmp_path, writer) as (lab, client):
            await ask(client)
            writer.let()
            first = await heard(client, 1)
            await ask(client, "my order", 2)
            meanwhile = await client.expect("message")
            assert (meanwhile["author"], said(meanwhile)) == ("customer", "my order")
            writer.let(2)
            frames = [*first, *await heard(client, 3)]
            assert [said(frame) for frame in frames[1:]] == [
                "In cold water.",
                f"With little soap.\n{MARK}",
                "Which number?",
            ]
            assert frames[1]["continues"]["seq"] == first[0]["seq"]
            users = [event["text"] for event in await tracker_events(lab, client) if event["event"] in ("user", "bot")]
            assert users.index("my order") > users.index("In cold water.")


async def test_typing_is_shown_until_the_last_part(tmp_path: Path) -> None:
    with writing(SlowWriter(SENTENCES)) as writer:
        async with shop(tmp_path, writer) as (_, client):
            await ask(client)
            writer.let()
            await heard(client, 1)
            writer.let(2)
            await heard(client, 2)
            off = await client.expect("typing")
            assert off["on"] is False
            shown = [frame["on"] for frame in client.passed if frame["type"] == "typing"]
            assert shown == [True], "not taken away between two sentences"


async def test_killed_between_two_parts_the_passage_ends_the_reply_and_the_turn_does_not_run_again(
    tmp_path: Path,
) -> None:
    with writing(SlowWriter(SENTENCES)) as writer:
        server = ShopServer(home=tmp_path, writer_url=writer.url)
        await asyncio.to_thread(server.start)
        try:
            address = server.url.removeprefix("http://")
            async with chat(address) as client:
                visitor = client.welcome["visitor"]
                await ask(client)
                writer.let(2)
                frames = await heard(client, 2)
                await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            async with chat(address, visitor=visitor, resume_from=frames[-1]["seq"]) as client:
                frames += await heard(client, 1)
                assert whole(frames) == f"By hand, please. In cold water.\n{QUOTED}"
                await ask(client, "my order", 2)
                assert [said(frame) for frame in await heard(client, 1)] == ["Which number?"]
        finally:
            await asyncio.to_thread(server.kill)
        assert len(writer.asked) == 1, "nobody asked the generator again"
        assert stored(tmp_path / "home", select(outbox.c.part).where(outbox.c.inbound_id == 1)) == [0, 1, 2]
        log = stored(tmp_path / "home", select(events.c.body).order_by(events.c.seq))
        assert [event["event"] for event in log].count("user") == 2
        ended = [event for event in log if event["event"] == "bot"][2]["metadata"]["knowledge"]
        assert (ended["kind"], ended["continues"]) == ("extracted", True)
