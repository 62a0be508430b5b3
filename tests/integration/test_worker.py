"""The worker over a real database and the real dialogue core, with a scripted reader: what only it decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.routing import BaseRoute

from bot.app import Platform, load_bot
from bot.dialogue.effects import AskNlg, EffectResult, NlgFailed
from bot.errors import ConfigurationError
from bot.settings import load_settings
from bot.storage import conversations, inbox
from bot.storage.database import Database
from bot.storage.tables import outbox
from bot.turn_records import SNAPSHOT_EVERY
from bot.turns import Bot
from bot.worker import Worker, WorkerLimits
from connectors.base import (
    ChannelLimits,
    Connector,
    Delivered,
    InboundMessage,
    OutboundMessage,
    Ports,
    RetryLater,
    SendResult,
)
from models.base import IntentScore, ModelUnavailable, Understander, Understanding
from tests.lab import labbot
from tests.server import STARTER

pytestmark = pytest.mark.both_databases
SENDERS = 6


class Scripted:
    """Reads a text as the intent of the same name; `fail` is raised for the next readings."""

    version = "scripted"

    def __init__(self, *fail: Exception) -> None:
        self.fail = list(fail)
        self.seen: list[str] = []

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        self.seen.extend(texts)
        if self.fail:
            raise self.fail.pop(0)
        return [reading(text) for text in texts]


class Slow(Scripted):
    """Takes three leases' time to read."""

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        answer = await super().understand(texts)
        await asyncio.sleep(1.8)
        return answer


def reading(text: str) -> Understanding:
    return Understanding(
        text=text, ranking=(IntentScore(name=text, confidence=0.99), IntentScore(name="deny", confidence=0.01)),
        out_of_scope_score=0.0, is_out_of_scope=False, sentiment="neutral", sentiment_confidence=0.9,
        language="en", model_version="scripted",
    )  # fmt: skip


class Pushed:
    """A push channel that keeps what it was given; the first `refusals` sends are put off."""

    name = "pushed"
    limits = ChannelLimits()

    def __init__(self, refusals: int = 0, *, can_repeat: bool = False, hold_s: float = 0.0) -> None:
        self.refusals, self.sent = refusals, asyncio.Queue[str]()
        self.can_repeat, self.hold_s = can_repeat, hold_s
        self.repeats: list[bool] = []

    def routes(self, ports: Ports) -> list[BaseRoute]:
        return []

    async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
        self.repeats.append(is_repeat)
        if self.refusals:
            self.refusals -= 1
            return RetryLater(reason="not now", after_s=0.05)
        await self.sent.put(str(message.body["text"]))
        return Delivered()


@pytest.fixture(scope="module")
def starter() -> Bot:
    return load_bot(STARTER, load_settings())


@asynccontextmanager
async def running(
    bot: Bot,
    home: Path,
    understander: Understander,
    *,
    connectors: Sequence[Connector] = (),
    limits: WorkerLimits = WorkerLimits(poll_s=0.05, backoff_s=0.01, max_attempts=2),  # noqa: B008  frozen
) -> AsyncIterator[Platform]:
    platform = Platform.build(load_settings(home=home), bot, understander=understander)
    platform.worker = Worker(
        db=platform.db, hub=platform.hub, bot=bot, understander=understander, worker_id="test",
        connectors=connectors, limits=limits,
    )  # fmt: skip
    await platform.start()
    try:
        yield platform
    finally:
        await platform.stop()


def message(text: str, number: int = 1, **changes: object) -> InboundMessage:
    plain = InboundMessage(
        channel="rest", account="", external_id=f"m{number}", customer="c", sender_id="c", text=text,
        received_at=datetime.now(UTC), input_channel="rest",
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


async def _outbox_states(home: Path) -> list[str]:
    database = Database.open(load_settings(home=home).database)
    found = await database.read(lambda c: list(c.execute(select(outbox.c.state).order_by(outbox.c.seq)).scalars()))
    await database.close()
    return found


async def ask(platform: Platform, sent: InboundMessage) -> list[str]:
    [receipt] = await platform.ports.receive([sent])
    replies = await platform.ports.wait_for_reply(receipt.inbound_id, 20.0)
    assert replies is not None
    return [str(reply.body.get("text")) for reply in replies]


async def test_a_model_that_is_away_delays_the_answer_but_never_loses_it(starter: Bot, tmp_path: Path) -> None:
    away = Scripted(*[ModelUnavailable("loading")] * 5)
    async with running(starter, tmp_path, away) as platform:
        said = await ask(platform, message("thank"))
    assert len(away.seen) == 6
    assert any("welcome" in text for text in said)


async def test_a_turn_that_always_fails_ends_in_an_apology_and_the_next_one_is_answered(
    starter: Bot, tmp_path: Path
) -> None:
    broken = Scripted(RuntimeError("boom"), RuntimeError("boom"))
    async with running(starter, tmp_path, broken) as platform:
        said = await ask(platform, message("thank", 1))
        after = await ask(platform, message("thank", 2))
        assert said[0] == starter.assistant.brand.disclosure_text["en"]
        assert "boom" not in " ".join(said)
        assert any("Sorry" in text for text in said)
        assert any("welcome" in text for text in after)


async def test_a_message_that_ends_the_process_each_time_is_let_go_of(starter: Bot, tmp_path: Path) -> None:
    reader = Scripted()
    limits = WorkerLimits(poll_s=0.05, backoff_s=0.01, max_attempts=2, give_up_after=3)
    async with running(starter, tmp_path, reader, limits=limits) as platform:
        assert await ask(platform, message("greet", 1))
        platform.worker.stop()  # from here on nobody claims but this test
        [receipt] = await platform.ports.receive([message("thank", 2)])
        now = datetime.now(UTC)
        for _ in range(3):  # three workers that died with it, without a word
            assert await platform.db.write(lambda c: inbox.claim(c, "kefu-starter", "dead", now, 60, 1))
            await platform.db.write(lambda c: inbox.release(c, "kefu-starter", "dead", now))
        worker = Worker(
            db=platform.db, hub=platform.hub, bot=starter, understander=reader, worker_id="next", limits=limits
        )
        working = asyncio.create_task(worker.run())
        replies = await platform.ports.wait_for_reply(receipt.inbound_id, 20)
        worker.stop()
        await working
    assert replies is not None
    assert ["Sorry" in str(reply.body["text"]) for reply in replies] == [True]
    assert reader.seen == ["greet"]


async def test_the_bot_says_once_per_session_that_it_is_a_machine(starter: Bot, tmp_path: Path) -> None:
    disclosure = starter.assistant.brand.disclosure_text["en"]
    async with running(starter, tmp_path, Scripted()) as platform:
        first = await ask(platform, message("greet", 1))
        second = await ask(platform, message("thank", 2))
    assert first[0] == disclosure
    assert disclosure not in second


async def test_the_page_s_language_counts_until_the_customer_writes(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        button = await ask(platform, message("/thank", 1, language_hint="zh"))
        typed = await ask(platform, message("thank", 2, language_hint="zh"))
        later = await ask(platform, message("/thank", 3, language_hint="zh"))
    assert any("\u4e00" <= char <= "\u9fff" for char in "".join(button))
    assert not any("\u4e00" <= char <= "\u9fff" for char in "".join(typed + later))


async def test_an_operator_s_conversation_is_logged_and_not_answered(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        await ask(platform, message("greet", 1))
        taken = lambda c: conversations.set_status(c, "kefu-starter", "c", "with_operator", datetime.now(UTC))  # noqa: E731
        await platform.db.write(taken)
        assert await ask(platform, message("thank", 2)) == []
        log = await platform.db.read(lambda c: conversations.events(c, "kefu-starter", "c"))
    assert [event["text"] for event in log if event["event"] == "user"] == ["greet", "thank"]


async def test_many_turns_go_on_from_snapshots(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        for number in range(40):
            assert await ask(platform, message("thank", number))
        log = await platform.db.read(lambda c: conversations.events(c, "kefu-starter", "c"))
    assert len(log) > 2 * SNAPSHOT_EVERY / 2
    assert sum(event["event"] == "session_started" for event in log) == 1


async def test_a_push_channel_gets_the_answers_in_order_through_refusals(starter: Bot, tmp_path: Path) -> None:
    channel = Pushed(refusals=2)
    async with running(starter, tmp_path, Scripted(), connectors=[channel]) as platform:
        sent = [message(text, n, channel="pushed", sender_id="pushed:c") for n, text in enumerate(["greet", "thank"])]
        await platform.ports.receive(sent)
        got = [await asyncio.wait_for(channel.sent.get(), 10) for _ in range(3)]
    assert got[0] == starter.assistant.brand.disclosure_text["en"]
    assert "welcome" in got[2].lower()
    assert channel.repeats[:4] == [False, True, True, False]


async def test_a_slow_conversation_holds_up_no_other(starter: Bot, tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Slowly(Pushed):
        async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
            if message.sender_id == "pushed:slow":
                await gate.wait()
            return await super().send(message, is_repeat=is_repeat)

    channel = Slowly()
    async with running(starter, tmp_path, Scripted(), connectors=[channel]) as platform:
        slow = message("thank", 1, channel="pushed", sender_id="pushed:slow")
        await ask(platform, slow)
        for number in (2, 3):
            await ask(platform, replace(slow, external_id=str(number), customer="b", sender_id="pushed:b"))
        said = [await asyncio.wait_for(channel.sent.get(), 10) for _ in range(3)]
        gate.set()
    assert sum("welcome" in text.lower() for text in said) == 2


async def test_turns_that_a_batch_of_the_model_frees_let_the_loop_go_on_between_them(tmp_path: Path) -> None:
    """What else the loop has to do, acknowledging messages first of all, waits for one turn and not for all of them."""
    happened: list[str] = []

    class Batch(Scripted):
        """Frees all readings at once."""

        full = asyncio.Event()

        async def understand(self, texts: Sequence[str]) -> list[Understanding]:
            read = await super().understand(texts)
            if len(self.seen) == SENDERS:
                self.full.set()
            await self.full.wait()
            return read

    class Words:
        """An nlg server that is asked once a turn, and leaves the words to the domain."""

        async def ask(self, effect: AskNlg, deadline_s: float) -> EffectResult:
            happened.append("turn")
            return NlgFailed(why="no words")

        async def close(self) -> None: ...

    async def go_on() -> None:
        while True:
            happened.append("loop")
            await asyncio.sleep(0)

    async with running(labbot().worded_by(Words()), tmp_path, Batch()) as platform:
        asking = [message("ask_hours", n, customer=f"{n}", sender_id=f"s{n}") for n in range(SENDERS)]
        loop = asyncio.create_task(go_on())
        answers = await asyncio.gather(*(ask(platform, one) for one in asking))
        loop.cancel()
    assert answers == [["we are open 9-5"]] * SENDERS
    assert happened.count("turn") == SENDERS
    assert ("turn", "turn") not in pairwise(happened)


@pytest.mark.parametrize(("can_repeat", "state"), [(False, "unknown"), (True, "pending")])
async def test_a_send_with_an_unknown_end_is_repeated_only_where_the_channel_can_tell(
    starter: Bot, tmp_path: Path, can_repeat: bool, state: str
) -> None:
    class Broken(Pushed):
        async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
            await super().send(message, is_repeat=is_repeat)
            raise ConnectionResetError

    channel = Broken(can_repeat=can_repeat)
    async with running(starter, tmp_path, Scripted(), connectors=[channel]) as platform:
        await ask(platform, message("thank", 1, channel="pushed", sender_id="pushed:c"))
        await asyncio.wait_for(channel.sent.get(), 10)
    rows = await _outbox_states(tmp_path)
    assert rows[0] == state


async def test_one_dead_platform_leaves_the_others_their_places(starter: Bot, tmp_path: Path) -> None:
    gate = asyncio.Event()

    class Dead(Pushed):
        name = "dead"

        async def send(self, message: OutboundMessage, *, is_repeat: bool) -> SendResult:
            await gate.wait()
            return Delivered()

    alive = Pushed()
    limits = WorkerLimits(poll_s=0.05, sends=4)
    async with running(starter, tmp_path, Scripted(), connectors=[Dead(), alive], limits=limits) as platform:
        for number in range(6):
            await ask(platform, message("thank", number, channel="dead", sender_id=f"d{number}", customer=f"{number}"))
        await ask(platform, message("thank", 9, channel="pushed", sender_id="pushed:c"))
        assert await asyncio.wait_for(alive.sent.get(), 10)
        gate.set()


async def test_an_answer_for_a_channel_that_this_worker_lacks_waits_for_one_that_has_it(
    starter: Bot, tmp_path: Path
) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        await ask(platform, message("thank", 1, channel="telegram", sender_id="telegram:1"))
    assert set(await _outbox_states(tmp_path)) == {"pending"}


async def test_answers_are_kept_back_for_a_channel_that_collects_them(starter: Bot, tmp_path: Path) -> None:
    channel = Pushed(hold_s=60)
    async with running(starter, tmp_path, Scripted(), connectors=[channel]) as platform:
        await ask(platform, message("thank", 1, channel="pushed", sender_id="pushed:c"))
        await asyncio.sleep(0.3)
        assert channel.sent.empty()
        collected = await platform.ports.collect("pushed:c", "request 1")
    assert "welcome" in str(collected[-1].body).lower()


async def test_a_turn_longer_than_its_lease_is_answered_once(starter: Bot, tmp_path: Path) -> None:
    slow = Slow()
    limits = WorkerLimits(poll_s=0.05, lease_s=0.6)
    async with running(starter, tmp_path, slow, limits=limits) as platform:
        assert await ask(platform, message("thank"))
        log = await platform.ports.transcript("c", 0)
    assert slow.seen == ["thank"]
    assert sum(entry.author == "customer" for entry in log) == 1


@pytest.mark.sqlite("one process owns its file")
async def test_two_servers_never_share_one_home(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()):
        second = Platform.build(load_settings(home=tmp_path), starter, understander=Scripted())
        with pytest.raises(ConfigurationError, match="another"):
            second.prepare()
        await second.db.close()


@pytest.mark.parametrize("texts", [["greet", "thank", "goodbye"]])
async def test_a_burst_in_one_conversation_is_answered_in_order(starter: Bot, tmp_path: Path, texts: list[str]) -> None:
    understander = Scripted()
    async with running(starter, tmp_path, understander) as platform:
        batch = [message(text, number) for number, text in enumerate(texts)]
        receipts = await platform.ports.receive(batch)
        for receipt in receipts:
            assert await platform.ports.wait_for_reply(receipt.inbound_id, 20)
    assert understander.seen == texts


# ---- commands of the company's own systems, reminders ----


async def command(platform: Platform, number: int, **what: object) -> list[str]:
    return await ask(platform, message("", number, command=what))


async def log_of(platform: Platform) -> list[dict[str, Any]]:
    return await platform.db.read(lambda c: conversations.events(c, "kefu-starter", "c"))


async def test_an_intent_can_be_triggered_from_outside(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        await ask(platform, message("greet", 1))
        said = await command(platform, 2, trigger={"name": "thank", "entities": {"product": "lamp"}})
        [user] = [e for e in await log_of(platform) if e["event"] == "user" and e["text"] != "greet"]
    assert any("welcome" in text for text in said)
    assert (user["text"], user["metadata"], user["input_channel"]) == ("EXTERNAL: thank", {"is_external": True}, "rest")
    assert user["parse_data"]["entities"] == [{"entity": "product", "value": "lamp"}]


async def test_a_message_can_be_logged_without_an_answer(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        assert await command(platform, 1, log={"text": "thank"}) == []
        log = await log_of(platform)
    [heard] = [e for e in log if e["event"] in ("user", "bot")]
    assert heard["parse_data"]["intent"]["name"] == "thank"


async def test_an_action_can_be_run_alone(starter: Bot, tmp_path: Path) -> None:
    name = "utter_welcome"
    async with running(starter, tmp_path, Scripted()) as platform:
        said = await command(platform, 1, execute={"name": name, "policy": "me", "confidence": 0.5})
        unknown = await command(platform, 2, execute={"name": "action_nobody_wrote"})
        actions = [e for e in await log_of(platform) if e["event"] == "action"]
    assert "welcome" in said[-1]
    assert unknown == []
    assert [(e["name"], e["policy"], e["confidence"]) for e in actions if e["name"] == name] == [(name, "me", 0.5)]


async def test_events_can_be_appended_and_the_whole_log_replaced(starter: Bot, tmp_path: Path) -> None:
    slot = {"event": "slot", "name": "order_number", "value": "A-1001"}
    async with running(starter, tmp_path, Scripted()) as platform:
        await ask(platform, message("greet", 1))
        await command(platform, 2, append=[slot, {"event": "bot", "text": "from outside"}])
        appended = await log_of(platform)
        await command(platform, 3, replace=[{"event": "user", "text": "only this"}])
        replaced = await log_of(platform)
        assert await ask(platform, message("thank", 4))
    assert [e["event"] for e in appended[-2:]] == ["slot", "bot"]
    assert [e.get("text") for e in replaced if e["event"] in ("user", "bot")] == ["only this"]


async def test_an_impossible_command_dies_without_a_word_to_the_customer(starter: Bot, tmp_path: Path) -> None:
    async with running(starter, tmp_path, Scripted()) as platform:
        assert await command(platform, 1, dance={}) == []
        assert await ask(platform, message("thank", 2))


async def test_a_reminder_fires_after_the_server_was_started_again(starter: Bot, tmp_path: Path) -> None:
    due = (datetime.now(UTC) + timedelta(seconds=0.4)).isoformat()
    plan = {"event": "reminder", "intent": "thank", "date_time": due, "name": "r", "kill_on_user_msg": True}
    async with running(starter, tmp_path, Scripted()) as platform:
        await ask(platform, message("greet", 1))
        await command(platform, 2, append=[plan])
    await asyncio.sleep(0.5)
    async with running(starter, tmp_path, Scripted()) as platform:
        async with asyncio.timeout(20):
            while not [e for e in await log_of(platform) if e.get("text") == "EXTERNAL: thank"]:
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        log = await log_of(platform)
    fired = [at for at, event in enumerate(log) if event.get("text") == "EXTERNAL: thank"]
    assert len(fired) == 1
    assert any("welcome" in str(event.get("text")) for event in log[fired[0] :])
