"""What an administrator sees and does about agents, servers and tools. Every change is recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from approvals.differences import ABSENT, changes, text
from approvals.model import Reviewer
from approvals.record.database import Database
from gateway.admin.models import (
    ChangedPin,
    ChangedServer,
    Changes,
    FieldDiff,
    GrantLine,
    PolicyText,
    ServerLine,
    ToolLine,
    UnconfirmedServer,
)
from gateway.enforcement import freezes, tool_class
from gateway.enforcement import grants as tokens
from gateway.enforcement.catalogue import Catalogue, Pin, Tool, pins_digest
from gateway.enforcement.confirmations import By, Confirmations, Outcome
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grants
from gateway.enforcement.policy_file import PolicyFile
from gateway.enforcement.server_display import differences, digest, shown
from gateway.policy.effective import effective_verdict
from gateway.policy.judge import plan_of
from gateway.risk.assessment import Category, Signal
from gateway.risk.attacks import attacks_for
from gateway.servers import CommandServer, Servers

_DAY = 86_400_000


class AdminService:
    """What an administrator does about agents, servers and tools. Every change writes its history
    row.
    """

    def __init__(
        self,
        *,
        database: Database,
        grants: Grants,
        freezes: Freezes,
        catalogue: Catalogue,
        policies: PolicyFile,
        servers: Servers,
        confirmations: Confirmations,
    ) -> None:
        self._database = database
        self._grants = grants
        self._freezes = freezes
        self._catalogue = catalogue
        self._policies = policies
        self._servers = servers
        self._confirmations = confirmations

    async def grants(self) -> Sequence[GrantLine]:
        """Every grant there ever was."""
        return [
            GrantLine(
                id=grant.id,
                label=grant.label,
                servers=tuple(sorted(grant.servers)),
                owner=grant.owner,
                created_at=grant.created_at,
                expires_at=grant.expires_at,
                revoked_at=grant.revoked_at,
                frozen_at=self._freezes.since("grant", grant.id),
                patience=grant.patience,
                waits=None
                if grant.patience is None
                else grant.waits(grant.patience if grant.hold is None else grant.hold),
            )
            for grant in await self._database.read(tokens.listing)
        ]

    async def create(
        self, *, label: str, servers: tuple[str, ...], owner: str, days: int | None, by: Reviewer
    ) -> str:
        """Make a grant; its token, which no one can read again."""
        _, token = await self._database.journal.write(
            lambda tx: tokens.create(
                tx,
                label=label,
                servers=frozenset(servers or ("*",)),
                owner=owner,
                expires_at=tx.now + days * _DAY if days is not None else None,
                by=by.id,
            )
        )
        return token

    async def revoke(self, grant_id: str, *, by: Reviewer) -> bool:
        """End a grant. False: it had ended, or there is none."""
        revoked = await self._database.journal.write(
            lambda tx: tokens.revoke(tx, grant_id, by=by.id)
        )
        self._grants.forget()
        return revoked

    async def freeze(self, kind: str, name: str, *, on: bool, by: Reviewer) -> bool:
        """Stop a grant, a server or everything (name ""), or let it go on. False: nothing moved."""
        known = next((one for one in get_args(freezes.Kind) if one == kind), None)
        if known is None:
            return False
        change = freezes.freeze if on else freezes.thaw
        changed = await self._database.journal.write(lambda tx: change(tx, known, name, by=by.id))
        await self._freezes.load()
        return changed

    async def servers(self) -> Sequence[ServerLine]:
        """The servers of servers.json, and what is wrong in it."""
        counts: dict[str, int] = {}
        for tool in self._catalogue.tools():
            counts[tool.server] = counts.get(tool.server, 0) + 1
        lines = [
            ServerLine(
                name=name,
                address=(
                    server.written[0] if isinstance(server, CommandServer) else server.written
                ),
                state=self._state(name),
                error=self._catalogue.overfull.get(name, ""),
                tools=counts.get(name, 0),
                frozen=self._freezes.is_frozen("server", name),
            )
            for name, server in self._servers.servers.items()
        ]
        lines += [
            ServerLine(
                name=problem.server or "servers.json",
                address="",
                state="down",
                tools=0,
                error=problem.text,
            )
            for problem in self._servers.problems
        ]
        return lines

    def _state(self, name: str) -> str:
        if not self._confirmations.allows(name):
            return "waiting"
        if name in self._catalogue.overfull:
            return "down"
        return "ready" if self._catalogue.listed(name) else "idle"

    def unconfirmed(self) -> Sequence[UnconfirmedServer]:
        """The servers whose command or URL waits to be confirmed."""
        return [
            UnconfirmedServer(
                name=one.name,
                what=shown(one),
                revision=digest(one),
                known=self._confirmations.stated(one.name) is not None,
                changes=tuple(
                    FieldDiff(change.what, change.before, change.after)
                    for change in differences(self._confirmations.stated(one.name), one)
                ),
            )
            for one in self._confirmations.waiting()
        ]

    async def confirm(self, server: str, revision: str, *, by: Reviewer) -> Outcome:
        """Let a server be started or reached, if it is still what was shown."""
        return await self._confirmations.confirm_server(server, revision, By.reviewer(by, "page"))

    async def tools(self) -> Sequence[ToolLine]:
        """Every tool that a server ever listed."""
        return [self._line(tool) for tool in self._catalogue.tools()]

    async def changed_servers(self) -> Sequence[ChangedServer]:
        """The servers of which something is in quarantine."""
        found = self._catalogue.quarantined()
        tools = Counter(pin.server for pin in found if pin.kind == "tool")
        everything = Counter(pin.server for pin in found)
        return [
            ChangedServer(server, tools[server], number - tools[server])
            for server, number in sorted(everything.items())
        ]

    async def changes(self, server: str, tool: str = "") -> Changes | None:
        """How a quarantined tool differs from its pin, or all that the server changed; None if
        nothing does.
        """
        await self._catalogue.load(server)  # another process may have listed or accepted it
        found = self._quarantined(server, tool)
        if not found:
            return None
        return Changes(
            server=server, pins=tuple(_changed(pin) for pin in found), digest=pins_digest(found)
        )

    async def settle(
        self, server: str, tool: str, digest: str, *, keep: bool, by: Reviewer
    ) -> bool:
        """Accept or keep what the digest of `changes` names; False if that is not what the server
        says now.
        """
        found = self._quarantined(server, tool)
        if not found or pins_digest(found) != digest:
            return False
        settle = self._catalogue.keep if keep else self._catalogue.accept
        return await settle(server, {pin.subject: pin.seen_hash for pin in found}, by=by.id)

    def _quarantined(self, server: str, tool: str) -> list[Pin]:
        """A tool, if it is in quarantine; with no name, all that is of the server."""
        found = self._catalogue.quarantined(server)
        return [pin for pin in found if not tool or pin.subject == ("tool", tool)]

    async def classify(
        self, server: str, tool: str, kind: str, seen_hash: str, by: Reviewer
    ) -> bool:
        """Settle the class of the tool whose pinned definition has this hash; "" takes that back.
        False: no such class or tool, it is pinned otherwise, or there is nothing to take back.
        """
        category = next((one for one in Category if one.lower() == kind), None)
        if kind and category is None:
            return False
        done = await self._database.journal.write(
            lambda tx: tool_class.settle(tx, server, tool, category, pinned=seen_hash, by=by.id)
        )
        await self._catalogue.load()
        return done

    def policy(self) -> PolicyText:
        """The policy in force."""
        policies = self._policies
        rejected = policies.rejected
        return PolicyText(
            text=policies.text,
            hash=policies.current.hash,
            path=str(policies.path),
            loaded_at=policies.loaded_at,
            problems=tuple(str(problem) for problem in rejected.problems) if rejected else (),
            confirms=policies.confirmed is not None,
        )

    def _line(self, tool: Tool) -> ToolLine:
        policy = self._policies.current
        plan = plan_of(policy, tool.server, tool.name)
        verdict, rule = effective_verdict(policy, tool.server, tool.name)
        description = tool.definition.get("description")
        return ToolLine(
            server=tool.server,
            name=tool.name,
            description=description if isinstance(description, str) else "",
            risk=tool.assessment.risk,
            kind=tool.assessment.category.lower(),
            verdict=verdict,
            rule=rule,
            changed=tool.quarantined,
            new=not plan.listed and not plan.hidden and not tool.accepted_by,
            seen_hash=tool.seen_hash,
            why=tool.assessment.rationale,
            attacks=tuple(attack.name for attack in attacks_for(tool.assessment)),
            settled_by=tool.settled.settled_by if tool.settled is not None else "",
            habit=Signal.HABIT in tool.assessment.signals,
            volatile=tool.volatile,
        )


def _changed(pin: Pin) -> ChangedPin:
    return ChangedPin(
        kind=pin.kind,
        name=pin.name,
        changed_at=pin.changed_at,
        back_at=pin.back_at,
        pinned_hash=pin.hash,
        seen_hash=pin.seen_hash,
        fields=tuple(
            FieldDiff(
                text(change.path).removeprefix("args."),
                _written(change.before),
                _written(change.after),
            )
            for change in changes(dict(pin.definition), dict(pin.seen))
        ),
    )


def _written(value: Any) -> str | None:
    """A value of a definition as text: texts as they are, the rest as JSON; None if absent."""
    if value is ABSENT:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
