"""Files: what customers and the company send each other; the content lies in the file store, under the row's id."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.storage.types import Id, UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("conversation_id", Id, nullable=False),
        sa.Column("customer_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("stored_at", UtcDateTime(), nullable=True),
        sa.Column("deleted_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name="fk_files_conversation_id"),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
    )
    op.create_index("ix_files_conversation", "files", ["conversation_id", "created_at"], unique=False)
    kept = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_files_kept",
        "files",
        ["assistant_id", "created_at"],
        unique=False,
        sqlite_where=kept,
        postgresql_where=kept,
    )
