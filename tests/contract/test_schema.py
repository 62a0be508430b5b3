"""Migrations lead from nothing to exactly the tables the code speaks of, once, on both databases."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from bot.errors import ConfigurationError, SchemaOutdated
from bot.storage.database import Database
from bot.storage.tables import metadata


def test_migrating_an_empty_database_gives_the_tables_of_the_code(empty_url: str) -> None:
    database = Database.open(empty_url)
    assert not database.is_current()
    database.upgrade()
    assert database.is_current()
    database.upgrade()
    database.dispose()
    engine = create_engine(empty_url)
    with engine.connect() as conn:
        assert compare_metadata(MigrationContext.configure(conn, opts={"compare_type": True}), metadata) == []
    engine.dispose()


def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    databases = [Database.open(empty_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda database: database.upgrade(), databases))
    for database in databases:
        assert database.is_current()
        database.dispose()


def test_a_new_sqlite_file_that_another_program_is_writing_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "kefu.db"
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
    database = Database.open(f"sqlite:///{file}")
    database.upgrade()
    assert database.is_current()
    database.dispose()
    other.close()


def test_a_database_of_a_newer_program_is_left_alone(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database = Database.open(database_url)
    try:
        assert not database.is_current()
        with pytest.raises(SchemaOutdated, match="newer Kefu"):
            database.upgrade()
    finally:
        database.dispose()
        with engine.begin() as conn:  # the PostgreSQL database is used by the next test
            conn.execute(text("UPDATE alembic_version SET version_num = '0005'"))
        engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/d", "no url"])
def test_a_url_that_names_no_durable_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="KEFU_DATABASE_URL"):
        Database.open(url)
