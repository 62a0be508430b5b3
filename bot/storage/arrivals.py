"""How a customer's message comes in: identity, conversation, transcript number, one commit. The rest is `inbox.py`'s.

Invariants: a message is numbered under its conversation's row, so that what becomes visible later is numbered later;
the key (assistant, channel, account, external_id) is stored once, whatever is retried, in parallel or after a crash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, case, func, literal, select, update

from bot.storage.dialects import for_, with_insert
from bot.storage.notify import tell_inbound
from bot.storage.state import set_values
from bot.storage.tables import conversations, customers, identities, inbox
from bot.storage.types import Json, UtcDateTime
from connectors.base import BadRequest, InboundMessage, Receipt, StateChange, check_inbound, storable_text
from connectors.files import Correspondent

_KEY = ("assistant_id", "channel", "account", "external_id")
_reopened = case((conversations.c.status.in_(("resolved", "closed")), "open"), else_=conversations.c.status)

# The row lock makes a concurrent sender of the same conversation wait and then read the new last_seq.
_PLACE = with_insert(
    lambda insert: (
        insert(inbox)
        .from_select(
            [
                *("assistant_id", "conversation_id", "customer_id", "channel", "account", "external_id"),
                *("seq", "text", "body", "state", "attempts", "received_at"),
            ],
            select(
                conversations.c.assistant_id,
                conversations.c.id,
                conversations.c.customer_id,
                conversations.c.channel,
                conversations.c.account,
                bindparam("new_external_id", type_=Text),
                conversations.c.last_seq + 1,
                bindparam("new_text", type_=Text),
                bindparam("new_body", type_=Json),
                literal("waiting", Text),
                literal(0, Integer),
                bindparam("arrived_at", type_=UtcDateTime),
            )
            .join(identities, identities.c.id == conversations.c.identity_id)
            .where(
                conversations.c.assistant_id == bindparam("assistant"),
                conversations.c.sender_id == bindparam("sender"),
                identities.c.channel == bindparam("from_channel"),
                identities.c.account == bindparam("from_account"),
                identities.c.external_id == bindparam("customer"),
            )
            .with_for_update(of=conversations),
        )
        .on_conflict_do_nothing(index_elements=list(_KEY))
        .returning(inbox.c.id, inbox.c.conversation_id, inbox.c.seq)
    )
)
_ADVANCE = (
    update(conversations)
    .where(conversations.c.id == bindparam("conversation"))
    .values(
        last_seq=bindparam("place", type_=Integer),
        waiting=conversations.c.waiting + 1,
        claimable_at=func.coalesce(conversations.c.claimable_at, bindparam("now", type_=UtcDateTime)),
        status=_reopened,
        updated_at=bindparam("now", type_=UtcDateTime),
    )
)
_ORIGINAL = (
    select(inbox.c.id, inbox.c.conversation_id, inbox.c.seq, conversations.c.sender_id, identities.c.external_id)
    .join(conversations, conversations.c.id == inbox.c.conversation_id)
    .join(identities, identities.c.id == conversations.c.identity_id)
    .where(
        inbox.c.assistant_id == bindparam("assistant"),
        inbox.c.channel == bindparam("from_channel"),
        inbox.c.account == bindparam("from_account"),
        inbox.c.external_id == bindparam("new_external_id"),
    )
)


def accept(
    conn: Connection,
    assistant_id: str,
    batch: Sequence[InboundMessage],
    state_changes: Sequence[StateChange],
    now: datetime,
) -> list[Receipt]:
    """Store the messages and the connector's own values; a repeated message gets its first receipt again.

    Creates customer, identity and conversation where they are new, and reopens a resolved or closed conversation.

    Raises:
        BadRequest: an id cannot be used, or belongs to another customer's conversation; nothing of the batch is stored.
    """
    receipts = [_accept_one(conn, assistant_id, message, now) for message in batch]
    if state_changes:
        set_values(conn, assistant_id, state_changes, now)
    if not all(receipt.is_duplicate for receipt in receipts):
        tell_inbound(conn, assistant_id)
    return receipts


def _accept_one(conn: Connection, assistant_id: str, message: InboundMessage, now: datetime) -> Receipt:
    check_inbound(message)
    values = _inbox_values(assistant_id, message)
    receipt = _place(conn, values, now) or _find_original(conn, values)
    if receipt is None:
        _create_conversation(conn, values, message.thread, now)
        # Another process may have been first with the conversation, and even with this very message.
        receipt = _place(conn, values, now) or _find_original(conn, values)
    if receipt is None:
        raise BadRequest(f"sender_id {message.sender_id!r} belongs to another customer or channel")
    return receipt


def _find_original(conn: Connection, values: Mapping[str, Any]) -> Receipt | None:
    """The receipt of the message stored under the same key, if it is this customer's."""
    original = conn.execute(_ORIGINAL, values).one_or_none()
    if original is None:
        return None
    if (original.sender_id, original.external_id) != (values["sender"], values["customer"]):
        raise BadRequest(f"external_id {values['new_external_id']!r} was used in another conversation of this channel")
    return Receipt(
        inbound_id=original.id, conversation_id=original.conversation_id, seq=original.seq, is_duplicate=True
    )


def _inbox_values(assistant_id: str, message: InboundMessage) -> dict[str, Any]:
    return {
        "assistant": assistant_id,
        "from_channel": message.channel,
        "from_account": message.account,
        "new_external_id": message.external_id,
        "customer": message.customer,
        "sender": message.sender_id,
        "new_text": storable_text(message.text),
        "new_body": {
            "metadata": dict(message.metadata),
            "input_channel": message.input_channel,
            "language_hint": message.language_hint,
            **({"command": dict(message.command)} if message.command is not None else {}),
        },
        "arrived_at": message.received_at,
    }


def _place(conn: Connection, values: Mapping[str, Any], now: datetime) -> Receipt | None:
    """Number and store the message; None when it is a repeat or this customer has no such conversation."""
    placed = conn.execute(for_(conn, _PLACE), values).one_or_none()
    if placed is None:
        return None
    conn.execute(_ADVANCE, {"conversation": placed.conversation_id, "place": placed.seq, "now": now})
    return Receipt(inbound_id=placed.id, conversation_id=placed.conversation_id, seq=placed.seq, is_duplicate=False)


_OPEN = (
    select(conversations.c.id, conversations.c.customer_id)
    .join(identities, identities.c.id == conversations.c.identity_id)
    .where(
        conversations.c.assistant_id == bindparam("assistant"),
        conversations.c.sender_id == bindparam("sender"),
        identities.c.channel == bindparam("from_channel"),
        identities.c.account == bindparam("from_account"),
        identities.c.external_id == bindparam("customer"),
    )
)


def open_conversation(conn: Connection, assistant_id: str, who: Correspondent, now: datetime) -> tuple[int, int]:
    """The ids of the conversation and its customer; made where they are new, for what comes before a first message.

    Raises:
        BadRequest: the conversation is another customer's, or `who.must_exist` and it does not.
    """
    values = {
        "assistant": assistant_id,
        "from_channel": who.channel,
        "from_account": who.account,
        "customer": who.customer,
        "sender": who.sender_id,
    }
    found = conn.execute(_OPEN, values).one_or_none()
    if found is None and not who.must_exist:
        _create_conversation(conn, values, who.thread, now)
        found = conn.execute(_OPEN, values).one_or_none()
    if found is None:
        raise BadRequest(f"sender_id {who.sender_id!r} belongs to another customer or channel")
    return found.id, found.customer_id


_IDENTITY = select(identities.c.id, identities.c.customer_id).where(
    identities.c.assistant_id == bindparam("assistant"),
    identities.c.channel == bindparam("from_channel"),
    identities.c.account == bindparam("from_account"),
    identities.c.external_id == bindparam("customer"),
)
_ADD_CUSTOMER = with_insert(lambda insert: insert(customers).returning(customers.c.id))
_ADD_IDENTITY = with_insert(
    lambda insert: insert(identities).on_conflict_do_nothing(index_elements=list(_KEY)).returning(identities.c.id)
)
_ADD_CONVERSATION = with_insert(
    lambda insert: insert(conversations).on_conflict_do_nothing(index_elements=["assistant_id", "sender_id"])
)
_DROP_CUSTOMER = customers.delete().where(customers.c.id == bindparam("customer_row"))


def _create_conversation(conn: Connection, values: Mapping[str, Any], thread: str, now: datetime) -> None:
    identity_id, customer_id = _find_or_add_identity(conn, values, now)
    conn.execute(
        for_(conn, _ADD_CONVERSATION),
        {
            "assistant_id": values["assistant"],
            "channel": values["from_channel"],
            "account": values["from_account"],
            "thread": thread,
            "sender_id": values["sender"],
            "customer_id": customer_id,
            "identity_id": identity_id,
            "status": "open",
            "last_seq": 0,
            "event_seq": 0,
            "waiting": 0,
            "fence": 0,
            "created_at": now,
            "updated_at": now,
        },
    )


def _find_or_add_identity(conn: Connection, values: Mapping[str, Any], now: datetime) -> tuple[int, int]:
    """The identity's id and its customer's; one customer each, also when two requests meet a new person at once."""
    known = conn.execute(_IDENTITY, values).one_or_none()
    if known is not None:
        return known.id, known.customer_id
    filed = {"assistant_id": values["assistant"], "created_at": now}
    customer_id: int = conn.execute(for_(conn, _ADD_CUSTOMER), filed).scalar_one()
    added: int | None = conn.execute(
        for_(conn, _ADD_IDENTITY),
        {
            **filed,
            "customer_id": customer_id,
            "channel": values["from_channel"],
            "account": values["from_account"],
            "external_id": values["customer"],
        },
    ).scalar_one_or_none()
    if added is not None:
        return added, customer_id
    conn.execute(_DROP_CUSTOMER, {"customer_row": customer_id})
    winner = conn.execute(_IDENTITY, values).one()
    return winner.id, winner.customer_id
