"""What is legal JSON of the right shape and still wrong or suspicious. Pure.

Errors: counters that disagree, an `undo` that outlasts half of the wait. Warnings: rules that can
never match, bounds on one side only, texts that promise an approval a denial does not give, hidden
tools with rules. Reviewers: `quorum`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from approvals.model import Terms
from gateway.policy import doubts, quorum
from gateway.policy.conditions import Condition
from gateway.policy.contradiction import LOWER, UPPER, impossible
from gateway.policy.limit import Limit
from gateway.policy.pattern import matches
from gateway.policy.problems import Report, shown, step
from gateway.policy.reading import brief
from gateway.policy.rules import RISKS, Entry, Rule, Section
from gateway.policy.terms import undo_fits

_PROMISE = re.compile(r"\b(requires?|needs?) (human |manual )?approval\b", re.IGNORECASE)


def look(root: Section, servers: Mapping[str, Section], defaults: Terms, report: Report) -> None:
    """Reports everything that can be seen without a call."""
    sections = (root, *servers.values())
    _counters(sections, report)
    for section in sections:
        for entry in (section.all_tools, *section.entries):
            _entry(entry, report)
            around = [one for one in (root.all_tools, section.all_tools) if one is not entry]
            doubts.look(entry, tuple(around), report)
        hidden = (*root.hide, *section.hide) if section is not root else root.hide
        _hidden(section, hidden, report)
        _everything(section, section.default or root.default, report)
    quorum.look(root, servers, defaults, report)
    _undo("/approval", defaults, report)
    for entry in (one for section in sections for one in (section.all_tools, *section.entries)):
        for rule in entry.holds:
            if not rule.written.keys().isdisjoint(("undo", "hold")):
                _undo(rule.pointer, rule.terms, report)


def _undo(pointer: str, terms: Terms, report: Report) -> None:
    if not undo_fits(terms):
        what = f"`undo` ({brief(terms.undo)}) is more than half of the time the call itself waits."
        report.error(step(pointer, "undo"), what, "Shorten `undo`, or lengthen `hold`.")


def _counters(sections: Iterable[Section], report: Report) -> None:
    first: dict[str, Limit] = {}
    for section in sections:
        for entry in (section.all_tools, *section.entries):
            for limit in entry.limits:
                other = first.setdefault(limit.counter, limit)
                if (limit.window, limit.scope) != (other.window, other.scope):
                    what = f"The counter {shown(limit.counter)} is also used by {other.pointer}"
                    what += f" per {other.window_name} and {other.scope}."
                    report.error(limit.pointer, what, "Use another counter name, or the same both.")


def _entry(entry: Entry, report: Report) -> None:
    for rule in (*entry.deny_if, *(() if entry.deny is None else (entry.deny,))):
        if _PROMISE.search(rule.reason):
            report.warn(
                rule.pointer,
                f"The text says {shown(rule.reason)}, but this rule denies: no one is asked.",
                'Write "require_approval": true (or approve_if) instead.',
            )
    _unreachable(entry, report)
    for rule in (*entry.deny_if, *entry.approve_if):
        if impossible(rule.conditions):
            what = "The conditions contradict each other, so this rule can never match."
            report.warn(rule.pointer, what, "Change or remove one of them.")
        _risks(rule, report)
    for rule in entry.require:
        if impossible(rule.conditions):
            what = "The conditions contradict each other, so every call is denied."
            report.warn(rule.pointer, what, "Change or remove one of them.")
        _risks(rule, report)
        for at, condition in enumerate(rule.conditions):
            if condition.path.any_element and condition.match == "any":
                report.warn(
                    step(step(rule.pointer, "conditions"), at),
                    "`[*]` is met by one element; the others are not looked at.",
                    'Write "match": "every", or leave `match` out.',
                )
    _one_sided(entry, report)


def _unreachable(entry: Entry, report: Report) -> None:
    """Rules behind a denial of every call."""
    always = entry.deny
    behind: list[str] = []
    for rule in entry.deny_if:
        if always is not None:
            behind.append(rule.pointer)
        elif not rule.conditions:
            always = rule
    if always is None:
        return
    behind += [rule.pointer for rule in (*entry.require, *entry.holds)]
    behind += [limit.pointer for limit in entry.limits]
    behind += [step(entry.pointer, "summary")] if entry.summary else []
    for pointer in behind:
        what = f"This can never match: {always.pointer} denies every call first."
        report.warn(pointer, what, "Remove it, or give the denial conditions.")


def _risks(rule: Rule, report: Report) -> None:
    for at, condition in enumerate(rule.conditions):
        if condition.path.root != "tool.risk" or condition.op not in ("eq", "neq", "in", "not_in"):
            continue
        values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
        for value in values:
            if value not in RISKS:
                place = step(step(rule.pointer, "conditions"), at)
                what = f"No tool has the risk {shown(value)}."
                report.warn(place, what, f"Write one of: {', '.join(RISKS)}.")


def _one_sided(entry: Entry, report: Report) -> None:
    """An upper bound on an argument and nothing that refuses or holds a negative one."""
    bounded = {
        condition.path.text
        for rule, floor in (
            *((rule, UPPER) for rule in (*entry.deny_if, *entry.approve_if)),
            *((rule, LOWER) for rule in entry.require),
        )
        for condition in rule.conditions
        if condition.op in floor
    }
    counted = {limit.increment_from for limit in entry.limits}
    for pointer, condition in _ceilings(entry):
        if condition.path.text in bounded or condition.path.steps in counted:
            continue
        what = f"`{condition.path.text}` is bounded on one side only: a negative one passes."
        report.warn(pointer, what, 'Bound it below, too: "op": "gte", "value": 0 in `require`.')


def _ceilings(entry: Entry) -> Iterator[tuple[str, Condition]]:
    rules = (
        *((rule, LOWER) for rule in (*entry.deny_if, *entry.approve_if)),
        *((rule, UPPER) for rule in entry.require),
    )
    for rule, operators in rules:
        for at, condition in enumerate(rule.conditions):
            if condition.path.root == "args" and condition.op in operators:
                yield step(step(rule.pointer, "conditions"), at), condition


def _hidden(section: Section, hidden: tuple[str, ...], report: Report) -> None:
    for pattern in hidden:
        if "*" not in pattern and "?" not in pattern:
            found = [section.exact[pattern]] if pattern in section.exact else []
        else:
            found = [entry for entry in section.exact.values() if matches(pattern, entry.name)]
        found += [entry for entry in section.globs if entry.name == pattern]
        for entry in found:
            what = f"This never matters: `hide` has {shown(pattern)}."
            report.warn(entry.pointer, what, "Remove the entry, or the name from `hide`.")


def _everything(section: Section, default: str | None, report: Report) -> None:
    for entry in section.globs:
        if set(entry.name) == {"*"} and default == "deny" and not entry.always_denies:
            report.warn(
                entry.pointer,
                'The glob "*" lists every tool, so `default: deny` never applies.',
                "Put rules for every tool into `all_tools`.",
            )
