"""A customer's words and names taken out of every table. The contents of files are `bot/files.py`'s.

Events, readings, labels, snapshots, reminders go. Conversations and the rows of messages stay, empty and without a
name: their numbers stand in transcripts, in the keys of custom actions and in what a platform was sent, and must not
come again.

Invariant: it is one transaction, and a turn or a sending that is under way when it commits cannot write any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, String, Table, Text, case, cast, func, literal, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from bot.storage.tables import (
    channel_state,
    conversations,
    events,
    identities,
    inbox,
    labels,
    leases,
    outbox,
    predictions,
    reminders,
    snapshots,
)

ERASED = "erased:"
_GONE = (labels, predictions, reminders, snapshots, events)


def customers_of(conn: Connection, assistant_id: str, who: str) -> list[int]:
    """Whom a sender_id names, or the e-mail address of a verified identity (whatever its case)."""
    email = inbox.c.body["metadata"]["identity"]["email"].as_string()
    by_sender = select(conversations.c.customer_id).where(
        conversations.c.assistant_id == assistant_id, conversations.c.sender_id == who
    )
    by_email = select(inbox.c.customer_id).where(inbox.c.assistant_id == assistant_id, func.lower(email) == who.lower())
    return sorted(set(conn.execute(by_sender).scalars()) | set(conn.execute(by_email).scalars()))


def counted(conn: Connection, customer_id: int) -> dict[str, int]:
    """How many rows of each table `erase` would empty or remove."""
    return {
        table.name: conn.execute(
            select(func.count()).select_from(table).where(table.c.customer_id == customer_id)
        ).scalar_one()
        for table in (conversations, inbox, outbox, *_GONE)
    }


def erase(conn: Connection, assistant_id: str, customer_id: int, now: datetime) -> dict[str, int]:
    """Empty or remove every row of the customer, and the channels' notes about them; how many of each table."""
    found = counted(conn, customer_id)
    names = _names(conn, customer_id)
    found |= {table.name: _forget_keys(conn, assistant_id, names, table) for table in (channel_state, leases)}
    for table in _GONE:
        conn.execute(table.delete().where(table.c.customer_id == customer_id))
    conn.execute(
        update(inbox)
        .where(inbox.c.customer_id == customer_id)
        .values(
            external_id=_erased(inbox.c.id),
            text="",
            body={"metadata": {}, "input_channel": "", "language_hint": None},
            state=case((inbox.c.state == "waiting", "dead"), else_=inbox.c.state),
            error=None,
        )
    )
    conn.execute(
        update(outbox)
        .where(outbox.c.customer_id == customer_id)
        .values(
            body={},
            metadata={},
            state="delivered",
            external_ref=None,
            error=None,
            lease_owner=None,
            lease_until=None,
            settled_at=func.coalesce(outbox.c.settled_at, literal(now, outbox.c.settled_at.type)),
        )
    )
    conn.execute(
        update(conversations)
        .where(conversations.c.customer_id == customer_id)
        .values(
            sender_id=_erased(conversations.c.id),
            thread="",
            language=None,
            status="closed",
            waiting=0,
            claimable_at=None,
            fence=conversations.c.fence + 1,
            lease_owner=None,
            lease_until=None,
        )
    )
    conn.execute(
        update(identities).where(identities.c.customer_id == customer_id).values(external_id=_erased(identities.c.id))
    )
    return found


def _erased(id_: ColumnElement[int]) -> ColumnElement[str]:
    return literal(ERASED, Text) + cast(id_, String)


def _forget_keys(conn: Connection, assistant_id: str, names: Sequence[tuple[str, str]], table: Table) -> int:
    """Keys "<channel>/…/<sender_id or the channel's own id of the person>"."""
    likely = select(table.c.key).where(
        table.c.assistant_id == assistant_id,
        or_(*(table.c.key.endswith(f"/{name}", autoescape=True) for _, name in names)),
    )
    # LIKE takes "a" for "A"; ids tell them apart.
    found = [key for key in conn.execute(likely).scalars() if _is_about(key, names)]
    if found:
        conn.execute(table.delete().where(table.c.assistant_id == assistant_id, table.c.key.in_(found)))
    return len(found)


def _is_about(key: str, names: Sequence[tuple[str, str]]) -> bool:
    return any(key.startswith(f"{channel}/") and key.endswith(f"/{name}") for channel, name in names)


def _names(conn: Connection, customer_id: int) -> list[tuple[str, str]]:
    senders = select(conversations.c.channel, conversations.c.sender_id).where(
        conversations.c.customer_id == customer_id
    )
    people = select(identities.c.channel, identities.c.external_id).where(identities.c.customer_id == customer_id)
    return [(row[0], row[1]) for statement in (senders, people) for row in conn.execute(statement)]
