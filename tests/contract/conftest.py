"""The databases that the contract suites run over: SQLite, and a real PostgreSQL started once a session."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest

from bot.storage.database import Database
from tests.postgres import PostgresServer, find_binaries

BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    binaries = find_binaries()
    if binaries is None:
        reason = "no PostgreSQL: install the package postgresql (initdb, pg_ctl and postgres are looked for)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    server = PostgresServer(binaries)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    """The name of a migrated, empty database to copy."""
    name = "kefu_template"
    _create(postgres_server, name)
    database = Database.open(postgres_server.url(name))
    database.upgrade()
    database.dispose()
    return name


def new_postgres(server: PostgresServer, template: str = "template1") -> str:
    """The URL of a new database of its own."""
    name = f"kefu_{next(_numbers)}"
    _create(server, name, template)
    return server.url(name)


def _create(server: PostgresServer, name: str, template: str = "template1") -> None:
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name} TEMPLATE {template}")  # type: ignore[arg-type]  # names are our own


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'kefu.db'}"
    return new_postgres(request.getfixturevalue("postgres_server"))


def migrated_url(request: pytest.FixtureRequest, dialect: str, folder: Path) -> str:
    """A migrated database without any row."""
    if dialect == "sqlite":
        url = f"sqlite:///{folder / 'kefu.db'}"
        database = Database.open(url)
        database.upgrade()
        database.dispose()
        return url
    return new_postgres(request.getfixturevalue("postgres_server"), request.getfixturevalue("migrated_postgres"))


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return migrated_url(request, request.param, tmp_path)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database.open(database_url)
    yield opened
    await opened.close()
