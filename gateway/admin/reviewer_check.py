"""Whether someone can give the approvals the policy in force asks for, as people come and go.

A gateway does not start on a policy no one can approve. Later, when a policy is saved or a reviewer
is removed, it is told loudly instead: what was held would only expire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from approvals.model import Reviewer
from approvals.reviewers import People
from gateway.policy.problems import PolicyProblem
from gateway.policy.rules import Policy
from gateway.policy.staffing import deciding, unstaffed
from gateway.settings import Settings

log = structlog.get_logger()

FIRST: Final = Reviewer(id="admin", role="admin")
"""Who the sign-in link of a first start is for: on record as soon as the link is made."""


def vouched(settings: Settings) -> frozenset[str]:
    """The kinds of identities whose people another system proves to a gateway set up like this."""
    return frozenset({"slack"}) if settings.slack() is not None else frozenset()


class ReviewerCheck:
    """`problems` are as of the last `look`."""

    def __init__(
        self, people: People, policy: Callable[[], Policy], *, vouched: frozenset[str]
    ) -> None:
        self._people = people
        self._policy = policy
        self._vouched = vouched
        self._present: tuple[Reviewer, ...] = (FIRST,)
        self.problems: tuple[PolicyProblem, ...] = ()

    async def meet(self) -> None:
        """Read who is on record.

        Raises:
            RecordUnavailable: they cannot be read.
        """
        self._present = await self._people.reviewers() or (FIRST,)

    def unmet(self, policy: Policy) -> tuple[PolicyProblem, ...]:
        """What this policy asks for and the people who were last read cannot give."""
        return unstaffed(policy, self._present, vouched=self._vouched)

    def suffices(self, policy: Policy) -> bool:
        """Whether they can give every approval this policy asks for."""
        return not self.unmet(policy)

    def names(self) -> frozenset[str]:
        """Every name of the people on record who may decide."""
        return deciding(self._present)

    async def look(self) -> None:
        """Compare the policy in force with the people on record.

        Raises:
            RecordUnavailable: they cannot be read.
        """
        await self.meet()
        found = self.unmet(self._policy())
        if found != self.problems:
            self.problems = found
            for problem in found:
                log.error("policy.unstaffed", pointer=problem.pointer, reason=problem.what)
