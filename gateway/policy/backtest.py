"""A new policy tried on calls that were already judged: what would change. Pure.

Reading the history is the caller's; here it is given as `Past` values. Limits are not replayed:
whether a counter had room depends on the calls between, so such calls are reported as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from approvals.model import Call
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import judge
from gateway.policy.rules import Policy
from gateway.policy.verdict import Allow, Deny, Hold, Verdict

Was = Literal["allow", "deny", "hold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One call from the history. `args` None: the arguments are gone or masked."""

    seq: int
    call: Call
    was: Was
    args: Mapping[str, Any] | None
    tool: ToolFacts
    grant: GrantFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudged:
    """A call whose verdict would be another one."""

    past: Past
    now: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """The outcome. `minutes` estimates the reviewers' time of all holds under the new policy."""

    calls: int
    newly_held: tuple[Rejudged, ...]
    newly_denied: tuple[Rejudged, ...]
    newly_passed: tuple[Rejudged, ...]
    not_replayed: tuple[Past, ...]
    held: int
    minutes: float


def backtest(new: Policy, past: Iterable[Past], *, minutes_each: float = 1.0) -> Backtest:
    """Judges every call again. A call that needs its arguments and lost them is not replayed."""
    moved: dict[str, list[Rejudged]] = {"allow": [], "deny": [], "hold": []}
    lost: list[Past] = []
    calls = 0
    approvals = held = 0
    for one in past:
        calls += 1
        verdict = _again(new, one)
        if verdict is None:
            lost.append(one)
            continue
        now = _word(verdict)
        if isinstance(verdict, Hold):
            held += 1
            approvals += verdict.terms.quorum
        if now != one.was:
            moved[now].append(Rejudged(past=one, now=verdict))
    return Backtest(
        calls=calls,
        newly_held=tuple(moved["hold"]),
        newly_denied=tuple(moved["deny"]),
        newly_passed=tuple(moved["allow"]),
        not_replayed=tuple(lost),
        held=held,
        minutes=approvals * minutes_each,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Otherwise:
    """Calls that two readings of the rules judge differently; `past.was` is what the one said."""

    calls: int
    moved: tuple[Rejudged, ...]
    not_replayed: tuple[Past, ...]


def otherwise(one: Policy, other: Policy, past: Iterable[Past]) -> Otherwise:
    """Every call judged under both, whatever was said of it then."""
    moved: list[Rejudged] = []
    lost: list[Past] = []
    calls = 0
    for call in past:
        calls += 1
        before, now = _again(one, call), _again(other, call)
        if before is None or now is None:
            lost.append(call)
        elif _word(before) != _word(now):
            moved.append(Rejudged(past=replace(call, was=_word(before)), now=now))
    return Otherwise(calls=calls, moved=tuple(moved), not_replayed=tuple(lost))


def said(policy: Policy, one: Past) -> Was | None:
    """What a policy says of a past call; None if it reads arguments that are lost."""
    verdict = _again(policy, one)
    return None if verdict is None else _word(verdict)


def _again(new: Policy, one: Past) -> Verdict | None:
    if one.args is not None:
        return judge(new, one.call, tool=one.tool, grant=one.grant, args=one.args)
    verdict = judge(new, one.call, tool=one.tool, grant=one.grant, args={})
    plan = new.plans.get((one.call.server, one.call.tool))
    return None if plan is None or plan.constant is None else verdict


def _word(verdict: Verdict) -> Was:
    match verdict:
        case Allow():
            return "allow"
        case Deny():
            return "deny"
        case Hold():
            return "hold"
