"""MACs of the rows that permit something, and which row of the history tells of which of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SIGNED = ("credential", "decision", "grant", "reviewer", "setting", "tool", "tool_class")
_LEDGER = sa.text("subject IS NOT NULL")


def upgrade() -> None:
    op.add_column("history", sa.Column("subject", sa.Text(), nullable=True))
    op.create_index(
        "history_ledger", "history", ["seq"], sqlite_where=_LEDGER, postgresql_where=_LEDGER
    )
    for table in _SIGNED:
        op.add_column(
            table, sa.Column("row_version", sa.Integer(), nullable=False, server_default="0")
        )
        op.add_column(table, sa.Column("mac", sa.Text(), nullable=False, server_default=""))
