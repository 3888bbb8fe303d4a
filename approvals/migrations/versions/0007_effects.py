"""Effect keys in a table of their own, and the processes at which agents wait."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = 30 * 86_400  # seconds for which an effect counted so far

_STANDS = """
    SELECT id, server, effect, grant_id, grant_label, tool, terms, claimed_at, state, execution,
           settlement
    FROM approval
    WHERE effect IS NOT NULL AND claimed_at IS NOT NULL AND execution IN
          ('executing', 'input_required', 'succeeded', 'outcome_unknown')
    ORDER BY claimed_at
"""


def upgrade() -> None:
    op.add_column("approval", sa.Column("attached_to", sa.Text(), nullable=True))
    op.add_column("approval", sa.Column("effect_after", sa.Text(), nullable=True))
    op.create_table(
        "process",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lease_until", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_process_name", "process", ["name"], unique=False)
    effect = op.create_table(
        "effect",
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("grant_id", sa.Text(), nullable=False),
        sa.Column("grant_label", sa.Text(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=False),
        sa.Column("keep", sa.Integer(), nullable=False),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("taken_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), autoincrement=False, nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("server", "key"),
    )
    op.create_index("ix_effect_holder", "effect", ["holder"], unique=False)
    op.create_index("effect_state", "effect", ["state", "until"], unique=False)
    op.execute(
        "UPDATE approval SET attached_to = 'task' WHERE id IN (SELECT approval_id FROM task)"
    )
    _carry(effect)


def _carry(effect: sa.Table) -> None:
    """What approvals did, are doing or may have done goes on to count."""
    connection = op.get_bind()
    since = int(time.time() * 1000) - _KEPT * 1000
    found: dict[tuple[str, str], dict[str, object]] = {}
    weights = {"done": 0, "unknown": 1, "taken": 2}
    for row in connection.execute(sa.text(_STANDS)).mappings().all():
        state = _state(row)
        if state is None or (state == "done" and row["claimed_at"] <= since):
            continue
        before = found.get((row["server"], row["effect"]))
        if before is not None and weights[str(before["state"])] > weights[state]:
            continue
        found[row["server"], row["effect"]] = {
            "server": row["server"],
            "key": row["effect"],
            "state": state,
            "holder": row["id"],
            "grant_id": row["grant_id"],
            "grant_label": row["grant_label"],
            "tool": row["tool"],
            "terms": row["terms"],
            "keep": _KEPT,
            "again": False,
            "taken_at": row["claimed_at"],
            "until": row["claimed_at"] + _KEPT * 1000 if state == "done" else None,
            "owner": None,
        }
    if found:
        connection.execute(effect.insert(), list(found.values()))


def _state(row: sa.RowMapping) -> str | None:
    """Where the key of a claimed approval stands; None: it is free."""
    match row["execution"], row["settlement"]:
        case ("executing", _):
            return "taken"
        case ("input_required", _):
            return "taken" if row["state"] == "approved" else None
        case ("succeeded", _) | ("outcome_unknown", "done"):
            return "done"
        case ("outcome_unknown", None):
            return "unknown"
    return None
