"""How often somebody has guessed at an order: a small SQLite file shared by all conversations.

It keeps who asked, for which number and when, for one day; no e-mail address, no phone number, no message.
The invariant: one turn counts at most once, however often it is run again.
"""

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

LIMIT = 5
# A limit without an end would let anybody lock a stranger's order for good.
WINDOW_S = 24 * 60 * 60

_TABLE = """
CREATE TABLE IF NOT EXISTS failed_lookups (
    turn TEXT PRIMARY KEY,
    sender_id TEXT NOT NULL,
    order_number TEXT NOT NULL,
    failed_at REAL NOT NULL
)
"""


@dataclass(frozen=True)
class FailedLookups:
    """The failed look-ups of the last 24 hours.

    Unknown order numbers are counted like real ones, so that being locked out says nothing about an order either.
    """

    path: Path

    def record(self, *, turn: str, sender_id: str, order_number: str) -> None:
        """Count one failure; the same `turn` again changes nothing."""
        now = time.time()
        with closing(self._open()) as connection, connection:
            connection.execute("DELETE FROM failed_lookups WHERE failed_at < ?", (now - WINDOW_S,))
            connection.execute(
                "INSERT OR IGNORE INTO failed_lookups VALUES (?, ?, ?, ?)", (turn, sender_id, order_number, now)
            )

    def of_sender(self, sender_id: str, *, before_turn: str = "") -> int:
        """Count this conversation's failures, without those of `before_turn` itself."""
        return self._count("sender_id", sender_id, before_turn)

    def of_order(self, order_number: str, *, before_turn: str = "") -> int:
        """Count the failures at this order number in all conversations, without those of `before_turn` itself."""
        return self._count("order_number", order_number, before_turn)

    def are_used_up(self, sender_id: str, order_number: str, *, before_turn: str = "") -> bool:
        """Say whether this conversation or this order number has no try left."""
        return (
            self.of_sender(sender_id, before_turn=before_turn) >= LIMIT
            or self.of_order(order_number, before_turn=before_turn) >= LIMIT
        )

    def _count(self, column: str, value: str, excluded_turn: str) -> int:
        query = f"SELECT COUNT(*) FROM failed_lookups WHERE {column} = ? AND turn != ? AND failed_at >= ?"
        with closing(self._open()) as connection:
            row = connection.execute(query, (value, excluded_turn, time.time() - WINDOW_S)).fetchone()
        return int(row[0])

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=5.0)
        connection.execute(_TABLE)
        return connection
