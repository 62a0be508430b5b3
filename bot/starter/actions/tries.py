"""How often somebody has guessed at an order: a small SQLite file shared by all conversations.

It keeps who asked, for which number and when, for one day; no e-mail address, no phone number, no message.
The invariants: a try is written down before its answer is known, so that guesses made at the same moment cannot slip
through together; and one turn counts at most once, however often it is run again.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

LIMIT = 5
# A limit without an end would let anybody lock a stranger's order for good.
WINDOW_S = 24 * 60 * 60

_TABLE = """
CREATE TABLE IF NOT EXISTS failed_lookups (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    turn TEXT NOT NULL UNIQUE,
    sender_id TEXT NOT NULL,
    order_number TEXT NOT NULL,
    failed_at REAL NOT NULL
)
"""


@dataclass(frozen=True)
class Tries:
    """How many failed look-ups a conversation and an order number have seen."""

    of_sender: int
    of_order: int

    @property
    def are_used_up(self) -> bool:
        """Say whether no further try is allowed."""
        return max(self.of_sender, self.of_order) >= LIMIT

    @property
    def are_exceeded(self) -> bool:
        """Say whether the last of these tries was itself not allowed."""
        return max(self.of_sender, self.of_order) > LIMIT


@dataclass(frozen=True)
class FailedLookups:
    """The failed look-ups of the last 24 hours.

    Unknown order numbers are counted like real ones, so that being locked out says nothing about an order either.
    """

    path: Path

    def count(self, sender_id: str, order_number: str) -> Tries:
        """Count the failures of this conversation, and those at this order number in all conversations."""
        with self._transaction() as connection:
            return _tries(connection, sender_id, order_number)

    def claim(self, turn: str, sender_id: str, order_number: str) -> Tries:
        """Count `turn` as a failure in advance; give the tries up to and including it, the same if it is run again."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO failed_lookups (turn, sender_id, order_number, failed_at) VALUES (?, ?, ?, ?)",
                (turn, sender_id, order_number, time.time()),
            )
            (place,) = connection.execute("SELECT number FROM failed_lookups WHERE turn = ?", (turn,)).fetchone()
            return _tries(connection, sender_id, order_number, up_to=place)

    def release(self, turn: str) -> None:
        """Take back the claim of a turn that was no failure."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM failed_lookups WHERE turn = ?", (turn,))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5.0)) as connection, connection:
            connection.execute(_TABLE)
            # The first statement that writes takes SQLite's one write lock: claims happen one after the other.
            connection.execute("DELETE FROM failed_lookups WHERE failed_at < ?", (time.time() - WINDOW_S,))
            yield connection


def _tries(connection: sqlite3.Connection, sender_id: str, order_number: str, up_to: int | None = None) -> Tries:
    row = connection.execute(
        "SELECT COALESCE(SUM(sender_id = ?), 0), COALESCE(SUM(order_number = ?), 0) FROM failed_lookups"
        " WHERE ? IS NULL OR number <= ?",
        (sender_id, order_number, up_to, up_to),
    ).fetchone()
    return Tries(of_sender=int(row[0]), of_order=int(row[1]))
