"""Who may decide what. No self-approval; distinct people count once, whatever names they use.

Who the person is has been proven by the surface, with `reviewers`. `refusal` is pure.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, Table
from sqlmodel import SQLModel

from approvals.model import Approval, Choice, Reviewer, Terms, Via
from approvals.record import signed
from approvals.record.ledger import ledger_of
from approvals.record.tables import GrantRow
from approvals.reviewers import REVIEWER, find, was_removed
from approvals.rows import decisions_of

GRANT: Final[Table] = SQLModel.metadata.tables[str(GrantRow.__tablename__)]


def refusal(
    terms: Terms,
    reviewer: Reviewer,
    *,
    grant: str,
    owner: str | None,
    approving: bool,
    denying: bool = False,
) -> str | None:
    """Why this person may not review under these terms; None if they may.

    `owner` is the reviewer whose agent asks, "" if no one is linked, None if that cannot be told.
    The owner is kept from approving, not from denying; an administrator may always deny, whomever
    the rule names.
    """
    if not reviewer.may_decide:
        return "Your role may look, but not decide."
    if denying and reviewer.role == "admin":
        return None
    names = reviewer.names()
    if grant in names:
        return "Anyone who asked may not decide."
    if terms.reviewers and names.isdisjoint(terms.reviewers):
        return "This rule names other reviewers."
    if approving and terms.not_owner and owner is None:
        return "The agent's grant was changed by another hand: no one can tell who owns it."
    if approving and terms.not_owner and owner and owner in names:
        return "This rule wants someone other than the agent's owner."
    return None


def may_review(
    connection: Connection,
    approval: Approval,
    reviewer: Reviewer,
    *,
    approving: bool,
    via: Via,
    denying: bool = False,
) -> str | None:
    """As `refusal`, for an approval: looks up whose agent asks, and whether this is the place."""
    if approving and via == "slack" and approval.terms.web_only:
        return "This rule has its calls approved on the page, not in Slack."
    decides = reviewer.may_decide  # of others, `refusal` says what their role may do
    if decides and not may_still_decide(connection, reviewer.id):  # removed since they were proven
        return "You may no longer decide."
    wanted = approving and approval.terms.not_owner
    owner = owner_of(connection, grant=approval.call.grant) if wanted else ""
    return refusal(
        approval.terms,
        reviewer,
        grant=approval.call.grant,
        owner=owner,
        approving=approving,
        denying=denying,
    )


def may_still_decide(connection: Connection, voter: str) -> bool:
    """Whether a vote of this person counts now. Who was proven by an identity that a rule names,
    and is no one on record, keeps the vote as long as no one of that name was removed.
    """
    known = find(connection, voter)
    if known is not None:
        return known.may_decide
    view, _ = ledger_of(connection)
    if view.version(signed.subject(REVIEWER, {"id": voter})) is not None:
        return False
    return not was_removed(connection, voter)


def owner_of(connection: Connection, *, grant: str) -> str | None:
    """The reviewer whose agent holds this grant; "" if no one is linked; None if its row is not
    the one the history tells of.
    """
    row = signed.row(connection, GRANT, GRANT.c.id == grant)
    if row is not None:
        return str(row["owner"])
    view, _ = ledger_of(connection)
    return "" if view.version(signed.subject(GRANT, {"id": grant})) is None else None


def voted_as(connection: Connection, approval: Approval, reviewer: Reviewer) -> str | None:
    """The name under which this person has approved this revision already; None if they have not.

    A vote under a linked identity is the same person's, whichever of the two names came first.
    """
    names = reviewer.names()
    for vote in decisions_of(connection, approval.id):
        if vote.revision != approval.revision or vote.choice is not Choice.APPROVE:
            continue
        if vote.reviewer in names or not names.isdisjoint(_identities(connection, vote.reviewer)):
            return vote.reviewer
    return None


def _identities(connection: Connection, reviewer: str) -> frozenset[str]:
    row = signed.row(connection, REVIEWER, REVIEWER.c.id == reviewer)
    return frozenset() if row is None else frozenset(json.loads(row["identities"]))
