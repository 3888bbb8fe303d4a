"""Who of the people on record can still approve a held call, as they come and go. Pure.

`gateway.policy.staffing` says it of rules; here the terms are those a call was held under, which no
later policy changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from approvals.model import Reviewer, Terms

_CROWDS: Final = ("slack-group", "oidc-group")
_NAMED: Final = 3  # names a sentence lists


def unable(
    terms: Terms, people: Iterable[Reviewer], *, owner: str, voted: frozenset[str], missing: int
) -> str:
    """Why no one, or too few, can give the approvals that are missing; "" when enough people can.

    `people` are all reviewers on record, `voted` those who have approved. Names that another system
    proves (a Slack account, a group) may be someone who is not on record: they count as able.
    """
    able = [one for one in people if one.may_decide]
    known = {name for one in able for name in one.names()}
    named = frozenset(terms.reviewers)
    may = [
        one
        for one in able
        if (not named or not named.isdisjoint(one.names()))
        and not (terms.not_owner and owner in one.names())
        and voted.isdisjoint(one.names())
    ]
    elsewhere = [name for name in named - known - voted if ":" in name]
    if missing == 0 or any(name.partition(":")[0] in _CROWDS for name in elsewhere):
        return ""
    count = len(may) + len(elsewhere)
    if count >= missing:
        return ""
    if count:
        who = "one person" if count == 1 else f"{count} people"
        return f"{missing} more people must approve this, and only {who} can. {_END}"
    gone = sorted(named - known)
    whom = ""
    if gone:
        more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
        verb = "is no approver" if len(gone) == 1 else "are no approvers"
        whom = f": {', '.join(gone[:_NAMED])}{more} {verb} on record"
    elif named:
        whom = f": the rule names {', '.join(sorted(named)[:_NAMED])}"
    return f"No one can approve this{whom}. {_END}"


_END: Final = "An administrator can deny it; else it expires."
