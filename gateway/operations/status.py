"""What is wrong right now: the page shows it, /readyz says it briefly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from gateway.admin.reviewer_check import ReviewerCheck
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.policy_file import PolicyFile
from gateway.servers import Servers

Subject = Literal["page", "calls", "policy", "reviewers", "servers", "slack"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """Something everybody should know now: the policy on disk is broken, a server is down."""

    subject: Subject
    text: str  # for people who are signed in: names and places
    public: str = ""  # for anyone: neither; "" where /readyz says nothing of it
    bad: bool = True
    path: str = ""  # where something can be done about it, and what the link there says
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What there is to ask. `slack` says what is wrong with it; None: it is not set up."""

    policies: PolicyFile
    confirmations: Confirmations
    servers: Servers
    freezes: Freezes
    staff: ReviewerCheck
    slack: Callable[[], Sequence[str]] | None = None

    def alerts(self) -> tuple[Alert, ...]:
        """All of them, the gravest first."""
        return (*self._frozen(), *self._policy(), *self._people(), *self._servers(), *self._slack())

    def _frozen(self) -> Iterator[Alert]:
        halted = self.freezes.halted
        if halted is not None:
            yield Alert(subject="calls", text=f"Nothing runs. {halted}")
        for what in self.freezes.frozen():
            text = f"Frozen: {what}. Its calls are refused until someone thaws it."
            yield Alert(subject="calls", text=text)

    def _policy(self) -> Iterator[Alert]:
        if (rejected := self.policies.rejected) is not None:
            yield Alert(
                subject="policy",
                text=f"policy.json is not in force as saved: {rejected.text}",
                public="the saved file is not in force: it has errors",
            )
        if (waiting := self.policies.waiting) is not None:
            yield Alert(
                subject="policy",
                text=f"policy.json was changed and is not in force. It may open: {waiting.text}.",
                public="the saved file is not in force: it waits to be confirmed",
                path="/policy/confirm",
                words="Look and confirm",
            )
        elif self.policies.closing is not None:
            yield Alert(
                subject="policy",
                text="policy.json was changed and closes more: that counts at once. "
                "Confirm to keep it.",
                bad=False,
                path="/policy/confirm",
                words="Look and confirm",
            )

    def _people(self) -> Iterator[Alert]:
        for problem in self.staff.problems:
            yield Alert(
                subject="reviewers",
                text=f"{problem.pointer}: {problem.what} {problem.write}",
                public="some rules no one can approve",
            )

    def _servers(self) -> Iterator[Alert]:
        for problem in self.servers.problems:
            yield Alert(
                subject="servers",
                text=f"Server {problem.server or 'list'}: {problem.text}",
                public="some entries cannot be used",
            )
        for server in self.confirmations.waiting():
            yield Alert(
                subject="servers",
                text=f"Server {server.name} is not started: how it is started or reached is new or "
                "changed, and waits for an administrator.",
                public="some wait to be confirmed",
                path=f"/servers/confirm?server={server.name}",
                words="Look and confirm",
            )

    def _slack(self) -> Iterator[Alert]:
        for fault in self.slack() if self.slack is not None else ():
            text = f"Slack: {fault} Decide on this page meanwhile."
            yield Alert(subject="slack", text=text, public=fault)
