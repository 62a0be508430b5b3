"""Every table. No queries here; the migrations repeat these definitions and a test holds the two equal.

Invariants:
- every table with customer data carries `customer_id`, so that export and erasure are one WHERE clause;
- `conversations` is the lock: whoever allocates a transcript `seq`, claims, or appends events has its row locked;
- `conversations.claimable_at` is the whole schedule: NULL = nothing waits, else the instant from which a worker may
  claim the conversation (its arrival, the retry time of its head, or the end of the lease that holds it); `waiting`
  counts its waiting inbox rows;
- what `bot.storage.passages` keeps in tables of its own, one set an index, is named in `knowledge_indexes`.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from bot.storage.types import Id, Json, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _customer() -> Column[int]:
    """Rows below a conversation are found and guarded by it; a foreign key of each to customers would cost an index."""
    return Column("customer_id", Id, nullable=False)


def _owner() -> Column[int]:
    return Column("customer_id", Id, ForeignKey("customers.id"), nullable=False, index=True)


def _conversation() -> Column[int]:
    return Column("conversation_id", Id, ForeignKey("conversations.id"), nullable=False)


customers = Table(
    "customers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

identities = Table(
    "identities",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _owner(),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("assistant_id", "channel", "account", "external_id"),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _owner(),
    Column("identity_id", Id, ForeignKey("identities.id"), nullable=False),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("sender_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("language", Text),
    Column("last_seq", Integer, nullable=False),  # of the transcript: inbox and outbox rows share the numbers 1, 2, …
    Column("event_seq", Integer, nullable=False),  # of the event log
    Column("waiting", Integer, nullable=False),
    Column("claimable_at", UtcDateTime),
    Column("fence", Id, nullable=False),  # grows with every claim; a worker holding an older one is refused
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    UniqueConstraint("assistant_id", "sender_id"),
    CheckConstraint("status IN ('open', 'waiting', 'with_operator', 'resolved', 'closed')", name="status"),
    CheckConstraint("waiting >= 0", name="waiting"),
)
Index(
    "ix_conversations_claimable",
    conversations.c.assistant_id,
    conversations.c.claimable_at,
    sqlite_where=conversations.c.claimable_at.is_not(None),
    postgresql_where=conversations.c.claimable_at.is_not(None),
)
Index("ix_conversations_idle", conversations.c.assistant_id, conversations.c.status, conversations.c.updated_at)

inbox = Table(
    "inbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _conversation(),
    _customer(),
    Column("channel", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("body", Json, nullable=False),  # what else the channel said: metadata, input_channel, language_hint
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("error", Text),
    Column("received_at", UtcDateTime, nullable=False),
    Column("done_at", UtcDateTime),
    UniqueConstraint("assistant_id", "channel", "account", "external_id"),
    UniqueConstraint("conversation_id", "seq"),
    CheckConstraint("state IN ('waiting', 'done', 'dead')", name="state"),
)
Index(
    "ix_inbox_waiting",
    inbox.c.conversation_id,
    inbox.c.seq,
    sqlite_where=inbox.c.state == "waiting",
    postgresql_where=inbox.c.state == "waiting",
)

events = Table(
    "events",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _customer(),
    Column("type", Text, nullable=False),
    Column("timestamp", Double, nullable=False),  # Rasa's float seconds, as inside the body
    Column("body", Json, nullable=False),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("conversation_id", Id, ForeignKey("conversations.id"), primary_key=True, autoincrement=False),
    _customer(),
    Column("event_seq", Integer, nullable=False),
    Column("body", Json, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _conversation(),
    _customer(),
    Column("inbound_id", Id, ForeignKey("inbox.id")),
    Column("part", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("channel", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("body", Json, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", UtcDateTime),
    Column("lease_owner", Text),
    Column("lease_until", UtcDateTime),
    Column("external_ref", Text),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    UniqueConstraint("inbound_id", "part"),
    UniqueConstraint("conversation_id", "seq"),
    CheckConstraint("state IN ('ready', 'pending', 'delivered', 'unknown', 'dead')", name="state"),
    CheckConstraint("author IN ('bot', 'operator', 'system')", name="author"),
)
_UNSETTLED = outbox.c.state.in_(("ready", "pending"))
Index(
    "ix_outbox_unsettled", outbox.c.conversation_id, outbox.c.seq, sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED
)
_PENDING = outbox.c.state == "pending"
Index(
    "ix_outbox_pending",
    outbox.c.assistant_id,
    outbox.c.channel,
    outbox.c.conversation_id,
    outbox.c.seq,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)

reminders = Table(
    "reminders",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _conversation(),
    _customer(),
    Column("name", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("entities", Json, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("kill_on_user_message", Boolean, nullable=False),
    UniqueConstraint("conversation_id", "name"),
)
Index("ix_reminders_due", reminders.c.assistant_id, reminders.c.due_at)

files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),  # random: it stands in links and names the content in the file store
    Column("assistant_id", Text, nullable=False),
    _conversation(),
    _customer(),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("stored_at", UtcDateTime),  # NULL: the content is being written, or its writer died
    Column("deleted_at", UtcDateTime),  # the content is gone, the row says that it was there
)
Index("ix_files_conversation", files.c.conversation_id, files.c.created_at)
_KEPT = files.c.deleted_at.is_(None)
Index("ix_files_kept", files.c.assistant_id, files.c.created_at, sqlite_where=_KEPT, postgresql_where=_KEPT)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    _conversation(),
    _customer(),
    Column("inbound_id", Id, ForeignKey("inbox.id"), nullable=False, unique=True),
    Column("text", Text, nullable=False),
    Column("intent", Text, nullable=False),
    Column("ranking", Json, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("margin", Double, nullable=False),  # best minus second best: small = uncertain
    Column("out_of_scope_score", Double, nullable=False),
    Column("is_out_of_scope", Boolean, nullable=False),
    Column("fallback", Boolean, nullable=False),
    Column("sentiment", Text),
    Column("entities", Json, nullable=False),
    Column("language", Text),
    Column("model_version", Text, nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_predictions_conversation", predictions.c.conversation_id)
Index("ix_predictions_recent", predictions.c.assistant_id, predictions.c.created_at)

labels = Table(
    "labels",
    metadata,
    Column("prediction_id", Id, ForeignKey("predictions.id"), primary_key=True, autoincrement=False),
    _customer(),
    Column("intent", Text),
    Column("sentiment", Text),
    Column("labelled_by", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("passages", Json),  # of the documents that answer the message; []: none does, NULL: nobody said
)

channel_state = Table(
    "channel_state",
    metadata,
    Column("assistant_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

leases = Table(
    "leases",
    metadata,
    Column("assistant_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", UtcDateTime, nullable=False),
)

knowledge_indexes = Table(
    "knowledge_indexes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("assistant_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("about", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("assistant_id", "name"),
)

knowledge_marks = Table(
    "knowledge_marks",
    metadata,
    Column("assistant_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

knowledge_files = Table(
    "knowledge_files",
    metadata,
    Column("folder", Text, primary_key=True),
    Column("file", Text, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),
)
