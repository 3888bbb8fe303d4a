"""What a held call was asked with beside its arguments; NULL for nothing, and for older calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("approval", sa.Column("metadata_sealed", sa.LargeBinary(), nullable=True))
    for name in ("metadata_masked", "metadata_digest"):
        op.add_column("approval", sa.Column(name, sa.Text(), nullable=True))
