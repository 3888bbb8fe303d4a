"""What the surface is built from. Everything it can reach is named here, and nothing else is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from approvals.clock import Clock
from approvals.model import Approval, Call, Millis, Reviewer
from approvals.reviewers import People
from approvals.service import Approvals
from approvals.store import Database, Transaction
from web.guard import Border
from web.page.frame import Banner


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLine:
    """One tool of one server, as the catalogue and the policy in force see it."""

    server: str
    name: str
    description: str
    risk: str  # "low" to "critical"
    kind: str  # "read", "write", "execute", "destructive", "financial", "other"
    verdict: str  # "allow", "limited", "hold", "deny", "hidden"
    rule: str
    changed: bool = False  # its definition differs from the pinned one
    new: bool = False  # listed nowhere in the policy, and nobody has looked at it yet
    seen_hash: str = ""  # of the definition as the server states it now
    why: str = ""  # the class's rationale, in our own words
    attacks: tuple[str, ...] = ()  # names of the attack patterns its class lends itself to


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantLine:
    id: str
    label: str
    servers: tuple[str, ...]
    owner: str
    created_at: Millis
    expires_at: Millis | None
    revoked_at: Millis | None
    frozen_at: Millis | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLine:
    name: str
    address: str  # a URL without credentials, or the command's first word
    state: str  # "ready", "down", "idle"
    tools: int
    frozen: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class FieldDiff:
    """One field of a definition, as text; None where that side lacks it."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedTool:
    """A tool whose server now describes it differently from what was accepted."""

    server: str
    name: str
    changed_at: Millis | None
    pinned_hash: str
    seen_hash: str  # what an acceptance names
    fields: tuple[FieldDiff, ...]


class Desk(Protocol):
    """What an administrator does about agents and servers. Every change writes its history row."""

    async def grants(self) -> Sequence[GrantLine]: ...

    async def create(
        self, *, label: str, servers: tuple[str, ...], owner: str, days: int | None, by: Reviewer
    ) -> str:
        """Makes a grant and returns its token, which nobody can read again."""
        ...

    async def revoke(self, grant_id: str, *, by: Reviewer) -> bool: ...

    async def freeze(self, kind: str, name: str, *, on: bool, by: Reviewer) -> bool:
        """Stops or lets go on: kind "grant", "server" or "everything" (name "")."""
        ...

    async def servers(self) -> Sequence[ServerLine]: ...

    async def changed(self, server: str, tool: str) -> ChangedTool | None:
        """How a quarantined tool differs from its pin; None if it does not, or is unknown."""
        ...

    async def accept(self, server: str, tool: str, seen_hash: str, by: Reviewer) -> bool:
        """Pins the definition with this hash; False if that is not what the server says now."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyText:
    """The policy in force, as it stands in the file."""

    text: str
    hash: str
    path: str
    loaded_at: Millis
    problems: tuple[str, ...] = ()  # of a newer file that was refused


class JudgeAgain(Protocol):
    """Says why an edited call may not take the place of the held one; None if it may.

    Called inside the transaction that would write it. `call` differs from the held call only in
    what the rule lists as editable.
    """

    def __call__(self, tx: Transaction, call: Call, *, held: Approval) -> str | None: ...


async def _no_tools() -> Sequence[ToolLine]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything the surface is given. `status` says what everybody should know right now."""

    approvals: Approvals
    people: People
    database: Database
    clock: Clock
    border: Border
    public_url: str
    status: Callable[[], tuple[Banner, ...]] = field(default=tuple)
    tools: Callable[[], Awaitable[Sequence[ToolLine]]] = field(default=_no_tools)
    policy: Callable[[], PolicyText | None] = field(default=lambda: None)
    desk: Desk | None = None
    judge_again: JudgeAgain | None = None  # None: nobody edits
