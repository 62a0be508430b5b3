"""The databases that the contract suites run over: SQLite, and a real PostgreSQL started once a session."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.storage.database import Database
from tests.postgres import forget_rows, new_postgres

BOTH = (
    pytest.param("sqlite", marks=pytest.mark.sqlite("the contract's other half")),
    pytest.param("postgresql", marks=pytest.mark.postgres),
)


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'kefu.db'}"
    return new_postgres(request.getfixturevalue("postgres_server"))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file to copy."""
    file = tmp_path_factory.mktemp("sqlite") / "kefu.db"
    database = Database.open(f"sqlite:///{file}")
    database.upgrade()
    database.dispose()
    return file


def migrated_url(request: pytest.FixtureRequest, dialect: str, folder: Path) -> str:
    """A migrated database without any row."""
    if dialect == "sqlite":
        file = shutil.copy(request.getfixturevalue("migrated_sqlite"), folder / "kefu.db")
        return f"sqlite:///{file}"
    url: str = request.getfixturevalue("migrated_postgres")
    forget_rows(url)
    return url


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return migrated_url(request, request.param, tmp_path)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database.open(database_url)
    yield opened
    await opened.close()
