"""What the surface is built from. Everything it can reach is named here, and nothing else is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import APIRouter

from approvals.model import Reviewer
from approvals.record.clock import Clock
from approvals.record.database import Database
from approvals.reviewers import People
from approvals.service import Approvals, JudgeAgain
from gateway.admin.backtest import Trial
from gateway.admin.models import (
    ChangedServer,
    Changes,
    Draft,
    GrantLine,
    Outcome,
    PolicyOnDisk,
    PolicyText,
    Saved,
    ServerLine,
    ToolLine,
    ToolRules,
    UnconfirmedPolicy,
    UnconfirmedServer,
)
from gateway.operations.status import Alert
from web.border import Border


class Desk(Protocol):
    """What an administrator does about agents and servers. Every change writes its history row."""

    async def grants(self) -> Sequence[GrantLine]: ...

    async def create(
        self, *, label: str, servers: tuple[str, ...], owner: str, days: int | None, by: Reviewer
    ) -> str:
        """Makes a grant and returns its token, which no one can read again."""
        ...

    async def revoke(self, grant_id: str, *, by: Reviewer) -> bool: ...

    async def freeze(self, kind: str, name: str, *, on: bool, by: Reviewer) -> bool:
        """Stops or lets go on: kind "grant", "server" or "everything" (name "")."""
        ...

    async def servers(self) -> Sequence[ServerLine]: ...

    async def changed_servers(self) -> Sequence[ChangedServer]: ...

    async def changes(self, server: str, tool: str = "") -> Changes | None:
        """How a quarantined tool differs from its pin, or all that the server changed; None if
        nothing does.
        """
        ...

    def unconfirmed(self) -> Sequence[UnconfirmedServer]: ...

    async def confirm(self, server: str, revision: str, *, by: Reviewer) -> Outcome:
        """Lets a server be started or reached, if it is still what was shown."""
        ...

    async def classify(
        self, server: str, tool: str, kind: str, seen_hash: str, by: Reviewer
    ) -> bool:
        """Settles the class of the tool whose pinned definition has this hash; "" takes that back.
        False: no such class or tool, it is pinned otherwise, or there is nothing to take back.
        """
        ...

    async def settle(
        self, server: str, tool: str, digest: str, *, keep: bool, by: Reviewer
    ) -> bool:
        """Pins what the digest of `changes` names, or stays with what is pinned; False if that is
        not what the server says now.
        """
        ...


class Rulebook(Protocol):
    """policy.json, read and changed by administrators. Saving writes its history row first."""

    def read(self) -> PolicyOnDisk: ...

    def rules(self, server: str, tool: str, place: str) -> ToolRules | None:
        """`place` is the server whose section says it, "" for the whole document."""
        ...

    def drafted(self, tool: str, place: str, choice: Any) -> tuple[str, str]:
        """The file's text with this said of the tool, and the revision it was drafted on."""
        ...

    def draft(self, text: str, server: str, tool: str) -> Draft: ...

    async def tried(self, text: str) -> Trial | None: ...

    async def save(self, text: str, revision: str, by: Reviewer) -> Saved: ...

    async def unconfirmed(self) -> UnconfirmedPolicy | None:
        """The file, when it is not what was confirmed."""
        ...

    async def confirm(self, revision: str, by: Reviewer) -> Outcome:
        """Lets the file count, if it is still what was shown."""
        ...


async def _no_tools() -> Sequence[ToolLine]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything the surface is given. `status` says what everybody should know right now."""

    approvals: Approvals
    people: People
    database: Database
    clock: Clock
    border: Border
    public_url: str
    status: Callable[[], tuple[Alert, ...]] = field(default=tuple)
    tools: Callable[[], Awaitable[Sequence[ToolLine]]] = field(default=_no_tools)
    policy: Callable[[], PolicyText | None] = field(default=lambda: None)
    desk: Desk | None = None
    judge_again: JudgeAgain | None = None  # None: no one edits
    rulebook: Rulebook | None = None  # None: the policy is only shown
    slack: APIRouter | None = None  # Slack's HTTP door; None: it has none
