"""What every connector may rely on: one suite over the ports in memory, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pytest

from bot.storage import inbox
from bot.storage.database import Database
from bot.storage.hub import Hub
from bot.storage.inbox import TurnRecord
from bot.storage.ports import Limits, SqlPorts
from bot.storage.tables import outbox
from connectors.base import BadRequest, InboundMessage, Ports, StateChange, TooBusy
from connectors.memory import MemoryPorts
from tests.contract.conftest import BOTH, migrated_url

MAX_WAITING = 5
CHANNELS = ("rest", "sms")


class Platform(Protocol):
    """The other side of the ports, as the suite needs it."""

    ports: Ports

    async def answer_oldest(self, *texts: str, pushed: bool = False) -> None: ...
    def typing(self, sender_id: str) -> None: ...
    async def delivered(self) -> list[int]: ...
    async def doubted(self) -> list[str]: ...


class InMemory:
    def __init__(self) -> None:
        self.memory = MemoryPorts(max_waiting=MAX_WAITING, channels=CHANNELS)
        self.ports: Ports = self.memory

    async def answer_oldest(self, *texts: str, pushed: bool = False) -> None:
        self.memory.reply(min(self.memory.waiting), [{"text": text} for text in texts])

    def typing(self, sender_id: str) -> None:
        self.memory.typing(sender_id)

    async def delivered(self) -> list[int]:
        entries = await self.memory.transcript("ann", 0)
        return [entry.seq for entry in entries if entry.author == "bot" and self.memory.is_confirmed("ann", entry.seq)]

    async def doubted(self) -> list[str]:
        return list(self.memory.doubts.values())


class InSql:
    def __init__(self, database: Database) -> None:
        self.database, self.hub = database, Hub()
        limits = Limits(max_waiting=MAX_WAITING, channels=CHANNELS)
        self.ports: Ports = SqlPorts(database, self.hub, "shop", limits)

    async def answer_oldest(self, *texts: str, pushed: bool = False) -> None:
        now = datetime.now(UTC)
        (claim,) = await self.database.write(lambda conn: inbox.claim(conn, "shop", "w1", now, 30, 1))
        record = TurnRecord(
            events=[],
            expected_event_seq=claim.event_seq,
            bodies=[{"text": text} for text in texts],
            delivery="push" if pushed else "pull",
        )
        said = await self.database.write(lambda conn: inbox.finish(conn, claim, record, now))
        self.hub.turn_finished(claim.inbound_id, claim.sender_id, said)

    def typing(self, sender_id: str) -> None:
        self.hub.typing(sender_id)

    async def delivered(self) -> list[int]:
        confirmed = outbox.select().where(outbox.c.state == "delivered").order_by(outbox.c.seq)
        return await self.database.read(lambda conn: [row.seq for row in conn.execute(confirmed)])

    async def doubted(self) -> list[str]:
        unknown = outbox.select().where(outbox.c.state == "unknown").order_by(outbox.c.seq)
        return await self.database.read(lambda conn: [row.error for row in conn.execute(unknown)])


@pytest.fixture(params=["memory", *BOTH])
async def platform(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Platform]:
    if request.param == "memory":
        yield InMemory()
        return
    database = Database.open(migrated_url(request, request.param, tmp_path))
    yield InSql(database)
    await database.close()


def message(text: str, /, **changes: Any) -> InboundMessage:
    values: dict[str, Any] = {
        "channel": "rest",
        "account": "",
        "external_id": f"id of {text}",
        "customer": "ann",
        "sender_id": "ann",
        "text": text,
        "received_at": datetime.now(UTC),
        "input_channel": "rest",
    }
    return InboundMessage(**values | changes)


async def send(ports: Ports, *texts: str, **changes: Any) -> list[int]:
    """Send one after the other; their inbound ids."""
    return [(await ports.receive([message(text, **changes)]))[0].inbound_id for text in texts]


# ---- receive ----


async def test_messages_are_numbered_in_order_per_conversation(platform: Platform) -> None:
    first, second = await platform.ports.receive([message("a"), message("b")])
    (other,) = await platform.ports.receive([message("c", sender_id="bob", customer="bob")])
    assert (first.seq, second.seq, other.seq) == (1, 2, 1)
    assert first.conversation_id == second.conversation_id != other.conversation_id
    assert [receipt.is_duplicate for receipt in (first, second, other)] == [False] * 3


async def test_a_repeat_gets_the_first_receipt_and_leaves_no_trace(platform: Platform) -> None:
    (first,) = await platform.ports.receive([message("a")])
    (again,) = await platform.ports.receive([message("a", text="a, sent again")])
    assert again.is_duplicate
    assert (again.inbound_id, again.seq, again.conversation_id) == (first.inbound_id, first.seq, first.conversation_id)
    assert [entry.body["text"] for entry in await platform.ports.transcript("ann", 0)] == ["a"]


async def test_a_repeat_in_one_batch_is_one_message(platform: Platform) -> None:
    first, again, other = await platform.ports.receive([message("a"), message("a"), message("b")])
    assert (again.is_duplicate, again.inbound_id, other.seq) == (True, first.inbound_id, 2)


async def test_racing_repeats_of_a_new_customers_first_message_are_one_message(platform: Platform) -> None:
    receipts = [
        r for (r,) in await asyncio.gather(*(platform.ports.receive([message("a")]) for _ in range(MAX_WAITING)))
    ]
    assert len({receipt.inbound_id for receipt in receipts}) == 1
    assert [receipt.is_duplicate for receipt in receipts].count(False) == 1
    assert await platform.ports.last_seq("ann") == 1


async def test_the_same_external_id_of_another_channel_is_another_message(platform: Platform) -> None:
    await platform.ports.receive([message("a")])
    (other,) = await platform.ports.receive([message("a", channel="web", sender_id="web:1", customer="1")])
    assert not other.is_duplicate


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sender_id": "web:guess"}, "web:"),
        ({"sender_id": "slack:T/C"}, "slack:"),
        ({"sender_id": "wechat:o1"}, "wechat:"),
        ({"sender_id": ""}, "sender_id"),
        ({"sender_id": "s" * 256}, "sender_id"),
        ({"external_id": ""}, "external_id"),
        ({"customer": "a\0b"}, "customer"),
        ({"sender_id": "\ud83d"}, "sender_id"),
    ],
)
async def test_ids_that_cannot_be_are_refused_by_name(platform: Platform, changes: dict[str, str], named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        await platform.ports.receive([message("a", **changes)])


async def test_metadata_nested_beyond_reading_is_refused_and_stalls_nobody(platform: Platform) -> None:
    deep: list[Any] = []
    for _ in range(400):
        deep = [deep]
    with pytest.raises(BadRequest, match="metadata"):
        await platform.ports.receive([message("a", metadata={"deep": deep})])
    (sent,) = await send(platform.ports, "b", metadata={"page": {"path": ["/cart"]}})
    await platform.answer_oldest("to b")
    assert await platform.ports.wait_for_reply(sent, 0)


async def test_nobody_enters_another_customers_conversation(platform: Platform) -> None:
    await platform.ports.receive([message("a")])
    for stranger in ({"customer": "eve"}, {"account": "other shop"}, {"channel": "telegram"}):
        with pytest.raises(BadRequest, match="sender_id 'ann' belongs"):
            await platform.ports.receive([message("b", **stranger)])
    assert await platform.ports.last_seq("ann") == 1


async def test_nobody_is_given_the_receipt_of_anothers_message(platform: Platform) -> None:
    await platform.ports.receive([message("a")])
    with pytest.raises(BadRequest, match="id of a"):
        await platform.ports.receive([message("a", sender_id="eve", customer="eve")])
    assert await platform.ports.last_seq("eve") == 0


async def test_a_batch_is_stored_whole_or_not_at_all(platform: Platform) -> None:
    await platform.ports.receive([message("a")], [StateChange(key="cursor", value="1")])
    with pytest.raises(BadRequest):
        await platform.ports.receive(
            [message("b"), message("c", customer="eve")], [StateChange(key="cursor", value="2")]
        )
    assert await platform.ports.last_seq("ann") == 1
    assert await platform.ports.state.get("cursor") == "1"


async def test_text_that_no_database_holds_is_kept_as_far_as_it_is_text(platform: Platform) -> None:
    await platform.ports.receive(
        [message("a", text="or\0der \ud83d 你好 😀", metadata={"n\0": "x\0\udc00", "b": "\\u0000"})]
    )
    (entry,) = await platform.ports.transcript("ann", 0)
    assert entry.body == {"text": "order ? 你好 😀"}


async def test_too_much_waiting_is_refused_until_some_is_answered(platform: Platform) -> None:
    await send(platform.ports, *"abcde")
    with pytest.raises(TooBusy) as refused:
        await platform.ports.receive([message("f")])
    assert refused.value.retry_after_s
    await platform.answer_oldest("ok")
    (receipt,) = await platform.ports.receive([message("f")])
    assert receipt.seq == MAX_WAITING + 2


# ---- wait_for_reply ----


async def test_the_reply_is_there_for_who_waits_before_and_for_who_asks_after(platform: Platform) -> None:
    (sent,) = await send(platform.ports, "a")
    waiters = [asyncio.create_task(platform.ports.wait_for_reply(sent, 20)) for _ in range(2)]
    await asyncio.sleep(0)
    await platform.answer_oldest("one", "two")
    for reply in [*await asyncio.gather(*waiters), await platform.ports.wait_for_reply(sent, 0)]:
        assert reply is not None
        assert [(said.body["text"], said.seq, said.author, said.in_reply_to) for said in reply] == [
            ("one", 2, "bot", sent),
            ("two", 3, "bot", sent),
        ]


async def test_silence_is_a_reply_and_no_reply_yet_is_none(platform: Platform) -> None:
    (sent,) = await send(platform.ports, "a")
    assert await platform.ports.wait_for_reply(sent, 0.01) is None
    await platform.answer_oldest()
    assert await platform.ports.wait_for_reply(sent, 0.01) == []
    assert await platform.ports.wait_for_reply(10**9, 0.01) is None


async def test_a_repeat_waits_for_the_same_reply(platform: Platform) -> None:
    await send(platform.ports, "a")
    (again,) = await platform.ports.receive([message("a")])
    waiter = asyncio.create_task(platform.ports.wait_for_reply(again.inbound_id, 20))
    await platform.answer_oldest("once")
    reply = await waiter
    assert reply is not None
    assert [said.body["text"] for said in reply] == ["once"]


# ---- transcript, confirm, subscribe ----


async def test_the_transcript_is_everything_said_in_order_without_gaps(platform: Platform) -> None:
    await send(platform.ports, "a", "b", metadata={"identity": {"email": "x@y.z"}, "page": "/cart"})
    await platform.answer_oldest("to a", "more to a")
    await send(platform.ports, "c")
    await platform.answer_oldest("to b")
    entries = await platform.ports.transcript("ann", 0)
    assert [(entry.seq, entry.author, entry.body["text"]) for entry in entries] == [
        (1, "customer", "a"),
        (2, "customer", "b"),
        (3, "bot", "to a"),
        (4, "bot", "more to a"),
        (5, "customer", "c"),
        (6, "bot", "to b"),
    ]
    assert [entry.client_id for entry in entries] == ["id of a", "id of b", None, None, "id of c", None]
    assert entries[0].metadata == {"page": "/cart"}
    assert await platform.ports.last_seq("ann") == 6
    assert [entry.seq for entry in await platform.ports.transcript("ann", 2, limit=3)] == [3, 4, 5]
    assert await platform.ports.transcript("ann", 6) == []


async def test_a_conversation_that_does_not_exist_is_empty(platform: Platform) -> None:
    assert await platform.ports.transcript("nobody", 0) == []
    assert await platform.ports.last_seq("nobody") == 0
    await platform.ports.confirm("nobody", 3)


async def test_confirming_a_number_confirms_all_before_it(platform: Platform) -> None:
    await send(platform.ports, "a")
    await platform.answer_oldest("2", "3", "4")
    await platform.ports.confirm("ann", 3)
    assert await platform.delivered() == [2, 3]
    await platform.ports.confirm("ann", 1)
    assert await platform.delivered() == [2, 3]


async def test_what_waits_to_be_pushed_is_collected_once_and_again_by_the_same_request(platform: Platform) -> None:
    async def collect(reference: str, sender_id: str = "ann") -> list[str]:
        return [entry.body["text"] for entry in await platform.ports.collect(sender_id, reference)]

    assert await collect("nothing yet") == []
    await send(platform.ports, "a")
    assert await collect("try 1 of a") == []
    await platform.answer_oldest("to a", "and more", pushed=True)
    assert await collect("elsewhere", "bob") == []
    assert await collect("answer to a") == ["to a", "and more"]
    assert await collect("answer to a") == ["to a", "and more"]
    await send(platform.ports, "b")
    await platform.answer_oldest("to b", pushed=True)
    assert await collect("answer to b") == ["to b"]
    assert await collect("answer to a") == ["to a", "and more"]


async def test_what_is_pending_is_no_more_once_it_was_collected(platform: Platform) -> None:
    async def pending(after_seq: int = 0) -> list[str]:
        return [entry.body["text"] for entry in await platform.ports.pending("ann", after_seq)]

    assert await pending() == []
    await send(platform.ports, "a")
    await platform.answer_oldest("to a", "and more", pushed=True)
    assert (await pending(), await pending(2)) == (["to a", "and more"], ["and more"])
    await platform.ports.collect("ann", "answer to a")
    await send(platform.ports, "b")
    await platform.answer_oldest("to b", pushed=True)
    assert await pending() == ["to b"]


async def test_what_may_not_have_arrived_is_unknown_until_it_is_known(platform: Platform) -> None:
    for key in "ab":
        await send(platform.ports, key)
        await platform.answer_oldest(f"to {key}", pushed=True)
        await platform.ports.collect("ann", f"answer to {key}")
    await platform.ports.doubt("ann", "answer to a", "it broke")
    await platform.ports.doubt("ann", "answer to a", "it broke here")
    assert await platform.doubted() == ["it broke here"]
    assert [entry.body["text"] for entry in await platform.ports.collect("ann", "answer to a")] == ["to a"]
    await platform.ports.doubt("ann", "answer to b", None)
    await platform.ports.doubt("ann", "answer to a", None)
    assert await platform.doubted() == []


async def test_who_watches_a_conversation_is_woken_until_it_stops(platform: Platform) -> None:
    news: list[str] = []
    unsubscribe = platform.ports.subscribe("ann", news.append)
    await send(platform.ports, "a")
    assert news == ["message"]
    platform.typing("ann")
    await platform.answer_oldest("to a")
    assert news == ["message", "typing", "message"]
    await send(platform.ports, "b", sender_id="bob", customer="bob")
    unsubscribe()
    unsubscribe()
    platform.typing("ann")
    assert news == ["message", "typing", "message"]


# ---- state ----


async def test_of_two_writers_of_a_value_one_wins(platform: Platform) -> None:
    state = platform.ports.state
    assert await state.get("token") is None
    firsts = await asyncio.gather(*(state.compare_and_set("token", None, value) for value in "abc"))
    assert firsts.count(True) == 1
    value = await state.get("token")
    assert value == "abc"[firsts.index(True)]
    swaps = await asyncio.gather(*(state.compare_and_set("token", value, new) for new in "xyz"))
    assert swaps.count(True) == 1
    assert await state.get("token") == "xyz"[swaps.index(True)]
    assert not await state.compare_and_set("other", "unset", "x")


async def test_of_several_who_take_a_value_one_gets_it(platform: Platform) -> None:
    state = platform.ports.state
    assert await state.compare_and_set("once", None, "x")
    assert sorted(str(value) for value in await asyncio.gather(*(state.take("once") for _ in range(5)))) == [
        *["None"] * 4,
        "x",
    ]
    assert await state.get("once") is None


async def test_a_lease_has_one_holder_who_can_renew_it(platform: Platform) -> None:
    state = platform.ports.state
    got = await asyncio.gather(*(state.lease("refresh", holder, 60) for holder in "abc"))
    assert got.count(True) == 1
    holder = "abc"[got.index(True)]
    assert await state.lease("refresh", holder, 0)
    assert await state.lease("refresh", "d", 60)
    assert not await state.lease("refresh", holder, 60)


async def test_state_commits_with_its_batch_even_without_messages(platform: Platform) -> None:
    assert await platform.ports.receive([], [StateChange(key="k", value="1"), StateChange(key="k", value="2")]) == []
    assert await platform.ports.state.get("k") == "2"


async def test_a_conversation_of_a_channel_of_the_project_s_own_is_not_opened_by_another(platform: Platform) -> None:
    with pytest.raises(BadRequest, match="another channel"):
        await platform.ports.receive([message("x", sender_id="sms:+4915")])
    await platform.ports.receive([message("x", channel="sms", sender_id="sms:+4915", customer="+4915")])
