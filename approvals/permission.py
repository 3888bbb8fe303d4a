"""Who may decide what. No self-approval; distinct people count once, whatever names they use.

Who the person is has been proven by the surface, with `reviewers`. `refusal` is pure.
"""

from __future__ import annotations

import json
from typing import Final

from sqlalchemy import Connection, Table, select
from sqlmodel import SQLModel

from approvals.model import Approval, Choice, Reviewer, Terms, Via
from approvals.rows import decisions_of
from approvals.tables import GrantRow, ReviewerRow

GRANT: Final[Table] = SQLModel.metadata.tables[str(GrantRow.__tablename__)]
REVIEWER: Final[Table] = SQLModel.metadata.tables[str(ReviewerRow.__tablename__)]


def refusal(
    terms: Terms,
    reviewer: Reviewer,
    *,
    grant: str,
    owner: str,
    approving: bool,
    denying: bool = False,
) -> str | None:
    """Why this person may not review under these terms; None if they may.

    `owner` is the reviewer whose agent asks, "" if nobody is linked. The owner is kept from
    approving, not from denying; an administrator may always deny, whomever the rule names.
    """
    if reviewer.role not in ("approver", "admin"):
        return "Your role may look, but not decide."
    if denying and reviewer.role == "admin":
        return None
    names = reviewer.names()
    if grant in names:
        return "Whoever asked may not decide."
    if terms.reviewers and names.isdisjoint(terms.reviewers):
        return "This rule names other reviewers."
    if approving and terms.not_owner and owner and owner in names:
        return "This rule wants somebody other than the agent's owner."
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


def owner_of(connection: Connection, *, grant: str) -> str:
    """The reviewer whose agent holds this grant; "" if nobody is linked."""
    return str(connection.execute(select(GRANT.c.owner).where(GRANT.c.id == grant)).scalar() or "")


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
    stored = connection.execute(
        select(REVIEWER.c.identities).where(REVIEWER.c.id == reviewer)
    ).scalar()
    return frozenset(json.loads(stored)) if stored else frozenset()
