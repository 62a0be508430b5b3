"""Rasa's SQL event broker: a table `events` (id, sender_id, data) in a database of the company's own.

Invariant: a batch is stored whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import URL, Column, Integer, MetaData, String, Table, Text, create_engine, insert, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from bot.errors import ConfigurationError
from bot.storage.types import to_json

_metadata = MetaData()
_events = Table(
    "events",
    _metadata,
    Column("id", Integer, primary_key=True),
    Column("sender_id", String(255)),
    Column("data", Text),
)


class EventTable:
    """The table, made where it is missing."""

    def __init__(self, url: URL) -> None:
        """Raises ConfigurationError where the database's driver is not installed."""
        try:
            self._engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigurationError(
                f"endpoints.yml, event_broker: `dialect: {url.drivername}` cannot be used ({error}); "
                "sqlite works as it is, postgresql needs pip install 'kefu[postgres]', others their own driver"
            ) from error
        self._is_made = False

    def add(self, sender_id: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Store a batch of one conversation, in order. Raises what the driver raises."""
        if not self._is_made:
            _metadata.create_all(self._engine)
            self._is_made = True
        rows = [{"sender_id": sender_id, "data": to_json(event)} for event in events]
        with self._engine.begin() as conn:
            conn.execute(insert(_events), rows)

    def close(self) -> None:
        self._engine.dispose()


def table_url(settings: Mapping[str, Any], root: Path, own: str) -> URL:
    """The database that Rasa's settings (`dialect`, `url`, `port`, `db`, `username`, `password`, `query`) name.

    Args:
        root: what a relative SQLite file is relative to.
        own: the URL of Kefu's own database.
    Raises:
        ConfigurationError: the settings make no URL, or name Kefu's own database, whose table `events` is another.
    """
    try:
        url = _url(settings, root)
        is_own = _place(url) == _place(make_url(own))
    except (ArgumentError, ValueError, TypeError) as error:
        raise ConfigurationError("endpoints.yml, event_broker: its settings make no database URL") from error
    if is_own:
        raise ConfigurationError(
            "endpoints.yml, event_broker: this is Kefu's own database, whose table `events` is another; give it a `db` "
            "of its own"
        )
    return url


def _url(settings: Mapping[str, Any], root: Path) -> URL:
    host = settings.get("url") or settings.get("host")
    if host and "://" in host:
        url = make_url(host)
    else:
        parsed = urlsplit(f"//{host}") if host else None
        port = (parsed.port if parsed else None) or settings.get("port")
        url = URL.create(
            str(settings.get("dialect") or "sqlite"),
            username=settings.get("username"),
            password=settings.get("password"),
            host=parsed.hostname if parsed else None,
            port=int(port) if port else None,
            database=str(settings.get("db") or "events.db"),
            query=settings.get("query") or {},
        )
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return url.set(database=str(root / str(url.database)))
    return url


def _place(url: URL) -> tuple[str, str | None, int | None, str | None]:
    if url.get_backend_name() == "sqlite":
        return "sqlite", None, None, str(Path(url.database or "").resolve())
    return url.get_backend_name(), url.host or str(url.query.get("host") or ""), url.port or 5432, url.database
