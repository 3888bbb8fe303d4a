"""From a press to a decision: who pressed, on what, and what the record says to it. Not pure.

The checks stand in one order (who, still the same call, shown in full) and decide nothing by
themselves: the row does, in `Approvals.decide`, as for the page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from approvals.aside import aside
from approvals.editing import Field, fields_of
from approvals.model import Approval, ArgumentEdit, Choice, Reviewer, Settlement, State, Vote
from approvals.seal import SealBroken
from approvals.service import Approvals, JudgeAgain
from approvals.slack import modals
from approvals.slack.action_values import Pressed
from approvals.slack.decision_messages import (
    CHANGED,
    EXPIRED,
    GONE,
    NOT_HERE,
    NOT_SHOWN,
    said,
    said_of_effect,
    said_of_taking_back,
    standing,
)
from approvals.slack.identity import Account, Identities, UnprovenAccount
from approvals.view import View


class Deciding:
    """What reviewers do from Slack. Every answer is words for the one who pressed; "" is success.

    `shows_all` tells whether the card shows every byte of a call: only then is it approved there.
    """

    def __init__(
        self,
        approvals: Approvals,
        identities: Identities,
        *,
        judge_again: JudgeAgain | None,
        shows_all: Callable[[View], bool],
    ) -> None:
        self._approvals = approvals
        self._identities = identities
        self._judge_again = judge_again
        self._shows_all = shows_all

    async def look(
        self, account: Account, pressed: Pressed
    ) -> tuple[Approval, Reviewer] | UnprovenAccount | str:
        """The call and the person, if this person may press on it as it was shown; else why not.

        `Refused` is an answer to someone who is no reviewer of it.
        """
        found = await self._found(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        if approval.state is not State.PENDING:
            return standing(approval, reviewer)
        if approval.expires_at <= self._approvals.clock.now():
            return EXPIRED
        return (approval, reviewer) if pressed.means(approval) else CHANGED

    async def _found(
        self, account: Account, pressed: Pressed
    ) -> tuple[Approval, Reviewer] | UnprovenAccount | str:
        """The call, whatever became of it, and the person, if this person reviews it."""
        try:
            approval = await self._approvals.get(pressed.approval_id)
        except SealBroken:
            return GONE
        if approval is None or approval.id != pressed.approval_id:
            return GONE
        reviewer = await self._identities.decider(account, approval)
        if isinstance(reviewer, UnprovenAccount):
            return reviewer
        return (approval, reviewer)

    async def approve(self, account: Account, pressed: Pressed) -> UnprovenAccount | str:
        found = await self.look(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        view = await self._approvals.view(approval.id)
        if view is None:
            return GONE
        if not pressed.means(view.approval):
            return CHANGED
        if view.approval.state is State.PENDING and approval.terms.web_only:
            return NOT_HERE
        if view.approval.state is State.PENDING and not self._shows_all(view):
            return NOT_SHOWN
        decided = await self._approvals.decide(
            approval.id,
            Vote(
                revision=pressed.revision,
                reviewer=reviewer,
                choice=Choice.APPROVE,
                via="slack",
                view_digest=view.digest,
            ),
        )
        return said(decided, reviewer)

    async def deny(self, account: Account, pressed: Pressed, reason: str) -> UnprovenAccount | str:
        found = await self.look(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        decided = await self._approvals.decide(
            approval.id,
            Vote(
                revision=pressed.revision,
                reviewer=reviewer,
                choice=Choice.DENY,
                reason=reason,
                via="slack",
            ),
        )
        return said(decided, reviewer)

    async def take_back(self, account: Account, pressed: Pressed) -> UnprovenAccount | str:
        """What was approved and has not started shall not run after all."""
        found = await self._found(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        if not pressed.means(approval):
            return CHANGED
        done = await self._approvals.take_back(approval.id, reviewer=reviewer, via="slack")
        return said_of_taking_back(done, reviewer)

    async def settle_effect(
        self, account: Account, pressed: Pressed, settlement: Settlement, note: str
    ) -> UnprovenAccount | str:
        """Say whether the earlier call that the card names did what this one does."""
        found = await self.look(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        view = await self._approvals.view(approval.id)
        if view is None or not pressed.means(view.approval):
            return CHANGED
        if view.effect is None or view.effect.state != "unknown":
            return CHANGED
        settled = await self._approvals.settle_effect(
            view.effect.holder, reviewer=reviewer, settlement=settlement, note=note, via="slack"
        )
        return said_of_effect(settled)

    async def edit(
        self, account: Account, pressed: Pressed, arguments: bytes
    ) -> UnprovenAccount | str:
        found = await self.look(account, pressed)
        if not isinstance(found, tuple):
            return found
        approval, reviewer = found
        if self._judge_again is None:
            return "Arguments are changed on the page only. Nothing was done."
        decided = await self._approvals.edit(
            approval.id,
            ArgumentEdit(
                revision=pressed.revision, reviewer=reviewer, arguments=arguments, via="slack"
            ),
            judge_again=partial(self._judge_again, held=approval),
        )
        return said(decided, reviewer)

    async def form(self, approval: Approval, origin: modals.Origin) -> dict[str, object] | None:
        """The modal for changing arguments; None where only the page can."""
        if self._judge_again is None or approval.terms.web_only:
            return None
        return modals.edit(approval, origin, await _fields(approval))

    async def proposed(self, pressed: Pressed, view: dict[str, object]) -> bytes | str:
        """The arguments that a submitted modal asks for, or what is wrong with it."""
        approval = await self._approvals.get(pressed.approval_id)
        if approval is None or not pressed.means(approval) or approval.state is not State.PENDING:
            return CHANGED
        fields = await _fields(approval)
        found = modals.edit_in(view, approval.call.arguments, fields)
        return found if isinstance(found, str) else found.arguments


async def _fields(approval: Approval) -> tuple[Field, ...]:
    def found() -> tuple[Field, ...]:
        given = fields_of(approval.call.arguments, approval.masked, approval.terms.editable)
        return modals.offered(given)

    return await aside(len(approval.masked), found)
