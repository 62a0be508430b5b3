"""Small durable values of connectors (cursors, tokens) and leases on them, shared by every process of one assistant.

Invariant: a value changes by one statement; of two racing writers exactly one is told that it won.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, or_, select, update

from bot.storage.dialects import for_, with_insert
from bot.storage.tables import channel_state, leases
from connectors.base import StateChange

_GET = select(channel_state.c.value).where(
    channel_state.c.assistant_id == bindparam("assistant"), channel_state.c.key == bindparam("name")
)
_REMOVE = (
    channel_state.delete()
    .where(channel_state.c.assistant_id == bindparam("assistant"), channel_state.c.key == bindparam("name"))
    .returning(channel_state.c.value)
)
_ADD = with_insert(
    lambda insert: (
        insert(channel_state)
        .on_conflict_do_nothing(index_elements=["assistant_id", "key"])
        .returning(channel_state.c.value)
    )
)
_SET = with_insert(
    lambda insert: (statement := insert(channel_state)).on_conflict_do_update(
        index_elements=["assistant_id", "key"],
        set_={"value": statement.excluded.value, "updated_at": statement.excluded.updated_at},
    )
)
_TAKE = with_insert(
    lambda insert: (
        (statement := insert(leases))
        .on_conflict_do_update(
            index_elements=["assistant_id", "key"],
            set_={"holder": statement.excluded.holder, "until": statement.excluded.until},
            where=or_(leases.c.holder == statement.excluded.holder, leases.c.until <= bindparam("now")),
        )
        .returning(leases.c.holder)
    )
)


def get(conn: Connection, assistant_id: str, key: str) -> str | None:
    value: str | None = conn.execute(_GET, {"assistant": assistant_id, "name": key}).scalar_one_or_none()
    return value


def take(conn: Connection, assistant_id: str, key: str) -> str | None:
    """Remove the value and return it."""
    value: str | None = conn.execute(_REMOVE, {"assistant": assistant_id, "name": key}).scalar_one_or_none()
    return value


def compare_and_set(
    conn: Connection, assistant_id: str, key: str, expected: str | None, value: str, now: datetime
) -> bool:
    """Set the value if it still is `expected` (None: if there is none yet); whether it was set."""
    if expected is None:
        row = {"assistant_id": assistant_id, "key": key, "value": value, "updated_at": now}
        return conn.execute(for_(conn, _ADD), row).scalar_one_or_none() is not None
    swap = (
        update(channel_state)
        .where(
            channel_state.c.assistant_id == assistant_id,
            channel_state.c.key == key,
            channel_state.c.value == expected,
        )
        .values(value=value, updated_at=now)
    )
    return conn.execute(swap).rowcount == 1


def set_values(conn: Connection, assistant_id: str, changes: Sequence[StateChange], now: datetime) -> None:
    """Set each value, whatever it was; the last change of a key wins."""
    for change in changes:
        row = {"assistant_id": assistant_id, "key": change.key, "value": change.value, "updated_at": now}
        conn.execute(for_(conn, _SET), row)


def lease(conn: Connection, assistant_id: str, key: str, holder: str, ttl_s: float, now: datetime) -> bool:
    """Whether `holder` has `key` until now + ttl_s; it does when nobody else's lease on it is alive."""
    row = {
        "assistant_id": assistant_id,
        "key": key,
        "holder": holder,
        "until": now + timedelta(seconds=ttl_s),
        "now": now,
    }
    return conn.execute(for_(conn, _TAKE), row).scalar_one_or_none() is not None
