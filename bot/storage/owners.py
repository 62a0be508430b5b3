"""Whose conversation a sender_id names: what somebody other than its channel needs in order to write into it.

Invariant: reads only; the answer is what `arrivals.accept` will compare a message with.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from bot.storage.tables import conversations, identities


@dataclass(frozen=True, kw_only=True)
class Owner:
    """`customer` is the channel's id of the person."""

    channel: str
    account: str
    thread: str
    customer: str


_OWNER = (
    select(conversations.c.channel, conversations.c.account, conversations.c.thread, identities.c.external_id)
    .join(identities, identities.c.id == conversations.c.identity_id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        conversations.c.sender_id == bindparam("sender"),
    )
)


def owner_of(conn: Connection, assistant_id: str, sender_id: str) -> Owner | None:
    """None where there is no such conversation yet."""
    row = conn.execute(_OWNER, {"assistant": assistant_id, "sender": sender_id}).one_or_none()
    if row is None:
        return None
    return Owner(channel=row.channel, account=row.account, thread=row.thread, customer=row.external_id)
