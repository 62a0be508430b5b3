"""The rows of files: whose they are, what they are called, whether they are there. The content is `bot/files.py`'s.

Invariant: a row is there before its content and after it, so that no content is ever kept that nobody would erase.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from bot.storage.arrivals import open_conversation
from bot.storage.tables import conversations, files
from connectors.base import storable_text
from connectors.files import Correspondent, StoredFile, StoreFull

# A writer that has not finished after this long is dead.
UNFINISHED_AFTER = timedelta(hours=1)

_SHOWN = (files.c.id, files.c.name, files.c.media_type, files.c.size)
_IS_THERE = (files.c.stored_at.is_not(None), files.c.deleted_at.is_(None))


def begin(
    conn: Connection, assistant_id: str, owner: Correspondent, file: StoredFile, now: datetime, total_bytes: int
) -> None:
    """Note a file whose content is about to be written; nobody finds it before `finish`.

    Raises:
        BadRequest: the conversation is another customer's.
        StoreFull: with it there would be more than `total_bytes`. On PostgreSQL, files that begin in the same instant
            do not see each other, and may together exceed it.
    """
    if kept_bytes(conn, assistant_id) + file.size > total_bytes:
        raise StoreFull
    conversation_id, customer_id = open_conversation(conn, assistant_id, owner, now)
    conn.execute(
        files.insert().values(
            id=file.id,
            assistant_id=assistant_id,
            conversation_id=conversation_id,
            customer_id=customer_id,
            name=file.name,
            media_type=file.media_type,
            size=file.size,
            created_at=now,
        )
    )


def kept_bytes(conn: Connection, assistant_id: str) -> int:
    """What all files take up together, those included that are being written."""
    kept = select(func.coalesce(func.sum(files.c.size), 0)).where(
        files.c.assistant_id == assistant_id, files.c.deleted_at.is_(None)
    )
    return int(conn.execute(kept).scalar_one())


def finish(conn: Connection, assistant_id: str, file_id: str, now: datetime) -> bool:
    """The content is written; False when the file was erased meanwhile."""
    there = update(files).where(files.c.assistant_id == assistant_id, files.c.id == file_id)
    return conn.execute(there.where(files.c.deleted_at.is_(None)).values(stored_at=now)).rowcount == 1


def count_since(conn: Connection, assistant_id: str, sender_id: str, since: datetime) -> int:
    """How many files a conversation got, those included that are gone."""
    counted = (
        select(func.count())
        .select_from(files.join(conversations, conversations.c.id == files.c.conversation_id))
        .where(
            conversations.c.assistant_id == assistant_id,
            conversations.c.sender_id == sender_id,
            files.c.created_at > since,
        )
    )
    return conn.execute(counted).scalar_one()


def find(conn: Connection, assistant_id: str, sender_id: str, ids: Collection[str]) -> list[StoredFile]:
    """Those of the ids that are this conversation's and still there."""
    wanted = (
        select(*_SHOWN)
        .join(conversations, conversations.c.id == files.c.conversation_id)
        .where(
            conversations.c.assistant_id == assistant_id,
            conversations.c.sender_id == sender_id,
            files.c.id.in_(sorted({storable_text(one) for one in ids})),  # PostgreSQL takes no NUL, not even to compare
            *_IS_THERE,
        )
    )
    return [_file(row) for row in conn.execute(wanted)]


def get(conn: Connection, assistant_id: str, file_id: str) -> StoredFile | None:
    wanted = select(*_SHOWN).where(files.c.assistant_id == assistant_id, files.c.id == file_id, *_IS_THERE)
    row = conn.execute(wanted).one_or_none()
    return None if row is None else _file(row)


def due(conn: Connection, assistant_id: str, older_than: datetime, now: datetime, limit: int) -> list[str]:
    """Ids of what is to be deleted: too old, or never finished."""
    is_dead = files.c.stored_at.is_(None) & (files.c.created_at < now - UNFINISHED_AFTER)
    wanted = (
        select(files.c.id)
        .where(
            files.c.assistant_id == assistant_id,
            files.c.deleted_at.is_(None),
            or_(files.c.created_at < older_than, is_dead),
        )
        .order_by(files.c.created_at)
        .limit(limit)
    )
    return list(conn.execute(wanted).scalars())


def mark_deleted(conn: Connection, assistant_id: str, ids: Sequence[str], now: datetime) -> None:
    """Their content is gone; the conversation still shows that there was a file."""
    gone = update(files).where(files.c.assistant_id == assistant_id, files.c.id.in_(ids))
    conn.execute(gone.values(deleted_at=now))


def of_customer(conn: Connection, assistant_id: str, customer_id: int) -> list[str]:
    wanted = select(files.c.id).where(files.c.assistant_id == assistant_id, files.c.customer_id == customer_id)
    return list(conn.execute(wanted).scalars())


def forget(conn: Connection, assistant_id: str, ids: Sequence[str]) -> None:
    """Not even their names are kept."""
    conn.execute(files.delete().where(files.c.assistant_id == assistant_id, files.c.id.in_(ids)))


def _file(row: Row[*tuple[Any, ...]]) -> StoredFile:
    return StoredFile(id=row.id, name=row.name, media_type=row.media_type, size=row.size)
