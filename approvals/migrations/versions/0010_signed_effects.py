"""Effect keys carry a MAC: who may write the database frees no key that was taken.

A record of an older release has its keys signed when it is upgraded, as its other rows.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "effect", sa.Column("row_version", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("effect", sa.Column("mac", sa.Text(), nullable=False, server_default=""))
