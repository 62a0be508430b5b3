"""The few statements the two databases spell differently. No tables here.

Invariant: a statement is built once, at import, so that SQLAlchemy compiles it once and each use is a look-up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Executable
from sqlalchemy.dialects import postgresql, sqlite

PerDialect = Mapping[str, Executable]


def with_insert(build: Callable[[Any], Executable]) -> PerDialect:
    """Build a statement with each dialect's own `insert`, the one that knows ON CONFLICT."""
    return {"sqlite": build(sqlite.insert), "postgresql": build(postgresql.insert)}


def for_(conn: Connection, statement: PerDialect) -> Executable:
    return statement[conn.dialect.name]
