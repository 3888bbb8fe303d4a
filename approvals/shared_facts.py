"""What the cards of one listing share: earlier calls, people, who waits. Each is read once."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, select

from approvals import processes
from approvals.headline import Headline, headline
from approvals.model import Approval, Millis, Reviewer
from approvals.permission import owner_of
from approvals.reviewers import everyone
from approvals.rows import (
    APPROVAL,
    LISTED,
    UNSETTLED,
    approval_of,
    read_terms,
    unsettled_like,
)
from approvals.values import Value, target_of

_LOOKED_BACK: Final = 50  # earlier decided calls a call is compared with
_SHORT: Final = 16 * 1024  # characters of arguments that a list reads for a sentence


@dataclass(frozen=True, slots=True)
class Decoded:
    """An approval whose masked arguments are read once."""

    approval: Approval
    shown: Any  # the masked arguments
    target: Value | None  # what the call is mostly about
    headline: Headline


@dataclass(slots=True)
class SharedFacts:
    """What the cards of one listing share, read once. For one connection and one moment: made for
    a listing and dropped with it.
    """

    connection: Connection
    _past: dict[tuple[str, str, str], tuple[Decoded, ...]] = field(default_factory=dict)
    _doubt: bool | None = None
    _people: tuple[Reviewer, ...] | None = None
    _owners: dict[str, str] = field(default_factory=dict)
    _alive: frozenset[str] | None = None

    def people(self) -> tuple[Reviewer, ...]:
        """Everyone on record."""
        if self._people is None:
            self._people = everyone(self.connection)
        return self._people

    def owner(self, grant: str) -> str:
        """The reviewer whose agent holds this grant."""
        if grant not in self._owners:
            self._owners[grant] = owner_of(self.connection, grant=grant) or ""
        return self._owners[grant]

    def earlier(self, approval: Approval) -> list[Decoded]:
        """Earlier decided calls of this tool by this grant, the latest decision first."""
        call = approval.call
        key = (call.grant, call.server, call.tool)
        if key not in self._past:
            self._past[key] = _read_past(self.connection, *key)
        # By creation, as read: what is left out is the oldest, whether or not this one is in it.
        found = [one for one in self._past[key] if one.approval.id != approval.id][:_LOOKED_BACK]
        return sorted(found, key=lambda one: one.approval.decided_at or 0, reverse=True)

    def waits(self, approval: Approval, now: Millis) -> bool:
        """Whether its agent waits in place, at a gateway that lives."""
        if self._alive is None:
            self._alive = processes.living(self.connection, now)
        return processes.waits(approval, now, self._alive)

    def unsettled(self, approval: Approval) -> Approval | None:
        """Another approval whose outcome is unknown and which this call may repeat."""
        if self._doubt is None:
            found = self.connection.execute(select(APPROVAL.c.id).where(UNSETTLED).limit(1))
            self._doubt = found.first() is not None
        if not self._doubt:
            return None
        server = approval.call.server
        unknown = unsettled_like(self.connection, approval.digest, None, server)
        return None if unknown is None or unknown.id == approval.id else unknown


def _read_past(connection: Connection, grant: str, server: str, tool: str) -> tuple[Decoded, ...]:
    rows = connection.execute(
        select(*LISTED)
        .where(
            APPROVAL.c.grant_id == grant,
            APPROVAL.c.server == server,
            APPROVAL.c.tool == tool,
            APPROVAL.c.decided_by != "",
        )
        .order_by(APPROVAL.c.created_at.desc(), APPROVAL.c.id)
        .limit(_LOOKED_BACK + 1)
    ).mappings()
    return tuple(decoded(approval_of(row)) for row in rows)


def decoded(approval: Approval) -> Decoded:
    """The approval with what its card shows of the arguments."""
    shown = json.loads(approval.masked)
    sentence = headline(approval.call.tool, approval.terms.summary, shown)
    return Decoded(approval, shown, target_of(shown), sentence)


def headlines_of(connection: Connection, ids: Collection[str]) -> dict[str, Headline]:
    """These approvals in one sentence each, by id; those of long arguments are left out."""
    rows = connection.execute(
        select(APPROVAL.c.id, APPROVAL.c.tool, APPROVAL.c.terms, APPROVAL.c.masked).where(
            APPROVAL.c.id.in_(ids), func.length(APPROVAL.c.masked) <= _SHORT
        )
    )
    return {
        row.id: headline(row.tool, read_terms(row.terms).summary, json.loads(row.masked))
        for row in rows
    }
