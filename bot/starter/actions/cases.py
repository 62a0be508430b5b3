"""What was arranged in the chat: returns, cancellations, new addresses, tickets. A small SQLite file.

Your shop replaces `Cases` with calls to its own system. A case keeps what is needed to act on it, an address or a
contact included, for 30 days. The invariant: one turn opens at most one case, however often it is run again.
"""

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

KEPT_S = 30 * 24 * 60 * 60

# Three letters: no id of a case can be taken for an order number.
_PREFIXES = {"return": "RET", "cancellation": "CAN", "address": "ADR", "ticket": "TKT"}

_TABLE = """
CREATE TABLE IF NOT EXISTS cases (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    turn TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    order_number TEXT,
    details TEXT NOT NULL,
    opened_at REAL NOT NULL
)
"""


@dataclass(frozen=True)
class Case:
    """One thing somebody at the shop has to do."""

    case_id: str
    kind: str
    order_number: str | None
    details: Mapping[str, str]
    opened_at: float  # seconds since 1970, UTC


@dataclass(frozen=True)
class Cases:
    """The cases of the last 30 days."""

    path: Path

    def open(self, turn: str, kind: str, order_number: str | None, details: Mapping[str, str]) -> str:
        """Write a case down and give its id ("RET-10001"); the same id if the turn is run again."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO cases (turn, kind, order_number, details, opened_at) VALUES (?, ?, ?, ?, ?)",
                (turn, kind, order_number, json.dumps(details, ensure_ascii=False), time.time()),
            )
            row = connection.execute(f"{_SELECT} WHERE turn = ?", (turn,)).fetchone()
            return _case(row).case_id

    def latest(self, kind: str, order_number: str) -> Case | None:
        """Give the last case of this kind for an order."""
        with self._transaction() as connection:
            row = connection.execute(
                f"{_SELECT} WHERE kind = ? AND order_number = ? ORDER BY number DESC LIMIT 1", (kind, order_number)
            ).fetchone()
            return _case(row) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5.0)) as connection, connection:
            connection.execute(_TABLE)
            connection.execute("DELETE FROM cases WHERE opened_at < ?", (time.time() - KEPT_S,))
            yield connection


_SELECT = "SELECT number, kind, order_number, details, opened_at FROM cases"


def _case(row: tuple[int, str, str | None, str, float]) -> Case:
    number, kind, order_number, details, opened_at = row
    return Case(
        case_id=f"{_PREFIXES[kind]}-{10_000 + number}",
        kind=kind,
        order_number=order_number,
        details=json.loads(details),
        opened_at=opened_at,
    )
