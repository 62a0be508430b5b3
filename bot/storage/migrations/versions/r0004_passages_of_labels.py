"""Labels: which passages of the documents answer a message, as a person says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from bot.storage.types import Json

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("labels", sa.Column("passages", Json, nullable=True))
