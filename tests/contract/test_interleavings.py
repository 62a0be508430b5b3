"""Any interleaving of arrivals, retries, crashes and late workers: one row a message, one answer a row, in order, also
where answers are said part by part.

A random history is played against the real tables and a model of a few lines; at the end everything left is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, create_engine, event, func, select

from bot.errors import StaleConversation
from bot.storage import conversations, inbox
from bot.storage.inbox import Claim
from bot.storage.tables import conversations as conversation_rows
from bot.storage.tables import inbox as inbox_rows
from bot.storage.tables import metadata, outbox
from bot.storage.types import to_json
from tests.contract.turns import SHOP, accept, advance, at, claim, finish

SENDERS = ("ann", "bob")
LEASE_S = 10

arrival = st.tuples(st.just("arrive"), st.sampled_from(SENDERS), st.integers(0, 4))
step = st.one_of(
    arrival,
    arrival,
    st.tuples(st.just("claim"), st.integers(1, 2)),
    st.tuples(st.sampled_from(["finish", "die", "forget", "advance", "advance"]), st.integers(0, 5)),
    st.tuples(st.just("retry"), st.integers(0, 5), st.sampled_from([0, 5, 30])),
    st.tuples(st.just("wait"), st.sampled_from([1, LEASE_S, 40])),
    st.tuples(st.just("restart")),
)


class History:
    """Plays steps; remembers every claim ever made, so that late workers can come back with theirs."""

    def __init__(self, conn: Connection) -> None:
        self.conn, self.seconds = conn, 0.0
        self.claims: list[Claim] = []
        self.accepted: dict[str, list[str]] = {sender: [] for sender in SENDERS}
        self.closed: dict[str, list[str]] = {sender: [] for sender in SENDERS}
        self.said: dict[str, list[str]] = {}  # by message, what was stored as its answer

    def play(self, name: str, *arguments: Any) -> None:
        getattr(self, name)(*arguments)
        self.check_schedule()

    def arrive(self, sender: str, number: int) -> None:
        key = f"{sender} {number}"
        (receipt,) = accept(self.conn, key, sender=sender, now=at(self.seconds))
        assert receipt.is_duplicate == (key in self.accepted[sender])
        if not receipt.is_duplicate:
            self.accepted[sender].append(key)

    def claim(self, limit: int) -> None:
        for held in claim(self.conn, at(self.seconds), lease_s=LEASE_S, limit=limit):
            waiting = [key for key in self.accepted[held.sender_id] if key not in self.closed[held.sender_id]]
            assert held.message.text == waiting[0]
            assert held.event_seq == len(held.events)
            assert [part.body["text"] for part in held.said] == self.said.get(held.message.text, [])
            self.claims.append(held)

    def advance(self, number: int) -> None:
        """A part of the answer is said; the worker goes on with the claim that it gets for it."""
        going_on: list[Claim] = []
        held = self._try(number, lambda held: going_on.append(advance(self.conn, held, "a part", now=at(self.seconds))))
        if held is not None:
            assert held.message.text not in self.closed[held.sender_id]
            self.said.setdefault(held.message.text, []).append("a part")
            self.claims += going_on

    def finish(self, number: int) -> None:
        self._end(number, "end", lambda held: finish(self.conn, held, "end", now=at(self.seconds)))

    def die(self, number: int) -> None:
        sorry = [{"text": "sorry"}]
        self._end(number, "sorry", lambda held: inbox.fail(self.conn, held, "x", None, at(self.seconds), bodies=sorry))

    def retry(self, number: int, after_s: float) -> None:
        retry_at = at(self.seconds + after_s)
        self._try(number, lambda held: inbox.fail(self.conn, held, "x", retry_at, at(self.seconds)))

    def forget(self, number: int) -> None:
        """A worker crashes before its commit: nothing is written."""

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def restart(self) -> None:
        inbox.release(self.conn, SHOP, None, at(self.seconds))

    def answer_all(self) -> None:
        self.restart()
        for _ in range(100):
            self.seconds += 100
            self.claim(10)
            for number in range(len(SENDERS)):
                self.finish(number)
            if inbox.waiting(self.conn, SHOP) == 0:
                return
        raise AssertionError("something waits for ever")

    def _end(self, number: int, word: str, act: Any) -> None:
        held = self._try(number, act)
        if held is not None:
            assert held.message.text not in self.closed[held.sender_id]
            self.said.setdefault(held.message.text, []).append(word)
            self.closed[held.sender_id].append(held.message.text)

    def _try(self, number: int, act: Any) -> Claim | None:
        """Let the worker of the latest claim but `number` act; None when it was too late."""
        if number >= len(self.claims):
            return None
        held = self.claims[-1 - number]
        savepoint = self.conn.begin_nested()
        try:
            act(held)
        except StaleConversation:
            savepoint.rollback()
            return None
        savepoint.commit()
        return held

    def check_schedule(self) -> None:
        """`waiting` and `claimable_at` say what the inbox says."""
        counted = (
            select(func.count())
            .where(inbox_rows.c.conversation_id == conversation_rows.c.id, inbox_rows.c.state == "waiting")
            .scalar_subquery()
        )
        columns = conversation_rows.c
        rows = self.conn.execute(
            select(columns.waiting, columns.claimable_at, columns.lease_until, counted.label("rows"))
        )
        for row in rows:
            assert row.waiting == row.rows
            assert (row.claimable_at is None) == (row.rows == 0)
            assert row.lease_until in (None, row.claimable_at)

    def check_outcome(self) -> None:
        for sender in SENDERS:
            assert self.closed[sender] == self.accepted[sender]
            entries = conversations.transcript(self.conn, SHOP, sender, 0)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            assert [entry.body["text"] for entry in entries if entry.author == "customer"] == self.accepted[sender]
            answered = [(entry.in_reply_to, entry.body["text"]) for entry in entries if entry.author != "customer"]
            assert [text for _, text in answered] == [word for key in self.accepted[sender] for word in self.said[key]]
            assert [of for of, _ in answered] == sorted(of for of, _ in answered if of is not None)
        parts = self.conn.execute(
            select(outbox.c.inbound_id, outbox.c.part).order_by(outbox.c.inbound_id, outbox.c.part)
        )
        assert [row.part for row in parts] == [
            number
            for _, rows in groupby(
                self.conn.execute(select(outbox.c.inbound_id).order_by(outbox.c.inbound_id)).scalars()
            )
            for number in range(len([*rows]))
        ]


@pytest.fixture(scope="module")
def sqlite() -> Iterator[Engine]:
    engine = create_engine("sqlite://", connect_args={"isolation_level": None}, json_serializer=to_json)
    event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN"))
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def postgresql(migrated_postgres: str) -> Iterator[Engine]:
    engine = create_engine(migrated_postgres, json_serializer=to_json)
    yield engine
    engine.dispose()


def play_in_one_transaction(engine: Engine, steps: list[tuple[Any, ...]]) -> None:
    """Nothing is kept: the transaction is rolled back, so that each history starts from empty tables."""
    with engine.connect() as conn, conn.begin() as transaction:
        for table in reversed(metadata.sorted_tables):
            conn.execute(table.delete())
        history = History(conn)
        for name, *arguments in steps:
            history.play(name, *arguments)
        history.answer_all()
        history.check_outcome()
        transaction.rollback()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=40))
def test_any_history_on_sqlite(sqlite: Engine, steps: list[tuple[Any, ...]]) -> None:
    play_in_one_transaction(sqlite, steps)


@pytest.mark.postgres
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, max_size=30))
def test_any_history_on_postgresql(postgresql: Engine, steps: list[tuple[Any, ...]]) -> None:
    play_in_one_transaction(postgresql, steps)
