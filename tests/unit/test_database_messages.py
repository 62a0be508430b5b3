"""What people read when the database's address is wrong or nobody answers there; never a password."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import ConfigurationError, StorageError
from bot.storage.database import Database
from tests.server import free_port

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"postgres:kefu:{SECRET}@host/db",
        f"postgresql://kefu:{SECRET}@host:port/db",
        f"postgresql://kefu:{SECRET}@host:54x32/db",
        f"postgresql://kefu:p@{SECRET}@host/db",
        f"postgresql://kefu:p@x/{SECRET}@host/db",
        f"mysql://kefu:{SECRET}@host/db",
        SECRET,
    ],
)
def test_a_malformed_url_is_one_message_without_its_value(url: str) -> None:
    with pytest.raises(ConfigurationError, match="KEFU_DATABASE_URL") as caught:
        Database.open(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_server_that_is_away_is_named_with_what_to_do() -> None:
    port = free_port()
    db = Database.open(f"postgresql://kefu:{SECRET}@127.0.0.1:{port}/shop")
    try:
        for ask in (db.upgrade, db.is_current):
            with pytest.raises(StorageError, match=f"127.0.0.1:{port}/shop") as caught:
                ask()
            assert "PostgreSQL running" in str(caught.value)
            assert SECRET not in str(caught.value)
    finally:
        db.dispose()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "kefu.db").write_text("a shopping list, and quite a long one at that" * 100)
    db = Database.open(f"sqlite:///{tmp_path / 'kefu.db'}")
    try:
        with pytest.raises(StorageError, match=r"kefu\.db cannot be used"):
            db.upgrade()
    finally:
        db.dispose()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="KEFU_HOME"):
        Database.open(f"sqlite:///{tmp_path / 'file' / 'kefu.db'}")


def test_a_place_shows_neither_user_nor_password() -> None:
    db = Database.open(f"postgresql://kefu:{SECRET}@db.example:6432/shop?password={SECRET}")
    try:
        assert db.place == "db.example:6432/shop"
    finally:
        db.dispose()
