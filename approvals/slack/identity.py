"""Whose finger pressed: a Slack account -> the one reviewer it proves, or why it proves none.

Slack's word is read again for every decision. What cannot be looked up is refused, never assumed.
What the reviewer may then decide is the record's to say. Not pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import structlog

from approvals.model import Approval, Reviewer
from approvals.permission import owner_of
from approvals.record.database import Database
from approvals.reviewers import People
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable
from approvals.slack.config import SlackConfig, identity_of

log = structlog.get_logger()

FRESH: Final = 60.0
"""Seconds for which an answer of Slack may serve lists, and decisions while Slack is busy."""

_MOST: Final = 2_000  # answers kept
_GROUP: Final = "slack-group:"
_NOBODY: Final = frozenset(
    ("user_not_found", "user_not_visible", "no_such_subteam", "subteam_disabled")
)
"""Slack's answers that there is no such account or group: certain, and no one's proof."""

_GUEST: Final = ("is_restricted", "is_ultra_restricted")


class Unsure(Exception):
    """Slack could not be asked, or did not say."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who pressed, as Slack names them."""

    team: str  # ours, where it was pressed
    user: str
    home: str  # the person's own workspace: another one in a shared channel

    @property
    def identity(self) -> str:
        return identity_of(self.team, self.user)


@dataclass(frozen=True, slots=True)
class UnprovenAccount:
    """This account may not; `why` is for the person who pressed."""

    why: str


UNSURE: Final = UnprovenAccount("Your role could not be checked. Nothing was done; try again.")
FOREIGN: Final = UnprovenAccount("You are not a member of this workspace. Nothing was done.")
STRANGER: Final = UnprovenAccount("You are not a reviewer here. Nothing was done.")


@dataclass(frozen=True, slots=True)
class Member:
    """What users.info says of an account, as far as it matters."""

    team: str  # "" when Slack does not say
    fault: str  # "unknown", "deleted", "bot", "guest", "stranger"; "" for a full member
    email: str  # lower case, "" unless known and not unconfirmed


class Directory:
    """What Slack says about people and user groups, kept for a minute."""

    def __init__(self, api: SlackApi, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now  # seconds, monotonic
        self._kept: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def member(self, user: str, *, fresh: bool) -> Member:
        """Who this is.

        Raises:
            Unsure: it cannot be said.
        """
        found = await self._read("users.info", {"user": user}, "user", dict, fresh=fresh)
        if found.get("id", user) != user:
            raise Unsure("users.info told of another account")
        return _member(found)

    async def members(self, group: str, *, fresh: bool) -> frozenset[str]:
        """Who is in the user group.

        Raises:
            Unsure: it cannot be said.
        """
        params = {"usergroup": group}
        found = await self._read("usergroups.users.list", params, "users", list, fresh=fresh)
        return frozenset(one for one in found if isinstance(one, str))

    async def _read(
        self, method: str, params: Mapping[str, str], member: str, kind: type, *, fresh: bool
    ) -> Any:
        key = (method, *params.values())
        at, known = self._kept.get(key, (-FRESH, None))
        young = known is not None and self._now() - at < FRESH
        if young and not fresh:
            return known
        try:
            found = (await self._api.read(method, params)).get(member)
        except Limited as busy:
            if young:
                return known
            raise Unsure(f"{method}: Slack is busy") from busy
        except Denied as denied:
            if denied.code not in _NOBODY:
                raise Unsure(f"{method}: {denied.code}") from denied
            found = kind()
        except Unreachable as error:
            raise Unsure(f"{method}: {error}") from error
        if not isinstance(found, kind):
            raise Unsure(f"{method} said nothing of {member}")
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[key] = (self._now(), found)
        return found


def _member(user: Mapping[str, Any]) -> Member:
    fault = ""
    if not user:
        fault = "unknown"
    elif user.get("deleted"):
        fault = "deleted"
    elif user.get("is_bot") or user.get("id") == "USLACKBOT":
        fault = "bot"
    elif any(user.get(name) for name in _GUEST):
        fault = "guest"
    elif user.get("is_stranger"):
        fault = "stranger"
    profile = user.get("profile")
    email = profile.get("email") if isinstance(profile, dict) else None
    confirmed = isinstance(email, str) and user.get("is_email_confirmed") is not False
    return Member(str(user.get("team_id") or ""), fault, str(email).lower() if confirmed else "")


class Identities:
    """Who a Slack account is to the gateway."""

    def __init__(
        self, config: SlackConfig, people: People, database: Database, directory: Directory
    ) -> None:
        self._config = config
        self._people = people
        self._database = database
        self._directory = directory

    async def decider(self, account: Account, approval: Approval) -> Reviewer | UnprovenAccount:
        """The reviewer who presses on this approval, everything read again."""
        found = await self._who(account, approval.terms.reviewers, fresh=True)
        if not isinstance(found, Reviewer) or found.id != account.identity:
            return found
        return await self._not_hiding(found, approval)

    async def reader(
        self, account: Account, approvals: Iterable[Approval]
    ) -> Reviewer | UnprovenAccount:
        """The reviewer to whom a list of these is shown; a minute-old answer is good enough."""
        named = {name for one in approvals for name in one.terms.reviewers}
        return await self._who(account, sorted(named), fresh=False)

    def may_see(self, reviewer: Reviewer, approval: Approval) -> bool:
        """Whether to show this call to the person. Anyone who is on record sees them all, as on the
        page; an account that only rules name sees what names it.
        """
        linked = not reviewer.id.startswith("slack:")
        return linked or not reviewer.names().isdisjoint(approval.terms.reviewers)

    async def _who(
        self, account: Account, named: Iterable[str], *, fresh: bool
    ) -> Reviewer | UnprovenAccount:
        if account.home != account.team:
            return FOREIGN
        try:
            member = await self._directory.member(account.user, fresh=fresh)
            refused = _fault(member, account.team)
            if refused is not None:
                return refused
            known = await self._known(account, member)
            if isinstance(known, UnprovenAccount):
                return known
            groups = await self._groups(account, known, tuple(named), fresh=fresh)
        except Unsure as unsure:
            log.warning("slack.unsure", why=str(unsure))
            return UNSURE
        identities = dict.fromkeys((*known.identities, account.identity, *groups))
        found = replace(known, identities=tuple(identities), verified="slack")
        if found.id == account.identity and found.names().isdisjoint(named):
            return STRANGER  # no role, only what a rule names: an open rule names no one
        return found

    async def _known(self, account: Account, member: Member) -> Reviewer | UnprovenAccount:
        """The one stored reviewer this account belongs to; without one, the account itself."""
        identity = account.identity
        everyone = await self._people.reviewers()
        mapped = self._config.mapped(account.team, account.user)
        found = [one for one in everyone if identity in one.names() or one.id == mapped]
        if mapped is not None and all(one.id != mapped for one in everyone):
            return STRANGER
        if not found and member.email.rpartition("@")[2] in self._config.email_domains:
            written = {member.email, f"email:{member.email}", f"oidc:{member.email}"}
            found = [one for one in everyone if not written.isdisjoint(map(_lower, one.names()))]
        if len(found) > 1:
            return UnprovenAccount(
                "Your Slack account belongs to several reviewers. Nothing was done."
            )
        if found:
            return found[0]
        if await self._people.was_removed(identity):
            return STRANGER
        return Reviewer(id=identity, role="approver")

    async def _groups(
        self, account: Account, known: Reviewer, named: tuple[str, ...], *, fresh: bool
    ) -> list[str]:
        """Which of the named user groups the account is in. Asked only where it matters."""
        prefix = f"{_GROUP}{account.team}/"
        groups = [name for name in named if name.startswith(prefix)]
        if fresh and not {*known.names(), account.identity}.isdisjoint(named):
            return []
        return [
            name
            for name in groups
            if account.user in await self._directory.members(name.removeprefix(prefix), fresh=fresh)
        ]

    async def _not_hiding(self, found: Reviewer, approval: Approval) -> Reviewer | UnprovenAccount:
        """Someone known by nothing but a Slack account may be the agent's owner by another name:
        where the owner may not approve, that is no proof.
        """
        if not approval.terms.not_owner:
            return found
        owner = await self._database.read(partial(owner_of, grant=approval.call.grant))
        if owner and not owner.startswith("slack:"):
            return UnprovenAccount(
                "This rule wants someone other than the agent's owner, and your Slack account is "
                "linked to no reviewer: `signoff reviewer identify NAME --slack …`."
            )
        return found


def _fault(member: Member, team: str) -> UnprovenAccount | None:
    if member.team and member.team != team:
        return FOREIGN
    match member.fault:
        case "":
            return None
        case "guest":
            return UnprovenAccount("Guests may not decide. Nothing was done.")
        case "bot":
            return UnprovenAccount("Bots may not decide. Nothing was done.")
        case _:
            return STRANGER


def _lower(name: str) -> str:
    return name.lower()
