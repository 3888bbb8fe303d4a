"""A policy once it is read: sections, entries and rules, frozen. Pure; judges nothing.

Every part carries the JSON pointer of where it was written in policy.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from approvals.model import EFFECT_KEPT, Detached, Risk, Terms
from gateway.policy.conditions import Condition
from gateway.policy.limit import Limit
from gateway.policy.paths import Path
from gateway.policy.problems import PolicyProblem
from gateway.policy.reviewers import Groups
from gateway.policy.verdict import Verdict

Default = Literal["allow", "deny", "require_approval"]
RISKS: tuple[Risk, ...] = ("low", "medium", "high", "critical")
REVEAL = ("admin",)
DETACHED: tuple[Detached, ...] = ("execute", "keep", "withdraw")  # the laxest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One element of `deny_if` or `require`; `reason` is what the agent is told, "" when unsaid."""

    pointer: str
    conditions: tuple[Condition, ...]
    reason: str
    claims: bool  # some condition reads tool.annotations: the server's own claims


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRule(Rule):
    """One element of `approve_if`, or `require_approval`."""

    terms: Terms  # the policy's approval defaults filled in, groups resolved
    written: Mapping[str, Any]  # the terms this rule itself states, in normal form


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRule:
    """A template such as `refund:{args.payment_id}`, cut into texts and paths."""

    pointer: str
    text: str
    parts: tuple[str | Path, ...]
    keep: int = EFFECT_KEPT  # seconds for which what was done counts
    again: bool = False  # a person is asked whether it may happen once more


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the policy says of one tool name or glob, or (`all_tools`) of every tool."""

    name: str
    pointer: str
    deny: Rule | None = None  # `action: deny`
    deny_if: tuple[Rule, ...] = ()
    require: tuple[Rule, ...] = ()
    approve: HoldRule | None = None  # `require_approval`
    approve_if: tuple[HoldRule, ...] = ()
    limits: tuple[Limit, ...] = ()
    redact: tuple[Path, ...] = ()
    effect: EffectRule | None = None
    summary: str = ""  # of held calls whose rule states none

    @property
    def holds(self) -> tuple[HoldRule, ...]:
        return self.approve_if if self.approve is None else (self.approve, *self.approve_if)

    @property
    def always_denies(self) -> bool:
        return self.deny is not None or any(not rule.conditions for rule in self.deny_if)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The whole document's rules, or those of one server."""

    pointer: str
    default: Default | None
    hide: tuple[str, ...]
    all_tools: Entry
    exact: Mapping[str, Entry]
    globs: tuple[Entry, ...]  # as `pattern.specific_first` orders them
    redact: tuple[Path, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (*self.exact.values(), *self.globs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The rules of one tool in the order they are judged."""

    named: bool  # the name is one a tool can have
    hidden: bool  # by `hide`, or because no call could ever name it
    listed: bool  # some entry of `tools` names it
    default: Default
    entries: tuple[Entry, ...]
    denials: tuple[Rule, ...]
    deny_if: tuple[Rule, ...]
    require: tuple[Rule, ...]
    limits: tuple[Limit, ...]
    holds: tuple[HoldRule, ...]
    effect: EffectRule | None
    redact: tuple[Path, ...]
    redact_texts: tuple[str, ...]  # the same as text, such as `args.card.number`
    summary: str = ""  # of held calls whose rule states none
    constant: Verdict | None = None  # when neither arguments nor facts can change the verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy.json that may be judged by. `hash` is the SHA-256 of the normal form."""

    name: str
    hash: str
    normal: Mapping[str, Any]
    root: Section
    servers: Mapping[str, Section]
    reviewers: Groups  # by name, resolved
    terms: Terms  # the approval defaults
    warnings: tuple[PolicyProblem, ...]
    plans: dict[tuple[str, str], Plan] = field(default_factory=dict, compare=False, repr=False)
    #: What applies to a tool, by server and name, kept once looked up; `judge` fills and bounds it.

    def section(self, server: str) -> Section | None:
        return self.servers.get(server)

    def default_for(self, server: str) -> Default:
        section = self.servers.get(server)
        return (section and section.default) or self.root.default or "deny"
