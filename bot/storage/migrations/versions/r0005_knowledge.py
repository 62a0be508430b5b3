"""What several machines share of an assistant's documents: which indexes there are, which counts, the encoders' files.

The indexes themselves are tables that `bot.storage.passages` makes: they need an extension that not every PostgreSQL
has.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.storage.types import Id, Json, UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "knowledge_indexes",
        sa.Column("id", Id, nullable=False),
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("about", Json, nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_knowledge_indexes"),
        sa.UniqueConstraint("assistant_id", "name", name="uq_knowledge_indexes_assistant_id_name"),
    )
    op.create_table(
        "knowledge_marks",
        sa.Column("assistant_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("assistant_id", "key", name="pk_knowledge_marks"),
    )
    op.create_table(
        "knowledge_files",
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("part", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("folder", "file", "part", name="pk_knowledge_files"),
    )
