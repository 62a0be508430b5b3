"""One database, two kinds: how functions over a connection are run, made durable and retried. No tables, no queries.

Invariant: `await write(fn)` returns only once fn's work survives a power cut; when it raises, nothing of fn is stored
(except that a lost connection during COMMIT cannot be told from a commit: callers' inserts carry idempotency keys).
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from bot.errors import ConfigurationError, StorageError
from bot.storage import schema
from bot.storage.group_commit import GroupCommitWriter
from bot.storage.types import from_json, to_json

T = TypeVar("T")

SQLITE_READERS = 2
POSTGRES_CONNECTIONS = 8
BUSY_TIMEOUT_MS = 10_000  # another process (`kefu review import`) may hold SQLite's write lock this long
MAX_TRIES = 5
# hide_parameters: an error's text goes to the log, what a customer wrote does not.
_ENGINE: dict[str, Any] = {"json_serializer": to_json, "json_deserializer": from_json, "hide_parameters": True}
# The value is never shown: it holds a password.
_MALFORMED = (
    "KEFU_DATABASE_URL: not a database URL; write sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST:PORT/NAME, "
    "PORT a number, and in USER and PASSWORD every @ : / as %40 %3A %2F"
)
_RETRYABLE = {"40001", "40P01"}  # serialization failure, deadlock


class Database:
    """Where conversations live. Build it once with `open`, pass it down, `close` it at the end."""

    dialect: Literal["sqlite", "postgresql"]

    def __init__(self, url: URL) -> None:
        self.url = url
        self.dialect = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
        self._writer: GroupCommitWriter | None = None
        if self.dialect == "sqlite":
            _make_folder(Path(url.database or "").parent)
            self._engine = _sqlite_engine(url, "BEGIN IMMEDIATE", read_only=False, connections=2)
            self._reads = _sqlite_engine(url, "BEGIN", read_only=True, connections=SQLITE_READERS)
            self._threads = ThreadPoolExecutor(SQLITE_READERS, thread_name_prefix="kefu-sqlite-reader")
        else:
            self._engine = self._reads = create_engine(url, pool_size=POSTGRES_CONNECTIONS, max_overflow=0, **_ENGINE)
            self._threads = ThreadPoolExecutor(POSTGRES_CONNECTIONS, thread_name_prefix="kefu-postgres")

    @classmethod
    def open(cls, url: str) -> Database:
        """Connect lazily to `sqlite:///FILE` or `postgresql+psycopg://…`.

        Raises:
            ConfigurationError: the URL names no database that Kefu supports.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # neither text is passed on: both quote parts of the value
            raise ConfigurationError(_MALFORMED) from None
        if parsed.host and "@" in f"{parsed.host}{parsed.database}":  # a password's own @ or /, not encoded
            raise ConfigurationError(_MALFORMED)
        kind = parsed.get_backend_name()
        if kind == "postgresql":
            return cls(parsed.set(drivername="postgresql+psycopg"))
        if kind != "sqlite":
            raise ConfigurationError(
                f"KEFU_DATABASE_URL: {kind!r} is not supported; use sqlite:///FILE or postgresql+psycopg://…"
            )
        if parsed.database in (None, "", ":memory:"):
            raise ConfigurationError("KEFU_DATABASE_URL: SQLite needs a file (sqlite:///FILE); memory is not durable")
        return cls(parsed)

    @property
    def place(self) -> str:
        """Where it is, for people; without user and password."""
        if self.dialect == "sqlite":
            return str(self.url.database)
        host = self.url.host or self.url.query.get("host") or "localhost"
        return f"{host}:{self.url.port or 5432}/{self.url.database or ''}"

    async def write(self, fn: Callable[[Connection], T]) -> T:
        """Run fn in a transaction; durable when it returns.

        On SQLite many fns share one commit, each in a savepoint of its own. On PostgreSQL fn runs again after a
        deadlock, a serialization failure or a connection lost before its commit, so it must do nothing but SQL.
        """
        if self.dialect == "sqlite":
            if self._writer is None:
                self._writer = GroupCommitWriter(self._engine)
            return await self._writer.submit(fn)  # type: ignore[no-any-return]  # the queue holds functions of any result
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._run_now(self._engine, fn, commits=True)
        )

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run fn over a connection that sees what is committed. On SQLite it cannot write."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: self._run_now(self._reads, fn, commits=False)
        )

    def write_now(self, fn: Callable[[Connection], T]) -> T:
        """`write` on this thread, for a program that runs no event loop; PostgreSQL only."""
        return self._run_now(self._engine, fn, commits=True)

    def read_now(self, fn: Callable[[Connection], T]) -> T:
        """`read` on this thread."""
        return self._run_now(self._reads, fn, commits=False)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """While this lasts nobody else, on whatever machine, is alone with this; who asks waits. PostgreSQL only."""
        with self._explained(), self._engine.connect() as conn:
            # Without a transaction, which would keep dead rows for as long as this lasts.
            held = conn.execution_options(isolation_level="AUTOCOMMIT")
            held.execute(text("SELECT pg_advisory_lock(hashtextextended(:what, 0))"), {"what": what})
            try:
                yield
            finally:
                held.execute(text("SELECT pg_advisory_unlock(hashtextextended(:what, 0))"), {"what": what})

    def upgrade(self) -> None:
        """Bring the schema to this program's version. Safe when several processes do it at once.

        Raises:
            StorageError: the database cannot be reached.
        """
        with self._explained(), self._engine.begin() as conn:
            schema.upgrade(conn)

    def is_current(self) -> bool:
        """Whether the schema is exactly the one this program was written for.

        Raises:
            StorageError: the database cannot be reached.
        """
        with self._explained(), self._reads.connect() as conn:
            return schema.is_current(conn)

    async def close(self) -> None:
        """Finish what is queued, then let go of every connection."""
        await asyncio.get_running_loop().run_in_executor(None, self.dispose)

    def dispose(self) -> None:
        """`close` for a program that runs no event loop (migrations)."""
        if self._writer is not None:
            self._writer.close()
        self._threads.shutdown(wait=True)
        self._reads.dispose()
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """A database that is not there is an everyday mistake: one sentence and what to do."""
        try:
            yield
        except DBAPIError as error:
            if not _is_away(error):
                raise
            remedy = (
                "is the file a SQLite database that this user may write?"
                if self.dialect == "sqlite"
                else "is PostgreSQL running there, and is KEFU_DATABASE_URL right (host, port, name, user, password)?"
            )
            raise StorageError(f"the database {self.place} cannot be used: {error.orig}\n  {remedy}") from error

    def _run_now(self, engine: Engine, fn: Callable[[Connection], T], *, commits: bool) -> T:
        for attempt in range(1, MAX_TRIES + 1):
            try:
                with engine.connect() as conn:
                    result = fn(conn)
                    if commits:
                        _commit(conn)
                    return result
            except DBAPIError as error:
                _give_up_or_wait(error, attempt)
        raise AssertionError("unreachable: the last try returns or raises")


def _commit(conn: Connection) -> None:
    try:
        conn.commit()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StorageError("the connection broke during COMMIT; it may or may not be stored") from error
        raise


def _give_up_or_wait(error: DBAPIError, attempt: int) -> None:
    """Return, after a short random wait, when trying again can help; else raise.

    Raises:
        StorageError: the database is away, or the conflict did not pass in `MAX_TRIES` tries.
        DBAPIError: the statement itself is wrong.
    """
    is_conflict = getattr(error.orig, "sqlstate", None) in _RETRYABLE
    if not (is_conflict or _is_away(error)):
        raise error
    if attempt == MAX_TRIES:
        raise StorageError(f"the database refused {MAX_TRIES} times: {error.orig}") from error
    time.sleep(random.uniform(0, 0.01 * 2**attempt))


def _is_away(error: DBAPIError) -> bool:
    return error.connection_invalidated or error.statement is None  # no statement: it could not even connect


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the database's folder {folder} cannot be made ({error.strerror}); set KEFU_HOME or KEFU_DATABASE_URL to "
            "a place that this user may write"
        ) from error


def _sqlite_engine(url: URL, begin: str, *, read_only: bool, connections: int) -> Engine:
    # isolation_level=None: the driver starts no transaction by itself; `begin` below does, and says which kind.
    engine = create_engine(
        url,
        connect_args={"isolation_level": None, "check_same_thread": False},
        pool_size=connections,
        **_ENGINE,
    )

    @event.listens_for(engine, "connect")
    def _configure(driver: Any, _record: object) -> None:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        driver.execute("PRAGMA foreign_keys = ON")
        if read_only:
            driver.execute("PRAGMA query_only = ON")
        else:
            _write_ahead(driver)
            driver.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine


def _write_ahead(driver: Any) -> None:
    """Turn the write-ahead log on. SQLite does not wait for this lock: of programs that start together all but one
    are told at once that the new file is busy, whatever `busy_timeout` says."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
