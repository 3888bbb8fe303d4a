"""What waits for one person, for App Home and `/approvals`. Reads; decides nothing. Not pure."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import structlog

from approvals.model import Approval, Reviewer, State
from approvals.permission import refusal
from approvals.service import Approvals
from approvals.slack import home
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.card_renderer import CardRenderer
from approvals.slack.decision_messages import GONE, standing
from approvals.slack.identity import Account, Identities, UnprovenAccount

log = structlog.get_logger()

Json = dict[str, Any]
"""A call's card: text and blocks."""

OPEN_SECONDS: Final = 900.0
"""How long after someone looked at App Home it is kept up to date."""

_READ: Final = 500
_MOST: Final = 1_000  # people remembered
_ID: Final = re.compile(r"(apr_)?[A-Za-z0-9_-]{4,64}")
_USAGE: Final = "Write /approvals, /approvals all, or /approvals and the id of a call."


class PendingList:
    """Lists for people in Slack."""

    def __init__(
        self,
        api: SlackApi,
        approvals: Approvals,
        identities: Identities,
        *,
        cards: CardRenderer,
        now: Callable[[], float],
    ) -> None:
        self._api = api
        self._approvals = approvals
        self._identities = identities
        self._cards = cards
        self._now = now  # seconds, monotonic
        self._homes: OrderedDict[str, float] = OrderedDict()

    async def reader(self, account: Account) -> Reviewer | UnprovenAccount:
        """Who this is to the gateway right now."""
        waiting = await self._approvals.pending(limit=_READ)
        return await self._identities.reader(account, waiting)

    async def answer(self, account: Account, text: str) -> Json:
        """The message that answers `/approvals`."""
        wanted = text.strip()
        waiting = await self._approvals.pending(limit=_READ)
        reviewer = await self._identities.reader(account, waiting)
        if isinstance(reviewer, UnprovenAccount):
            return home.sentence(reviewer.why)
        seen = [one for one in waiting if self._identities.may_see(reviewer, one)]
        if wanted.lower() == "all":
            return home.listing(seen, self._cards.context())
        if wanted.lower() in ("", "mine"):
            mine = [one for one in seen if _may(one, reviewer)]
            return home.listing(mine, self._cards.context())
        if not _ID.fullmatch(wanted):
            return home.sentence(_USAGE)
        return await self._one(reviewer, wanted)

    async def _one(self, reviewer: Reviewer, wanted: str) -> Json:
        for written in (wanted, f"apr_{wanted}"):
            view = await self._approvals.view(written)
            if view is not None:
                break
        else:
            return home.sentence(GONE)
        approval = view.approval
        if not self._identities.may_see(reviewer, approval):
            return home.sentence(GONE)
        if approval.state is not State.PENDING:
            return home.sentence(standing(approval, reviewer).removeprefix("Nothing was done: "))
        text, blocks = self._cards.render(view)
        return {"response_type": "ephemeral", "text": text, "blocks": blocks}

    async def publish(self, account: Account) -> None:
        """Bring this person's App Home up to date."""
        self._homes.pop(account.user, None)
        self._homes[account.user] = self._now()
        while len(self._homes) > _MOST:
            self._homes.popitem(last=False)
        waiting = await self._approvals.pending(limit=_READ)
        found = await self._identities.reader(account, waiting)
        if isinstance(found, UnprovenAccount):
            view = home.home(None, (), self._cards.context(), why=found.why)
        else:
            mine = [
                one for one in waiting if self._identities.may_see(found, one) and _may(one, found)
            ]
            view = home.home(found, mine, self._cards.context())
        try:
            await self._api.write("views.publish", {"user_id": account.user, "view": view})
        except (Denied, Limited, Unreachable) as error:
            log.warning("slack.no_home", why=str(error))

    async def refresh(self, account: Account) -> None:
        """As `publish`, for anyone who looked at App Home lately."""
        if self._now() - self._homes.get(account.user, -OPEN_SECONDS) < OPEN_SECONDS:
            await self.publish(account)


def _may(approval: Approval, reviewer: Reviewer) -> bool:
    call = approval.call
    return refusal(approval.terms, reviewer, grant=call.grant, owner="", approving=False) is None
