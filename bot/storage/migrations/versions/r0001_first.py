"""The first schema: customers, conversations, inbox, events, outbox, predictions, labels, connectors' state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.storage.types import Id, Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "channel_state",
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", "key", name="pk_channel_state"),
    )
    op.create_table(
        "customers",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_customers"),
    )
    op.create_table(
        "leases",
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", "key", name="pk_leases"),
    )
    op.create_table(
        "identities",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_identities_customer_id"),
        sa.PrimaryKeyConstraint("id", name="pk_identities"),
        sa.UniqueConstraint(
            "assistant_id",
            "channel",
            "account",
            "external_id",
            name="uq_identities_assistant_id_channel_account_external_id",
        ),
    )
    op.create_index("ix_identities_customer_id", "identities", ["customer_id"], unique=False)
    op.create_table(
        "conversations",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("identity_id", Id, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("thread", sa.Text(), nullable=False),
        sa.Column("sender_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("event_seq", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("claimable_at", UtcDateTime(), nullable=True),
        sa.Column("fence", Id, nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'waiting', 'with_operator', 'resolved', 'closed')", name="ck_conversations_status"
        ),
        sa.CheckConstraint("waiting >= 0", name="ck_conversations_waiting"),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name="fk_conversations_customer_id"),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name="fk_conversations_identity_id"),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("assistant_id", "sender_id", name="uq_conversations_assistant_id_sender_id"),
    )
    op.create_index(
        "ix_conversations_claimable",
        "conversations",
        ["assistant_id", "claimable_at"],
        unique=False,
        sqlite_where=sa.text("claimable_at IS NOT NULL"),
        postgresql_where=sa.text("claimable_at IS NOT NULL"),
    )
    op.create_index("ix_conversations_customer_id", "conversations", ["customer_id"], unique=False)
    op.create_index("ix_conversations_idle", "conversations", ["assistant_id", "status", "updated_at"], unique=False)
    op.create_table(
        "events",
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.Double(), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_events_conversation_id"),
        sa.PrimaryKeyConstraint("conversation_id", "seq", name="pk_events"),
    )
    op.create_table(
        "inbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'done', 'dead')", name="ck_inbox_state"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_inbox_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_inbox"),
        sa.UniqueConstraint(
            "assistant_id",
            "channel",
            "account",
            "external_id",
            name="uq_inbox_assistant_id_channel_account_external_id",
        ),
        sa.UniqueConstraint("conversation_id", "seq", name="uq_inbox_conversation_id_seq"),
    )
    op.create_index(
        "ix_inbox_waiting",
        "inbox",
        ["conversation_id", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_table(
        "snapshots",
        sa.Column("conversation_id", Id, autoincrement=False, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("event_seq", sa.Integer(), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_snapshots_conversation_id"),
        sa.PrimaryKeyConstraint("conversation_id", name="pk_snapshots"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("inbound_id", Id, nullable=True),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.Column("metadata", Json, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", UtcDateTime(), nullable=True),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("external_ref", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("author IN ('bot', 'operator', 'system')", name="ck_outbox_author"),
        sa.CheckConstraint("state IN ('ready', 'pending', 'delivered', 'unknown', 'dead')", name="ck_outbox_state"),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_outbox_conversation_id"),
        sa.ForeignKeyConstraint(["inbound_id"], ["inbox.id"], name="fk_outbox_inbound_id"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.UniqueConstraint("conversation_id", "seq", name="uq_outbox_conversation_id_seq"),
        sa.UniqueConstraint("inbound_id", "part", name="uq_outbox_inbound_id_part"),
    )
    op.create_index(
        "ix_outbox_pending",
        "outbox",
        ["assistant_id", "channel", "conversation_id", "seq"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "ix_outbox_unsettled",
        "outbox",
        ["conversation_id", "seq"],
        unique=False,
        sqlite_where=sa.text("state IN ('ready', 'pending')"),
        postgresql_where=sa.text("state IN ('ready', 'pending')"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("inbound_id", Id, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("ranking", Json, nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("out_of_scope_score", sa.Double(), nullable=False),
        sa.Column("is_out_of_scope", sa.Boolean(), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("sentiment", sa.Text(), nullable=True),
        sa.Column("entities", Json, nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_predictions_conversation_id"),
        sa.ForeignKeyConstraint(["inbound_id"], ["inbox.id"], name="fk_predictions_inbound_id"),
        sa.PrimaryKeyConstraint("id", name="pk_predictions"),
        sa.UniqueConstraint("inbound_id", name="uq_predictions_inbound_id"),
    )
    op.create_index("ix_predictions_conversation", "predictions", ["conversation_id"], unique=False)
    op.create_index("ix_predictions_recent", "predictions", ["assistant_id", "created_at"], unique=False)
    op.create_table(
        "labels",
        sa.Column("prediction_id", Id, autoincrement=False, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("intent", sa.Text(), nullable=True),
        sa.Column("sentiment", sa.Text(), nullable=True),
        sa.Column("labelled_by", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["prediction_id"], ["predictions.id"], name="fk_labels_prediction_id"),
        sa.PrimaryKeyConstraint("prediction_id", name="pk_labels"),
    )
