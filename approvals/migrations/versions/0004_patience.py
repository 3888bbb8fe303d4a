"""After how long a grant's client was seen to give up waiting."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("grant", sa.Column("patience", sa.Integer(), nullable=True))
