"""Pins of tools become pins of whatever a server says, hashed again over every key.

Each is hashed from its stored definition, so that nothing is quarantined by the upgrade; a call
that waits is bound to the hash of before, which stays the pin's name in the identity of calls.
"""

from __future__ import annotations

from json import loads
from typing import Any

import sqlalchemy as sa
from alembic import op

from approvals.fingerprint import fingerprint

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pins = op.create_table(
        "pin",
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("call_hash", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("seen_hash", sa.Text(), nullable=False),
        sa.Column("seen_definition", sa.Text(), nullable=False),
        sa.Column("volatile", sa.Text(), nullable=False),
        sa.Column("carried", sa.Boolean(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changed_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("back_at", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("accepted_by", sa.Text(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("mac", sa.Text(), nullable=False, server_default=""),
        sa.PrimaryKeyConstraint("server", "kind", "name"),
    )
    connection = op.get_bind()
    tools = sa.Table("tool", sa.MetaData(), autoload_with=connection)
    for row in connection.execute(sa.select(tools)).mappings().all():
        connection.execute(pins.insert().values(_pin(row)))
    op.drop_table("tool")
    # Withdrawn approvals of a grant are counted by their time.
    op.drop_index("approval_pending", "approval")
    op.create_index("approval_pending", "approval", ["grant_id", "state", "created_at"])


def _pin(row: Any) -> dict[str, Any]:
    kept = ("server", "name", "definition", "first_seen", "changed_at", "accepted_by", "present")
    digest = fingerprint(loads(row["definition"]))
    seen, said = digest, row["definition"]
    if row["hash"] != row["seen_hash"]:  # in quarantine, unless it differs in nothing that counts
        seen = fingerprint(loads(row["seen_definition"]))
        said = row["seen_definition"] if seen != digest else said
    return {
        **{column: row[column] for column in kept},
        "kind": "tool",
        "hash": digest,
        "call_hash": row["hash"],
        "seen_hash": seen,
        "seen_definition": said,
        "volatile": "[]",
        "carried": True,
    }
