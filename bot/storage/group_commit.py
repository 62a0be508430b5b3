"""SQLite's single writer: one thread, one connection, many functions to a commit. Knows nothing of the tables.

Invariants: a future is resolved only after the COMMIT that holds its function's work; a function that raises undoes
its own work only. There is no fixed delay: what queued while the last commit ran is the next group.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from bot.errors import StorageError

MAX_GROUP = 128  # bounds how long the first function of a group waits for its commit


@dataclass(kw_only=True, eq=False)
class _Job:
    fn: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = field(default=None)


class GroupCommitWriter:
    """Runs functions over the one writing connection, in the order submitted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_closed = False
        self._conn: Connection | None = None  # the thread's own
        self._thread = threading.Thread(target=self._run, name="kefu-sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[[Connection], Any]) -> asyncio.Future[Any]:
        """Queue the function; the future resolves once its work is on disk. Call it on a running event loop."""
        if self._is_closed:
            raise StorageError("the database is closed; nothing more can be written")
        loop = asyncio.get_running_loop()
        job = _Job(fn=fn, loop=loop, future=loop.create_future())
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish what is queued, then stop the thread."""
        if not self._is_closed:
            self._is_closed = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (group := self._next_group()) is not None:
            self._commit_group(group)
        if self._conn is not None:
            self._conn.close()

    def _next_group(self) -> list[_Job] | None:
        first = self._jobs.get()
        if first is None:
            return None
        group = [first]
        while len(group) < MAX_GROUP:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            group.append(job)
        return group

    def _commit_group(self, group: list[_Job]) -> None:
        try:
            if self._conn is None:
                self._conn = self._engine.connect()
            self._conn.begin()
            driver = self._conn.connection.driver_connection
            for job in group:
                _run_in_savepoint(self._conn, driver, job)
            self._conn.commit()
        except (SQLAlchemyError, StorageError) as error:
            self._abandon()
            refused = StorageError(f"SQLite did not commit ({error}); nothing of this group was stored")
            refused.__cause__ = error
            for job in group:
                job.error = job.error or refused
        except BaseException as error:  # noqa: BLE001 - the thread outlives whatever a job raised; its caller is told
            self._abandon()
            for job in group:
                job.error = job.error or error
        _resolve(group)

    def _abandon(self) -> None:
        """Undo the group; the next one starts with a fresh connection, whatever has become of this one."""
        if self._conn is not None:
            with suppress(SQLAlchemyError):
                self._conn.invalidate()  # SQLAlchemy takes a refused COMMIT for an end; only closing the file is one
                self._conn.close()
            self._conn = None


def _run_in_savepoint(conn: Connection, driver: Any, job: _Job) -> None:
    driver.execute("SAVEPOINT job")
    try:
        job.result = job.fn(conn)
    except Exception as error:
        job.error = error
        if not driver.in_transaction:  # disk full, I/O error: SQLite has undone the whole group
            raise StorageError(f"SQLite rolled the transaction back: {error}") from error
        driver.execute("ROLLBACK TO job")
    driver.execute("RELEASE job")


def _resolve(group: list[_Job]) -> None:
    """One wake-up per event loop for the whole group."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():  # the caller was cancelled; its work is committed all the same
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
