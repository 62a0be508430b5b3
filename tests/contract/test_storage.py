"""The durable queue's promises, over SQLite and PostgreSQL: order, one owner at a time, nothing said twice."""

from __future__ import annotations

import asyncio
import itertools
import random
from dataclasses import replace
from datetime import datetime

import pytest
from sqlalchemy import Connection, func, insert, select

from bot.errors import StaleConversation
from bot.storage import asked, conversations, inbox, predictions
from bot.storage import outbox as outbox_rows
from bot.storage.database import Database
from bot.storage.inbox import Claim
from bot.storage.predictions import Label, ReviewLimits
from bot.storage.tables import customers, events, metadata, outbox, snapshots
from bot.storage.tables import inbox as inbox_rows
from connectors.base import Delivered, DeliveryUnknown, RetryLater, Undeliverable
from tests.contract.turns import NOON, SHOP, accept, at, claim, finish, message, prediction, turn
from tests.contract.turns import events as some_events

# ---- claim ----


async def test_a_claim_is_the_oldest_waiting_message_of_each_conversation(database: Database) -> None:
    def steps(conn: Connection) -> list[Claim]:
        accept(conn, "a1", "a2")
        accept(conn, "b1", sender="bob", now=at(1))
        return claim(conn, at(1))

    first, second = await database.write(steps)
    assert [(held.message.text, held.sender_id, held.seq) for held in (first, second)] == [
        ("a1", "ann", 1),
        ("b1", "bob", 1),
    ]
    assert first.message == message("a1")
    assert (first.fence, first.attempts, first.event_seq, first.snapshot, first.events) == (1, 1, 0, None, [])


async def test_the_limit_prefers_who_has_waited_longest(database: Database) -> None:
    def steps(conn: Connection) -> list[Claim]:
        for second, sender in enumerate(["cid", "ann", "bob"]):
            accept(conn, f"from {sender}", sender=sender, now=at(second))
        return claim(conn, at(5), limit=2)

    assert [held.sender_id for held in await database.write(steps)] == ["cid", "ann"]


async def test_concurrent_workers_never_hold_the_same_conversation(database: Database) -> None:
    senders = [f"s{number}" for number in range(40)]

    def arrive(conn: Connection) -> None:
        for sender in senders:
            accept(conn, f"1 {sender}", f"2 {sender}", sender=sender)

    await database.write(arrive)
    taken = await asyncio.gather(
        *(database.write(lambda conn, w=worker: claim(conn, worker=f"w{w}", limit=3)) for worker in range(20))
    )
    held = [one.sender_id for claims in taken for one in claims]
    assert len(held) == len(set(held))
    later = await database.write(lambda conn: claim(conn, limit=100))
    assert sorted(held + [one.sender_id for one in later]) == sorted(senders)


async def test_a_lease_that_ran_out_goes_to_another_and_the_late_worker_changes_nothing(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (late,) = await database.write(lambda conn: claim(conn, at(0), lease_s=10))
    assert await database.write(lambda conn: claim(conn, at(9))) == []
    (again,) = await database.write(lambda conn: claim(conn, at(10), worker="w2"))
    assert (again.inbound_id, again.fence, again.attempts) == (late.inbound_id, late.fence + 1, 2)
    for act in (
        lambda conn: finish(conn, late, "too late"),
        lambda conn: inbox.fail(conn, late, "too late", at(20), NOON),
        lambda conn: inbox.fail(conn, late, "too late", None, NOON, bodies=[{"text": "sorry"}]),
        lambda conn: inbox.extend(conn, late, at(11), 100),
        lambda conn: inbox.note_metadata(conn, late, {"too": "late"}),
    ):
        with pytest.raises(StaleConversation):
            await database.write(act)
    await database.write(lambda conn: finish(conn, again, "in time"))
    said = await database.read(lambda conn: conversations.transcript(conn, SHOP, "ann", 0))
    assert [entry.body["text"] for entry in said] == ["a1", "in time"]


async def test_what_was_noted_about_a_message_is_there_when_it_is_claimed_again(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(lambda conn: claim(conn, at(0), lease_s=10))
    noted = {"attachments": [{"id": "f1"}]}
    await database.write(lambda conn: inbox.note_metadata(conn, held, noted))
    (again,) = await database.write(lambda conn: claim(conn, at(10), worker="w2"))
    assert again.message == replace(held.message, metadata=noted)


async def test_extending_a_lease_keeps_others_away(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(lambda conn: claim(conn, at(0), lease_s=10))
    await database.write(lambda conn: inbox.extend(conn, held, at(9), 10))
    assert await database.write(lambda conn: claim(conn, at(18))) == []
    assert len(await database.write(lambda conn: claim(conn, at(19)))) == 1


async def test_released_conversations_are_claimed_again_at_once(database: Database) -> None:
    def steps(conn: Connection) -> None:
        accept(conn, "a1")
        claim(conn, worker="w1")
        accept(conn, "b1", sender="bob")
        claim(conn, worker="w2")

    await database.write(steps)
    assert await database.write(lambda conn: inbox.release(conn, SHOP, "w1", at(1))) == 1
    assert [held.sender_id for held in await database.write(lambda conn: claim(conn, at(1)))] == ["ann"]
    assert await database.write(lambda conn: inbox.release(conn, SHOP, None, at(2))) == 2
    assert len(await database.write(lambda conn: claim(conn, at(2)))) == 2


# ---- order ----


async def test_a_message_that_waits_for_its_retry_is_not_overtaken(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1", "a2"))
    (held,) = await database.write(claim)
    await database.write(lambda conn: inbox.fail(conn, held, "model away", at(60), at(1)))
    await database.write(lambda conn: accept(conn, "a3", now=at(2)))
    assert await database.write(lambda conn: claim(conn, at(59))) == []
    (again,) = await database.write(lambda conn: claim(conn, at(60)))
    assert (again.message.text, again.attempts) == ("a1", 2)


async def test_a_dead_letter_lets_later_messages_pass_and_the_customer_is_told(database: Database) -> None:
    (first, _) = await database.write(lambda conn: accept(conn, "a1", "a2"))
    (held,) = await database.write(claim)
    sorry = [{"text": "sorry, that went wrong"}]
    said = await database.write(lambda conn: inbox.fail(conn, held, "crashed", None, NOON, bodies=sorry))
    assert [(entry.author, entry.seq, entry.in_reply_to) for entry in said] == [("system", 3, first.inbound_id)]
    assert await database.read(lambda conn: inbox.reply_to(conn, SHOP, first.inbound_id)) == said
    (later,) = await database.write(claim)
    assert later.message.text == "a2"
    assert await database.read(lambda conn: inbox.waiting(conn, SHOP)) == 1


async def test_a_stuck_conversation_stalls_no_other(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    await database.write(claim)
    await database.write(lambda conn: accept(conn, "b1", sender="bob"))
    assert [held.sender_id for held in await database.write(claim)] == ["bob"]


# ---- finish ----


async def test_a_turn_is_stored_whole(database: Database) -> None:
    (receipt,) = await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    said = await database.write(
        lambda conn: finish(
            conn,
            held,
            "one",
            "two",
            body_metadata=[{"n": 1}, {"n": 2}],
            events=some_events("x", "y"),
            snapshot={"slots": {"name": "Ann"}},
            prediction=prediction("a1", [0.7, 0.2], language="zh"),
            status="resolved",
        )
    )
    assert [(entry.seq, entry.metadata, entry.in_reply_to) for entry in said] == [
        (2, {"n": 1}, receipt.inbound_id),
        (3, {"n": 2}, receipt.inbound_id),
    ]
    assert await database.read(lambda conn: inbox.reply_to(conn, SHOP, receipt.inbound_id)) == said
    assert await database.read(lambda conn: conversations.events(conn, SHOP, "ann")) == some_events("x", "y")
    found = await database.read(lambda conn: conversations.find(conn, SHOP, "ann"))
    assert found is not None
    assert (found.status, found.language, found.last_seq, found.event_seq, found.waiting) == ("resolved", "zh", 3, 2, 0)
    assert await database.read(lambda conn: inbox.waiting(conn, SHOP)) == 0


async def test_a_claim_brings_the_snapshot_and_the_events_after_it(database: Database) -> None:
    for key, snapshot in (("a1", None), ("a2", {"turns": 2}), ("a3", None), ("a4", None)):
        await database.write(lambda conn, key=key: accept(conn, key))
        (held,) = await database.write(claim)
        await database.write(lambda conn, held=held, snapshot=snapshot: finish(conn, held, snapshot=snapshot))
    await database.write(lambda conn: accept(conn, "a5"))
    await database.write(lambda conn: accept(conn, "b1", sender="bob"))
    held, other = await database.write(claim)
    assert (held.snapshot, held.snapshot_seq, held.event_seq) == ({"turns": 2}, 2, 4)
    assert [event["name"] for event in held.events] == ["on a3", "on a4"]
    assert (other.snapshot, other.events) == (None, [])


async def test_a_turn_from_an_old_event_number_is_refused(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    with pytest.raises(StaleConversation):
        await database.write(lambda conn: finish(conn, held, "x", expected_event_seq=7))
    await database.write(lambda conn: finish(conn, held, "y"))


@pytest.mark.parametrize("events_of_turn", [[], some_events("x")], ids=["a turn without events", "a turn with events"])
async def test_a_turn_finished_twice_answers_once(database: Database, events_of_turn: list[dict[str, object]]) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    await database.write(lambda conn: finish(conn, held, "once", events=events_of_turn))
    with pytest.raises(StaleConversation):
        await database.write(lambda conn: finish(conn, held, "twice", events=events_of_turn))
    said = await database.read(lambda conn: conversations.transcript(conn, SHOP, "ann", 0))
    assert [entry.body["text"] for entry in said] == ["a1", "once"]


async def test_a_turn_that_breaks_on_the_way_leaves_nothing(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    secret = prediction("my secret", [float("nan")])
    with pytest.raises(Exception, match="not JSON compliant") as broken:
        await database.write(lambda conn: finish(conn, held, "x", prediction=secret))
    assert "secret" not in str(broken.value)

    def counts(conn: Connection) -> list[int]:
        tables = (events, outbox, snapshots)
        return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]

    assert await database.read(counts) == [0, 0, 0]
    await database.write(lambda conn: finish(conn, held, "y"))


async def test_a_function_that_fails_takes_no_other_with_it(database: Database) -> None:
    def broken(conn: Connection) -> None:
        accept(conn, "broken")
        raise RuntimeError("of its own")

    def broken_sql(conn: Connection) -> None:
        accept(conn, "broken")
        conn.execute(insert(customers), {"id": 1, "assistant_id": None, "created_at": NOON})

    results = await asyncio.gather(
        *(
            database.write(fn)
            for number in range(10)
            for fn in (lambda conn, n=number: accept(conn, f"a{n}", sender=f"s{n}"), broken, broken_sql)
        ),
        return_exceptions=True,
    )
    assert [isinstance(result, Exception) for result in results] == [False, True, True] * 10
    waiting = select(inbox_rows.c.text).order_by(inbox_rows.c.text)
    stored = await database.read(lambda conn: list(conn.execute(waiting).scalars()))
    assert stored == [f"a{number}" for number in range(10)]


async def test_an_instant_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="naive datetime"):
        await database.write(lambda conn: accept(conn, "a1", now=datetime(2026, 1, 1)))


async def test_reading_cannot_write_on_sqlite(database: Database) -> None:
    if database.dialect == "postgresql":
        await database.read(lambda conn: accept(conn, "a1"))  # is never committed
    else:
        with pytest.raises(Exception, match="readonly"):
            await database.read(lambda conn: accept(conn, "a1"))
    assert await database.read(lambda conn: conversations.last_seq(conn, SHOP, "ann")) == 0


# ---- the transcript while others write ----


async def test_readers_see_no_gap_while_messages_and_answers_race(database: Database) -> None:
    is_done = asyncio.Event()

    async def customer(name: str) -> None:
        for number in range(12):
            await database.write(lambda conn, key=f"{name}{number}": accept(conn, key))

    async def worker() -> None:
        answered = 0
        while answered < 36:
            for held in await database.write(claim):
                await database.write(lambda conn, held=held: finish(conn, held, f"to {held.message.text}", "more"))
                answered += 1

    async def reader() -> int:
        seen = 0
        while not is_done.is_set() or seen < 36 * 3:
            entries = await database.read(lambda conn, seen=seen: conversations.transcript(conn, SHOP, "ann", seen))
            numbers = [entry.seq for entry in entries]
            assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
            seen += len(numbers)
        return seen

    async def everybody() -> None:
        await asyncio.gather(worker(), *(customer(name) for name in "xyz"))
        is_done.set()

    assert (await asyncio.gather(everybody(), reader(), reader()))[1:] == [36 * 3, 36 * 3]
    said = await database.read(lambda conn: conversations.transcript(conn, SHOP, "ann", 0, limit=500))
    asked = [entry.body["text"] for entry in said if entry.author == "customer"]
    answers = [entry.body["text"][3:] for entry in said if entry.body["text"].startswith("to ")]
    assert asked == answers


# ---- what the bot said ----


async def test_the_bot_s_last_replies_are_read_over_all_conversations(database: Database) -> None:
    def steps(conn: Connection) -> None:
        for number, sender in enumerate(("ann", "bob", "ann")):
            accept(conn, f"m{number}", sender=sender, now=at(number))
            (held,) = claim(conn, at(number))
            reply = {"event": "bot", "text": f"reply {number}", "metadata": {}, "timestamp": float(number)}
            finish(conn, held, events=[*some_events("x"), reply], prediction=prediction("m", [0.7, 0.2], language="zh"))

    await database.write(steps)
    found = await database.read(lambda conn: conversations.replies(conn, SHOP, 2))
    assert [(reply.sender_id, reply.language, reply.event["text"]) for reply in found] == [
        ("ann", "zh", "reply 2"),
        ("bob", "zh", "reply 1"),
    ]
    assert await database.read(lambda conn: conversations.replies(conn, "other", 10)) == []


# ---- the outbox of push channels ----


@pytest.fixture
async def pushed(database: Database) -> Database:
    """Two conversations of a push channel, each with messages to send."""

    def steps(conn: Connection) -> None:
        accept(conn, "a1")
        accept(conn, "b1", sender="bob")
        for held in claim(conn):
            finish(conn, held, f"1 {held.sender_id}", f"2 {held.sender_id}", delivery="push")

    await database.write(steps)
    return database


async def take(database: Database, seconds: float, *resendable: str) -> list[outbox_rows.OutboxClaim]:
    return await database.write(
        lambda conn: outbox_rows.claim(conn, SHOP, ["rest"], "w1", at(seconds), 30, 10, resendable=resendable)
    )


def texts(claims: list[outbox_rows.OutboxClaim]) -> list[str]:
    return [held.message.body["text"] for held in claims]


async def test_pushed_messages_go_one_at_a_time_in_order(pushed: Database) -> None:
    first = await take(pushed, 0)
    assert texts(first) == ["1 ann", "1 bob"]
    assert texts(await take(pushed, 1)) == []
    for held in first:
        assert await pushed.write(lambda conn, held=held: outbox_rows.settle(conn, held, Delivered(), at(1)))
    assert texts(await take(pushed, 2)) == ["2 ann", "2 bob"]


async def test_racing_senders_take_each_message_once(pushed: Database) -> None:
    taken = await asyncio.gather(*(take(pushed, 0) for _ in range(12)))
    assert sorted(texts(list(itertools.chain(*taken)))) == ["1 ann", "1 bob"]


async def test_a_message_to_retry_holds_the_next_until_its_time(pushed: Database) -> None:
    first, *_ = await take(pushed, 0)
    result = RetryLater(reason="429", after_s=60)
    assert await pushed.write(lambda conn: outbox_rows.settle(conn, first, result, at(0)))
    assert texts(await take(pushed, 20)) == []
    (again,) = [held for held in await take(pushed, 60, "rest") if held.message.sender_id == "ann"]
    assert (again.message.body["text"], again.attempts, again.was_interrupted) == ("1 ann", 2, False)


@pytest.mark.parametrize("result", [Undeliverable(reason="blocked"), DeliveryUnknown(reason="timeout")])
async def test_what_cannot_be_delivered_lets_the_next_pass(
    pushed: Database, result: Undeliverable | DeliveryUnknown
) -> None:
    first, *_ = await take(pushed, 0)
    await pushed.write(lambda conn: outbox_rows.settle(conn, first, result, at(1)))
    assert texts(await take(pushed, 2)) == ["2 ann"]


async def test_a_message_whose_sender_died_is_not_blindly_sent_again(pushed: Database) -> None:
    await take(pushed, 0)
    assert texts(await take(pushed, 30)) == ["2 ann", "2 bob"]
    unknown = select(func.count()).where(outbox.c.state == "unknown")
    assert await pushed.read(lambda conn: conn.execute(unknown).scalar_one()) == 2


async def test_a_channel_that_can_be_asked_gets_it_again_with_a_warning(pushed: Database) -> None:
    late, *_ = await take(pushed, 0)
    again, *_ = await take(pushed, 30, "rest")
    assert (again.outbox_id, again.was_interrupted, again.attempts) == (late.outbox_id, True, 2)
    is_written = await pushed.write(lambda conn: outbox_rows.settle(conn, late, RetryLater(reason="429"), at(31)))
    assert not is_written
    assert await pushed.write(lambda conn: outbox_rows.settle(conn, late, Delivered(external_ref="ts"), at(31)))
    assert texts(await take(pushed, 32, "rest")) == ["2 ann"]


async def test_what_is_collected_is_not_sent_and_waits_behind_what_is_on_its_way(pushed: Database) -> None:
    async def collect(sender: str, seconds: float) -> list[str]:
        found = await pushed.write(lambda conn: outbox_rows.collect(conn, SHOP, sender, "passive", at(seconds)))
        return [message.body["text"] for message in found]

    assert await collect("bob", 0) == ["1 bob", "2 bob"]
    (first,) = await take(pushed, 1)
    assert await collect("ann", 2) == []
    await pushed.write(lambda conn: outbox_rows.settle(conn, first, RetryLater(reason="429", after_s=0), at(3)))
    assert await collect("ann", 3) == ["1 ann", "2 ann"]
    assert await take(pushed, 4) == []


async def test_what_waits_for_its_time_may_be_hastened(pushed: Database) -> None:
    first, *_ = await take(pushed, 0)
    put_off = RetryLater(reason="not before the next visit", after_s=100_000)
    await pushed.write(lambda conn: outbox_rows.settle(conn, first, put_off, at(1)))
    assert "1 ann" not in texts(await take(pushed, 2))
    assert await pushed.write(lambda conn: outbox_rows.hasten(conn, "other", "ann")) == 0
    assert await pushed.write(lambda conn: outbox_rows.hasten(conn, SHOP, "ann")) == 2
    assert texts(await take(pushed, 3))[:1] == ["1 ann"]


async def test_answers_kept_back_for_collection_are_sent_when_nobody_came(database: Database) -> None:
    def steps(conn: Connection) -> None:
        accept(conn, "a1")
        (held,) = claim(conn)
        finish(conn, held, "late", delivery="push", send_after=at(14))

    await database.write(steps)
    assert texts(await take(database, 13)) == []
    assert texts(await take(database, 14)) == ["late"]


async def test_a_message_that_is_never_taken_dies_and_an_operator_decides(pushed: Database) -> None:
    few, refused = outbox_rows.Backoff(attempts=2, patience_s=100), RetryLater(reason="HTTP 500")
    for seconds in (0, 100):
        held = next(one for one in await take(pushed, seconds) if one.message.sender_id == "ann")
        await pushed.write(lambda conn, held=held, s=seconds: outbox_rows.settle(conn, held, refused, at(s), few))
    assert texts(await take(pushed, 101))[0] == "2 ann"

    async def stuck() -> dict[str, tuple[str, str | None]]:
        found = await pushed.read(lambda conn: outbox_rows.undelivered(conn, SHOP))
        return {one.body["text"]: (one.state, one.error) for one in found}

    listed = await pushed.read(lambda conn: outbox_rows.undelivered(conn, SHOP))
    assert (await stuck())["1 ann"] == ("dead", "given up after 2 tries: HTTP 500")
    (number,) = [one.outbox_id for one in listed if one.body["text"] == "1 ann"]
    assert await pushed.write(lambda conn: outbox_rows.replay(conn, "other", [number])) == 0
    assert await pushed.write(lambda conn: outbox_rows.replay(conn, SHOP, [number])) == 1
    assert texts(await take(pushed, 102)) == ["1 ann"]
    assert await pushed.write(lambda conn: outbox_rows.drop(conn, SHOP, [number], at(103))) == 0
    others = [one.outbox_id for one in listed if one.outbox_id != number]
    assert await pushed.write(lambda conn: outbox_rows.drop(conn, SHOP, others, at(103))) == len(others)
    assert await stuck() == {}


def test_pauses_grow_to_a_ceiling_and_differ() -> None:
    backoff, rng = outbox_rows.Backoff(), random.Random(0)
    pauses = [[backoff.pause_s(attempt, rng) for _ in range(200)] for attempt in (1, 4, 30, 1_000)]
    for drawn, full in zip(pauses, (1, 8, 300, 300), strict=True):
        assert full / 2 <= min(drawn) < 0.6 * full
        assert 0.9 * full < max(drawn) <= full


async def test_pull_rows_are_not_for_senders(database: Database) -> None:
    def steps(conn: Connection) -> None:
        accept(conn, "a1")
        (held,) = claim(conn)
        finish(conn, held, "read it yourself")

    await database.write(steps)
    assert await take(database, 0) == []


# ---- the life of a conversation ----


async def status_of(database: Database, sender: str = "ann") -> str | None:
    found = await database.read(lambda conn: conversations.find(conn, SHOP, sender))
    return None if found is None else found.status


@pytest.mark.parametrize(
    ("before", "after"), [("resolved", "open"), ("closed", "open"), ("with_operator", "with_operator")]
)
async def test_a_new_message_reopens_what_was_over(database: Database, before: str, after: str) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    assert await database.write(lambda conn: conversations.set_status(conn, SHOP, "ann", before, NOON))
    await database.write(lambda conn: accept(conn, "a1"))
    assert await status_of(database) == before
    await database.write(lambda conn: accept(conn, "a2"))
    assert await status_of(database) == after


async def test_idle_conversations_close_unless_someone_is_owed_an_answer(database: Database) -> None:
    def steps(conn: Connection) -> None:
        accept(conn, "answered", sender="ann")
        accept(conn, "with a person", sender="bob")
        for held in claim(conn):
            finish(conn, held, status="with_operator" if held.sender_id == "bob" else None)
        accept(conn, "still waits", sender="cid")
        accept(conn, "just now", sender="dan", now=at(1700))
        (held,) = (held for held in claim(conn, at(1700), lease_s=1) if held.sender_id == "dan")
        finish(conn, held, now=at(1700))

    await database.write(steps)
    assert await database.write(lambda conn: conversations.close_idle(conn, SHOP, at(1801), 30)) == 1
    states = [await status_of(database, sender) for sender in ("ann", "bob", "cid", "dan")]
    assert states == ["closed", "with_operator", "open", "open"]


async def test_a_request_for_a_person_outlasts_the_weekend(database: Database) -> None:
    def steps(conn: Connection) -> None:
        accept(conn, "a person please", sender="ann")
        accept(conn, "thanks, that was it", sender="bob")
        for held in claim(conn):
            finish(conn, held, status="waiting" if held.sender_id == "ann" else "resolved")

    await database.write(steps)
    three_days_later = at(3 * 86_400)
    assert await database.write(lambda conn: conversations.close_idle(conn, SHOP, three_days_later, 30)) == 1
    assert [await status_of(database, sender) for sender in ("ann", "bob")] == ["waiting", "closed"]


async def test_two_assistants_in_one_database_do_not_see_each_other(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    assert await database.write(lambda conn: inbox.claim(conn, "other", "w1", NOON, 30, 10)) == []
    assert await database.read(lambda conn: conversations.find(conn, "other", "ann")) is None
    assert await database.read(lambda conn: conversations.transcript(conn, "other", "ann", 0)) == []
    assert await database.read(lambda conn: inbox.waiting(conn, "other")) == 0


# ---- review and labels ----


@pytest.fixture
async def logged(database: Database) -> dict[str, int]:
    """Predictions by text → id."""
    said = {
        "sure": prediction("sure", [0.9, 0.05]),
        "torn": prediction("torn", [0.41, 0.40]),
        "Torn ": prediction("Torn ", [0.41, 0.40]),
        "unsure": prediction("unsure", [0.6, 0.3]),
        "lost": prediction("lost", [0.2, 0.1], fallback=True, is_out_of_scope=True),
        "only one": prediction("only one", [1.0]),
    }

    def steps(conn: Connection) -> dict[str, int]:
        for number, (text, record) in enumerate(said.items()):
            accept(conn, text)
            (held,) = claim(conn, at(number))
            finish(conn, held, now=at(number), prediction=record)
        table = metadata.tables["predictions"]
        return {row.text: row.id for row in conn.execute(select(table.c.text, table.c.id))}

    return await database.write(steps)


async def test_review_offers_the_fallen_back_the_uncertain_and_random_ones(
    database: Database, logged: dict[str, int]
) -> None:
    limits = ReviewLimits(fallback=5, uncertain=2, random=5)
    items = await database.read(lambda conn: predictions.for_review(conn, SHOP, NOON, limits, seed=1))
    assert [(item.why, item.text) for item in items[:3]] == [
        ("fallback", "lost"),
        ("uncertain", "torn"),
        ("uncertain", "unsure"),
    ]
    assert {(item.why, item.text) for item in items[3:]} == {("random", "sure"), ("random", "only one")}
    assert items[0].ranking == [
        {"name": "intent_0", "confidence": 0.2},
        {"name": "intent_1", "confidence": 0.1},
    ]
    again = await database.read(lambda conn: predictions.for_review(conn, SHOP, NOON, limits, seed=1))
    assert again == items
    late = await database.read(lambda conn: predictions.for_review(conn, SHOP, at(4), limits, seed=1))
    assert [item.text for item in late] == ["lost", "only one"]


async def test_labels_are_stored_once_and_take_their_text_out_of_review(
    database: Database, logged: dict[str, int]
) -> None:
    new = [Label(prediction_id=logged["lost"], intent="greet", labelled_by="eva"), Label(prediction_id=10**6)]
    outcome = await database.write(lambda conn: predictions.add_labels(conn, SHOP, new, NOON))
    assert (outcome.added, outcome.changed, outcome.unchanged, outcome.unknown) == (1, 0, 0, (10**6,))
    outcome = await database.write(lambda conn: predictions.add_labels(conn, SHOP, new[:1], at(1)))
    assert (outcome.added, outcome.changed, outcome.unchanged) == (0, 0, 1)
    changed = [Label(prediction_id=logged["lost"], intent="thank", sentiment="positive")]
    outcome = await database.write(lambda conn: predictions.add_labels(conn, SHOP, changed, at(2)))
    assert (outcome.added, outcome.changed, outcome.unchanged) == (0, 1, 0)
    (label,) = await database.read(lambda conn: predictions.labels(conn, SHOP))
    assert (label.text, label.intent, label.sentiment, label.created_at) == ("lost", "thank", "positive", at(2))
    for passages, outcome in (((), (1, 0)), ((), (0, 1)), (("a.md", "b.md#c"), (1, 0)), (None, (1, 0))):
        again = [Label(prediction_id=logged["lost"], intent="thank", sentiment="positive", passages=passages)]
        done = await database.write(lambda conn, new=again: predictions.add_labels(conn, SHOP, new, at(2)))  # type: ignore[misc]
        assert (done.changed, done.unchanged) == outcome
        said = await database.read(lambda conn: asked.reviewed(conn, SHOP, NOON))
        assert [(each.text, each.passages) for each in said] == ([] if passages is None else [("lost", passages)])
    items = await database.read(lambda conn: predictions.for_review(conn, SHOP, NOON, ReviewLimits(), seed=1))
    assert "lost" not in [item.text for item in items]
    assert await database.read(lambda conn: predictions.labels(conn, "other")) == []


def test_every_table_with_customer_data_names_the_customer() -> None:
    without = {name for name, table in metadata.tables.items() if "customer_id" not in table.c}
    of_the_company = {"knowledge_indexes", "knowledge_marks", "knowledge_files"}
    assert without == {"customers", "channel_state", "leases"} | of_the_company


async def test_what_an_action_returned_is_stored_whatever_it_is(database: Database) -> None:
    await database.write(lambda conn: accept(conn, "a1"))
    (held,) = await database.write(claim)
    deep: list[object] = []
    for _ in range(300):
        deep = [deep]
    odd = [{"event": "bot", "timestamp": 1.0, "text": "a\0b \ud800 \\u0000 😀 NaN", "data": {"deep": deep}}]
    await database.write(lambda conn: inbox.finish(conn, held, turn(held, events=odd), NOON))
    assert await database.read(lambda conn: conversations.events(conn, SHOP, "ann")) == [
        {"event": "bot", "timestamp": 1.0, "text": "ab ? \\u0000 😀 NaN", "data": {"deep": deep}}
    ]


async def test_handoffs_are_those_who_still_wait_the_latest_request_first(database: Database) -> None:
    def handoff(contact: str | None, seconds: float) -> dict[str, object]:
        return {"event": "handoff", "contact": contact, "reason": None, "timestamp": at(seconds).timestamp()}

    asked = {
        "ann": [handoff("ann@old", 0), handoff("ann@new", 5)],
        "bob": [handoff(None, 9)],
        "cid": [handoff("cid@x", 7)],
    }

    def steps(conn: Connection) -> None:
        for sender, requests in asked.items():
            accept(conn, f"{sender}, a person please", sender=sender)
            (held,) = claim(conn)
            finish(conn, held, events=requests, status="waiting")
        accept(conn, "just a question", sender="dan")
        (held,) = claim(conn)
        finish(conn, held)

    await database.write(steps)
    waiting = await database.read(lambda conn: conversations.handoffs(conn, SHOP))
    assert [(h.sender_id, h.contact) for h in waiting] == [("bob", None), ("cid", "cid@x"), ("ann", "ann@new")]
    assert waiting[2].requested_at == at(5)
    assert await database.read(lambda conn: conversations.handoffs(conn, "other")) == []

    settled = [
        await database.write(lambda conn, sender=sender: conversations.settle_handoff(conn, SHOP, sender, at(20)))
        for sender in ("cid", "cid", "dan", "nobody")
    ]
    assert settled == [True, False, False, False]
    assert await status_of(database, "cid") == "resolved"
    left = await database.read(lambda conn: conversations.handoffs(conn, SHOP))
    assert [h.sender_id for h in left] == ["bob", "ann"]
