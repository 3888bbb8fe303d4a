"""Rows of the approval table as `Approval` values, and back. No decisions, no writes. Not pure.

Arguments stay sealed unless asked for: lists do without them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, Table, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import SQLModel

from approvals.digest import canonical, keepable
from approvals.model import (
    RISKS,
    SHORT_ID,
    Approval,
    Call,
    Choice,
    Client,
    Decision,
    Delivery,
    Execution,
    Metadata,
    Millis,
    Risk,
    Ruling,
    Settlement,
    State,
    Terms,
)
from approvals.record import signed
from approvals.record.keys import Keys
from approvals.record.tables import ApprovalRow, DecisionRow, RevisionRow
from approvals.record.transaction import Transaction
from approvals.seal import unseal

APPROVAL: Final[Table] = SQLModel.metadata.tables[str(ApprovalRow.__tablename__)]
REVISION: Final[Table] = SQLModel.metadata.tables[str(RevisionRow.__tablename__)]
DECISION: Final[Table] = SQLModel.metadata.tables[str(DecisionRow.__tablename__)]

LISTED: Final = tuple(
    column
    for column in APPROVAL.c
    if column.name not in ("arguments_sealed", "metadata_sealed", "result_sealed")
)
"""What lists and moves read: a row without its sealed, possibly large contents."""

OPENED: Final = (*LISTED, APPROVAL.c.arguments_sealed, APPROVAL.c.metadata_sealed)


def approval_of(row: Mapping[Any, Any], *, keys: Keys | None = None) -> Approval:
    """The snapshot of a row; with keys, its arguments and metadata are unsealed.

    Raises:
        SealBroken: what is sealed does not belong to this row.
    """
    return Approval(
        id=row["id"],
        revision=row["revision"],
        version=row["version"],
        asked=row["asked"],
        digest=row["digest"],
        arguments_digest=row["arguments_digest"],
        call=_call_of(row, keys),
        ruling=Ruling(
            rule=row["rule"],
            reason=row["rule_reason"],
            policy_hash=row["policy_hash"],
            matched=row["matched"],
        ),
        terms=read_terms(row["terms"]),
        effect=row["effect"],
        effect_after=row["effect_after"],
        state=State(row["state"]),
        execution=Execution(row["execution"]),
        delivery=Delivery(row["delivery"]),
        settlement=Settlement(row["settlement"]) if row["settlement"] else None,
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        decided_at=row["decided_at"],
        use_by=row["use_by"],
        claimed_at=row["claimed_at"],
        finished_at=row["finished_at"],
        reason=row["reason"],
        decided_by=row["decided_by"],
        decided_via=row["decided_via"],
        attempts=row["attempts"],
        masked=row["masked"],
        attached_until=row["attached_until"],
        attached_to=row["attached_to"],
        delivered_at=row["delivered_at"],
        lease_until=row["lease_until"],
        result_digest=row["result_digest"],
        round=row["round"],
        redact=tuple(json.loads(row["redact"])),
        metadata_masked=row["metadata_masked"] or "",
        metadata_digest=row["metadata_digest"] or "",
    )


def _call_of(row: Mapping[Any, Any], keys: Keys | None) -> Call:
    arguments, metadata = b"", Metadata()
    if keys is not None and row["arguments_sealed"] is not None:
        arguments = unseal(
            keys.seal, row["arguments_sealed"], approval_id=row["id"], kind="arguments"
        )
    if keys is not None and row["metadata_sealed"] is not None:
        opened = unseal(keys.seal, row["metadata_sealed"], approval_id=row["id"], kind="metadata")
        metadata = read_metadata(opened)
    return Call(
        grant=row["grant_id"],
        grant_label=row["grant_label"],
        server=row["server"],
        tool=row["tool"],
        arguments=arguments,
        tool_hash=row["tool_hash"],
        client=Client(row["client_name"], row["client_version"]),
        session=row["session"],
        session_calls=row["session_calls"],
        metadata=metadata,
    )


def write_metadata(metadata: Metadata) -> bytes:
    """Both parts byte for byte, to be sealed."""
    return canonical([metadata.shown.decode(), metadata.unseen.decode()])


def read_metadata(stored: bytes) -> Metadata:
    shown, unseen = json.loads(stored)
    return Metadata(shown.encode(), unseen.encode())


def write_terms(terms: Terms) -> str:
    return canonical(asdict(terms)).decode()


def read_terms(stored: str) -> Terms:
    fields = json.loads(stored)
    fields["reviewers"] = tuple(fields["reviewers"])
    fields["editable"] = tuple(fields["editable"])
    return Terms(**fields)


def load(connection: Connection, approval_id: str, *, keys: Keys | None = None) -> Approval | None:
    """The approval with exactly this id, or None; arguments only with keys."""
    if not keepable(approval_id):  # anyone's text: no database can even look for it
        return None
    columns = LISTED if keys is None else OPENED
    row = (
        connection.execute(select(*columns).where(APPROVAL.c.id == approval_id)).mappings().first()
    )
    return None if row is None else approval_of(row, keys=keys)


def risks_of(connection: Connection, ids: Collection[str]) -> dict[str, Risk]:
    """The risk of each of these approvals that is still kept."""
    columns = (APPROVAL.c.id, APPROVAL.c.risk_rank)
    rows = connection.execute(select(*columns).where(APPROVAL.c.id.in_(ids))).all()
    return {row.id: RISKS[row.risk_rank] for row in rows if 0 <= row.risk_rank < len(RISKS)}


def resolve(connection: Connection, written: str) -> str | None:
    """The full id for an id as people write it: in full, or an unambiguous beginning of it, at
    least as long as the short ids people are shown: a slip of the finger must not mean a call.
    """
    prefix = written if written.startswith("apr_") else f"apr_{written}"
    if len(prefix) < SHORT_ID or not (prefix.isascii() and prefix.isprintable()):
        return None
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    ids = (
        connection.execute(
            select(APPROVAL.c.id)
            .where(APPROVAL.c.id >= prefix, APPROVAL.c.id < end)
            .order_by(APPROVAL.c.id)
            .limit(2)
        )
        .scalars()
        .all()
    )
    if not ids or (len(ids) > 1 and ids[0] != prefix):
        return None
    return str(ids[0])


def decisions_of(connection: Connection, approval_id: str) -> tuple[Decision, ...]:
    """Every vote on the approval, all revisions, in the order they were cast."""
    rows = signed.rows(
        connection,
        DECISION,
        DECISION.c.approval_id == approval_id,
        order=[DECISION.c.at, DECISION.c.id],
    )
    return tuple(
        Decision(
            approval_id=row["approval_id"],
            revision=row["revision"],
            reviewer=row["reviewer"],
            choice=Choice(row["choice"]),
            reason=row["reason"],
            via=row["via"],
            at=row["at"],
            view_digest=row["view_digest"],
        )
        for row in rows
    )


def may_start(connection: Connection, now: Millis) -> ColumnElement[bool]:
    """Of approved rows: those whose rule has them wait no longer for being taken back."""
    undo: ColumnElement[Any] = cast(cast(APPROVAL.c.terms, JSONB)["undo"].astext, Integer)
    if connection.dialect.name == "sqlite":
        undo = func.json_extract(APPROVAL.c.terms, "$.undo")
    return APPROVAL.c.decided_at + func.coalesce(undo, 0) * 1000 <= now


UNSETTLED: Final = (
    (APPROVAL.c.state == str(State.APPROVED))
    & (APPROVAL.c.execution == str(Execution.OUTCOME_UNKNOWN))
    & APPROVAL.c.settlement.is_(None)
)
"""An outcome that no one knows and no one has settled."""

_ANY_UNSETTLED: Final = (
    "SELECT 1 FROM approval WHERE state = ? AND execution = ? AND settlement IS NULL LIMIT 1"
)


def any_unsettled(tx: Transaction) -> bool:
    """Whether any outcome at all is unknown and unsettled. Asked by every batch."""
    wanted = (str(State.APPROVED), str(Execution.OUTCOME_UNKNOWN))
    return bool(tx.rows(_ANY_UNSETTLED, wanted))


def unsettled_like(
    connection: Connection, digest: str, effect: str | None, server: str
) -> Approval | None:
    """An unsettled unknown outcome of this call, or of this effect on this server."""
    same = or_(APPROVAL.c.digest == digest, APPROVAL.c.asked == digest)
    if effect is not None:
        same = or_(same, (APPROVAL.c.server == server) & (APPROVAL.c.effect == effect))
    row = connection.execute(select(*LISTED).where(UNSETTLED, same).limit(1)).mappings().first()
    return None if row is None else approval_of(row)
