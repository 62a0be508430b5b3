"""The schema's version: Alembic run from inside the package, over a connection it is given.

Invariant: upgrading is one transaction under a lock, so that processes starting together do it once.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from bot.errors import SchemaOutdated

MIGRATIONS = Path(__file__).parent / "migrations"
_UPGRADE_LOCK = 0x6B656675  # any constant that is ours ("kefu"), for pg_advisory_xact_lock


def upgrade(conn: Connection) -> None:
    """Run the missing migrations in the connection's transaction.

    Raises:
        SchemaOutdated: the database was made by a newer program.
    """
    if conn.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE is the lock already
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    found = MigrationContext.configure(conn).get_current_revision()
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaOutdated(f"the database has schema {found}, made by a newer Kefu; install that version or newer")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")


def is_current(conn: Connection) -> bool:
    """Whether the database has exactly the newest revision of this program."""
    found = MigrationContext.configure(conn).get_current_revision()
    return found == ScriptDirectory(str(MIGRATIONS)).get_current_head()
