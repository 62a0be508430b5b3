"""A Rasa SQL tracker store, read: which conversations it holds, and the events of each. Nothing is ever written to it.

Invariant: a row that cannot be read is named and costs only itself; events keep the order of Rasa's ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Engine, Float, Integer, MetaData, String, Table, Text, create_engine, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from bot.dialogue.events import from_json
from bot.errors import ConfigurationError

# Rasa's own table, as far as it is read; its other columns repeat what `data` says.
_events = Table(
    "events",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("sender_id", String(255)),
    Column("timestamp", Float),
    Column("data", Text),
)
_SENDERS = (
    select(_events.c.sender_id, func.count().label("n")).group_by(_events.c.sender_id).order_by(func.min(_events.c.id))
)
_YEAR_10000 = 253_402_300_800
# Some databases take a password in a URL, none wants it shown.
_MALFORMED = (
    "--tracker-store: not a database URL; write sqlite:///FILE, postgresql://USER:PASSWORD@HOST:PORT/NAME or another "
    "URL that SQLAlchemy knows, and in USER and PASSWORD every @ : / as %40 %3A %2F"
)


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row of Rasa's table that holds no event; `sender_id` is "" where it has none."""

    row: int
    sender_id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class StoredEvent:
    """One event as Rasa wrote it, and the number of its row."""

    row: int
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class StoredConversation:
    sender_id: str
    events: tuple[StoredEvent, ...]
    bad_rows: tuple[BadRow, ...] = ()


class RasaStore:
    """A tracker store opened for reading. Build it with `open`, `close` it at the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, url: str) -> RasaStore:
        """Connect to any database that SQLAlchemy has a driver for here.

        Raises:
            ConfigurationError: the URL is malformed, its driver is missing, or the SQLite file is.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            raise ConfigurationError(_MALFORMED) from None
        kind = parsed.get_backend_name()
        if kind == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if kind == "sqlite":
            file = Path(parsed.database or "")
            if not file.is_file():
                raise ConfigurationError(f"--tracker-store: there is no file {file}")
            # Opened as a URI, so that not even an empty journal is written beside a file that is somebody's data.
            parsed = parsed.set(database=f"file:{file.resolve()}", query={"mode": "ro", "uri": "true"})
        try:
            return cls(create_engine(parsed, hide_parameters=True))
        except NoSuchModuleError as error:
            raise ConfigurationError(f"--tracker-store: SQLAlchemy knows no database {kind!r}") from error
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"--tracker-store: the driver for {kind} is not installed: pip install {error.name}"
            ) from error

    def close(self) -> None:
        self._engine.dispose()

    def senders(self) -> list[tuple[str, int]]:
        """Every conversation and how many rows it has, the one that began first first.

        Raises:
            ConfigurationError: the database cannot be reached, or has no tracker store's table.
        """
        try:
            with self._engine.connect() as conn:
                return [(row.sender_id or "", row.n) for row in conn.execute(_SENDERS)]
        except SQLAlchemyError as error:
            why = getattr(error, "orig", None) or error
            raise ConfigurationError(
                f"--tracker-store: the table `events` of a Rasa tracker store cannot be read: {why}\n"
                "  is the URL that of the store which endpoints.yml names under tracker_store?"
            ) from error

    def conversations(self, senders: Sequence[str]) -> Iterator[StoredConversation]:
        """What these senders' rows say, in the order of `senders`; keep the list short, they are read at once."""
        rows: dict[str, list[tuple[int, str | None]]] = {sender: [] for sender in senders}
        wanted = select(_events.c.id, _events.c.sender_id, _events.c.data).where(_events.c.sender_id.in_(senders))
        with self._engine.connect() as conn:
            for row in conn.execute(wanted.order_by(_events.c.id)):
                rows.setdefault(row.sender_id, []).append((row.id, row.data))
        for sender, found in rows.items():
            yield _conversation(sender, found)


def _conversation(sender_id: str, rows: Sequence[tuple[int, str | None]]) -> StoredConversation:
    events: list[StoredEvent] = []
    bad: list[BadRow] = []
    for number, data in rows:
        try:
            events.append(StoredEvent(row=number, body=_event(data)))
        except ValueError as error:
            bad.append(BadRow(row=number, sender_id=sender_id, reason=str(error)[:200]))
    return StoredConversation(sender_id=sender_id, events=tuple(events), bad_rows=tuple(bad))


def _event(data: str | None) -> dict[str, Any]:
    """The row's event, one that the fold can live with. Raises ValueError in words."""
    if not data:
        raise ValueError("the column `data` is empty")
    try:
        body = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the column `data` is not JSON that can be stored: {error}") from error
    if not isinstance(body, dict):
        raise ValueError("the column `data` holds no JSON object")
    stamp = body.get("timestamp")
    if not isinstance(stamp, int | float) or not 0 <= stamp < _YEAR_10000:
        raise ValueError(f"the event has no possible timestamp: {stamp!r:.40}")
    from_json(body)
    return body


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
