"""A project folder with a real record in it, filled by the functions the gateway uses."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from approvals import decide, execution, queue
from approvals.digest import canonical
from approvals.model import (
    Approval,
    Call,
    Choice,
    Client,
    Event,
    Execution,
    Ruling,
    State,
    Terms,
    Vote,
)
from approvals.record.clock import SystemClock
from approvals.record.database import Database, Transaction
from approvals.record.keys import Keys
from approvals.reviewers import add
from approvals.rows import load
from gateway.enforcement import grants
from gateway.enforcement.catalogue import Catalogue

POLICY = {
    "version": "1",
    "default": "deny",
    "tools": {
        "look": {},
        "refund": {
            "require": [{"conditions": [{"path": "args.amount", "op": "gte", "value": 0}]}],
            "approve_if": [
                {
                    "conditions": [{"path": "args.amount", "op": "gt", "value": 100}],
                    "reason": "Large refunds need a person.",
                }
            ],
        },
        "close": {
            "limits": [{"counter": "closes", "window": "minute", "max": 60, "scope": "grant"}]
        },
    },
}


@dataclass(slots=True)
class Folder:
    """The folder; the record is open only while something is written or read."""

    path: Path
    grant: str = "grt_7d1f0a22c3b94e58"
    calls: dict[str, str] = field(default_factory=dict)
    label: str = "claude@laptop"  # of the grant whose calls are held
    outside: Path | None = None  # where the record lies, if not in the folder

    @property
    def data(self) -> Path:
        return self.outside or self.path / ".signoff"

    def open(self) -> Database:
        data = self.data
        data.mkdir(mode=0o700, exist_ok=True)
        keys = Keys.open(data / "signoff.key")
        return Database.open(f"sqlite:///{data / 'signoff.db'}", key=keys, clock=SystemClock())

    def write(self, *functions: Any) -> list[Any]:
        """What each function gives, each in a transaction of its own."""
        database = self.open()
        try:
            return [database.journal.write_now(function) for function in functions]
        finally:
            database.close_now()

    def lists(self, server: str, *definitions: dict[str, Any]) -> None:
        """The server was seen to list these tools."""

        async def observe(database: Database) -> None:
            catalogue = Catalogue(database)
            await catalogue.load()
            await catalogue.observe(server, definitions, complete=True)

        database = self.open()
        try:
            asyncio.run(observe(database))
        finally:
            database.close_now()

    def people(self, **roles: str) -> None:
        self.write(*(lambda tx, n=name, r=role: add(tx, n, role=r) for name, role in roles.items()))

    def granted(self, label: str = "claude@laptop") -> str:
        [(grant, _)] = self.write(
            lambda tx: grants.create(tx, label=label, servers=frozenset({"*"}))
        )
        return str(grant.id)

    def held(
        self, tool: str = "refund", args: Mapping[str, Any] | None = None, **terms: Any
    ) -> Approval:
        """One call that waits."""
        [approval] = self.write(lambda tx: self.hold(tx, tool, args, **terms))
        assert isinstance(approval, Approval)
        return approval

    def hold(
        self, tx: Transaction, tool: str, args: Mapping[str, Any] | None = None, **terms: Any
    ) -> Approval:
        arguments = {"payment": "pay_1", "amount": 120} if args is None else args
        return queue.open_approval(
            tx,
            call=Call(
                grant=self.grant,
                grant_label=self.label,
                server="billing",
                tool=tool,
                arguments=canonical(json.loads(json.dumps(arguments))),
                tool_hash="9f" * 32,
                client=Client("claude-code", "2.1"),
                session_calls=14,
            ),
            ruling=Ruling(
                rule=f"/tools/{tool}/approve_if/0",
                reason="Large refunds need a person.",
                policy_hash="5b" * 32,
                matched="amount 120 > 100",
            ),
            terms=Terms(**{"expires": 1800, **terms}),
        )

    def state(self, approval_id: str) -> tuple[State, Execution, str, str]:
        """State, execution, who decided and by which channel."""
        database = self.open()
        try:
            found = database.read_now(lambda connection: load(connection, approval_id))
        finally:
            database.close_now()
        assert found is not None
        return found.state, found.execution, found.decided_by, found.decided_via

    def unknown(self) -> Approval:
        """An approved call whose outcome no one knows."""
        [approval] = self.write(lambda tx: self.hold(tx, "refund"))

        def approve(tx: Transaction) -> object:
            who = add(tx, "earlier", role="approver")
            return decide.decide(
                tx,
                approval.id,
                Vote(revision=1, reviewer=who, choice=Choice.APPROVE, reason="", via="page"),
            )

        def claim(tx: Transaction) -> object:
            return execution.claim(
                tx,
                approval.id,
                owner="one",
                lease_ms=1,
                recheck=lambda _tx, _approval: execution.Proceed(None),
            )

        def finish(tx: Transaction) -> object:
            return execution.finish(
                tx,
                approval.id,
                execution.RunEnd(Execution.OUTCOME_UNKNOWN, latency_ms=1),
                owner="one",
            )

        self.write(approve, claim, finish)
        assert isinstance(approval, Approval)
        return approval

    def judged(self, tool: str, verdict: str, args: str, **more: Any) -> None:
        """One row of the history as the guard writes it for a call that is not held."""
        event = {"allow": "allowed", "deny": "denied", "limited": "limited"}[verdict]
        self.write(
            lambda tx: tx.append(
                Event(
                    event=event,
                    actor_kind="agent",
                    actor="claude@laptop",
                    grant=self.grant,
                    server="billing",
                    tool=tool,
                    arguments=args,
                    verdict=verdict,
                    **more,
                )
            )
        )

    def policy(self, **changes: Any) -> Path:
        path = self.path / "policy.json"
        path.write_text(json.dumps({**POLICY, **changes}))
        return path
