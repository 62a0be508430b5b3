"""Reminders: what a conversation has planned, so that a restart forgets nothing and one replica fires each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.storage.types import Id, Json, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reminders",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("intent", sa.Text(), nullable=False),
        sa.Column("entities", Json, nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("kill_on_user_message", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_reminders_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reminders"),
        sa.UniqueConstraint("conversation_id", "name", name="uq_reminders_conversation_id_name"),
    )
    op.create_index("ix_reminders_due", "reminders", ["assistant_id", "due_at"], unique=False)
