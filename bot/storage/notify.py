"""Word between processes that share a PostgreSQL: told inside the transaction, heard after its commit. A hint only.

Invariant: nothing depends on a word arriving; whoever waits reads the rows again at least every second.
On SQLite there is one process, `Hub` is enough, and telling does nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable

from sqlalchemy import URL, Connection, text

from bot.storage.types import to_json

CHANNEL = "kefu"
_TELL = text("SELECT pg_notify(:channel, :word)")
_QUIET_S = 0.2  # how long the listener sleeps in the driver before it looks whether to stop
_RECONNECT_S = 1.0


def tell_inbound(conn: Connection, assistant_id: str) -> None:
    """A message waits to be claimed."""
    _tell(conn, [assistant_id, "inbound"])


def tell_turn_finished(conn: Connection, assistant_id: str, inbound_id: int, sender_id: str) -> None:
    """A message was answered, or died."""
    _tell(conn, [assistant_id, "finished", inbound_id, sender_id])


def tell_part(conn: Connection, assistant_id: str, sender_id: str) -> None:
    """A part of an answer can be read; more of it will follow."""
    _tell(conn, [assistant_id, "part", sender_id])


def tell_typing(conn: Connection, assistant_id: str, sender_ids: Iterable[str]) -> None:
    """The bot works on answers to these."""
    for sender_id in sender_ids:
        _tell(conn, [assistant_id, "typing", sender_id])


def _tell(conn: Connection, word: list[str | int]) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(_TELL, {"channel": CHANNEL, "word": to_json(word)})


class Listener:
    """A thread with a connection of its own that hands on what other processes tell about one assistant.

    Args:
        on_inbound: called from the thread.
        on_finished: called from the thread with inbound_id and sender_id.
        on_part, on_typing: called from the thread with sender_id.
    """

    def __init__(
        self,
        url: URL,
        assistant_id: str,
        on_inbound: Callable[[], None],
        on_finished: Callable[[int, str], None],
        on_part: Callable[[str], None],
        on_typing: Callable[[str], None],
    ) -> None:
        self._url = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._assistant_id = assistant_id
        self._on_inbound, self._on_finished, self._on_part, self._on_typing = (
            on_inbound,
            on_finished,
            on_part,
            on_typing,
        )
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kefu-postgres-listener", daemon=True)

    def start(self) -> None:
        """Listen, as soon as the database lets us: it is tried for ever, and `on_inbound` is called once it does."""
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        import psycopg  # PostgreSQL is an extra: SQLite installations do not have the driver

        while not self._stop.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as conn:
                    conn.execute(f"LISTEN {CHANNEL}")
                    self._on_inbound()  # whatever was told while nobody listened
                    while not self._stop.is_set():
                        for notice in conn.notifies(timeout=_QUIET_S):
                            self._hand_on(notice.payload)
            except psycopg.OperationalError:
                self._stop.wait(_RECONNECT_S)

    def _hand_on(self, payload: str) -> None:
        assistant_id, kind, *rest = json.loads(payload)
        if assistant_id != self._assistant_id:
            return
        if kind == "inbound":
            self._on_inbound()
        elif kind == "finished":
            self._on_finished(rest[0], rest[1])
        elif kind == "part":
            self._on_part(rest[0])
        elif kind == "typing":
            self._on_typing(rest[0])
