"""What proves a change made in a browser session; older sessions have nothing of it, and end."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("credential", sa.Column("binding", sa.Text(), nullable=True))
    op.create_table(
        "nonce",
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("session", "nonce"),
    )
    op.create_index("ix_nonce_until", "nonce", ["until"])
