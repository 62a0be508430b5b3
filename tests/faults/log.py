"""What the server's SQLite file holds about each conversation, read from outside, for the checker to compare with."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Log:
    """One conversation. `answers` and `turns` as in checker.Conversation."""

    last_seq: int
    waiting: int
    answers: dict[int, str]
    turns: dict[str, int]


@contextmanager
def reading(home: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Works while the server runs, and after it was killed."""
    with closing(sqlite3.connect(home / "kefu.db", timeout=10)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.row_factory = sqlite3.Row
        yield connection


def rows(home: Path, query: str, *values: object) -> list[sqlite3.Row]:
    """The rows of one query; none while there is no such file or table yet."""
    if not (home / "kefu.db").exists():
        return []
    with reading(home) as connection:
        try:
            return connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise


def read_log(home: Path) -> dict[str, Log]:
    """Every conversation of the log, by sender_id."""
    conversations = rows(home, "SELECT id, sender_id, last_seq FROM conversations")
    names = {row["id"]: _client_id(row["external_id"]) for row in rows(home, "SELECT id, external_id FROM inbox")}
    waiting = Counter(
        row["conversation_id"] for row in rows(home, "SELECT conversation_id FROM inbox WHERE state = 'waiting'")
    )
    answers: dict[int, dict[int, str]] = defaultdict(dict)
    for row in rows(home, "SELECT conversation_id, seq, inbound_id FROM outbox WHERE inbound_id IS NOT NULL"):
        answers[row["conversation_id"]][row["seq"]] = names[row["inbound_id"]]
    turns: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows(home, "SELECT conversation_id, body FROM events WHERE type = 'user'"):
        turns[row["conversation_id"]][names[int(_body(row)["message_id"])]] += 1
    return {
        row["sender_id"]: Log(
            last_seq=row["last_seq"],
            waiting=waiting[row["id"]],
            answers=answers[row["id"]],
            turns=dict(turns[row["id"]]),
        )
        for row in conversations
    }


def waiting(home: Path) -> int:
    """Messages stored and not yet answered."""
    counted = rows(home, "SELECT count(*) AS n FROM inbox WHERE state = 'waiting'")
    return int(counted[0]["n"]) if counted else 0


def _client_id(external_id: str) -> str:
    """The id that the client chose: the web chat puts the visitor before it, REST the sender and its length."""
    return external_id.rpartition(":")[2]


def _body(row: sqlite3.Row) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(row["body"])
    return body
