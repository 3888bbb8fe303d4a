"""How an approved call differs from what its agent asked: what a reviewer changed. Reads only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Table, select
from sqlmodel import SQLModel

from approvals.differences import Difference, changes
from approvals.record.keys import Keys
from approvals.record.tables import RevisionRow
from approvals.rows import load
from approvals.seal import SealBroken, unseal

REVISION: Final[Table] = SQLModel.metadata.tables[str(RevisionRow.__tablename__)]


@dataclass(frozen=True, slots=True)
class AppliedEdit:
    """What became of the arguments. Decoded values, nothing masked: for the agent alone."""

    by: str  # who changed them last
    arguments: Any  # as they are now, and as they run
    changes: tuple[Difference, ...]  # from what was asked; () where that is no longer kept


def edit_of(connection: Connection, approval_id: str, *, keys: Keys) -> AppliedEdit | None:
    """The edit; None where the arguments are those that were asked, or are no longer kept.

    Raises:
        SealBroken: the arguments were changed by other hands.
    """
    earlier = connection.execute(
        select(REVISION.c.arguments_sealed, REVISION.c.edited_by)
        .where(REVISION.c.approval_id == approval_id)
        .order_by(REVISION.c.revision)
    ).all()
    approval = load(connection, approval_id, keys=keys) if earlier else None
    if approval is None or not approval.call.arguments:
        return None
    now = json.loads(approval.call.arguments)
    by = str(earlier[-1].edited_by)
    if earlier[0].arguments_sealed is None:
        return AppliedEdit(by, now, ())
    try:
        asked = unseal(
            keys.seal, earlier[0].arguments_sealed, approval_id=approval_id, kind="arguments"
        )
    except SealBroken:  # of what did not run: that it was changed is told all the same
        return AppliedEdit(by, now, ())
    differing = changes(json.loads(asked), now)
    return AppliedEdit(by, now, differing) if differing else None
