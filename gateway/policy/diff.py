"""What changes between two policies, tool by tool, in words. Pure; compares what is enforced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from approvals.digest import canonical
from gateway.policy import conditions, normal_form
from gateway.policy.limit import Limit
from gateway.policy.reading import brief
from gateway.policy.rules import EffectRule, Entry, HoldRule, Policy, Rule, Section


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One difference. `server` "" is the whole document, `tool` "" everything in that section."""

    server: str
    tool: str
    words: str

    def __str__(self) -> str:
        place = "/".join(part for part in (self.server, self.tool) if part)
        return f"{place}: {self.words}" if place else self.words


def diff(old: Policy, new: Policy) -> tuple[RuleChange, ...]:
    """Every change from `old` to `new`; () when both enforce the same."""
    if old.hash == new.hash:
        return ()
    changes = [
        *_keys("reviewers", old.normal, new.normal, "the reviewer group"),
        *_keys("approval", old.normal, new.normal, "the approval default"),
        *_section("", old.root, new.root),
    ]
    empty = Section(
        pointer="",
        default=None,
        hide=(),
        all_tools=Entry(name="*", pointer=""),
        exact={},
        globs=(),
    )
    for server in dict.fromkeys((*old.servers, *new.servers)):
        changes += _section(server, old.servers.get(server, empty), new.servers.get(server, empty))
    return tuple(changes)


def _keys(key: str, old: Mapping[str, Any], new: Mapping[str, Any], what: str) -> list[RuleChange]:
    before, after = old.get(key, {}), new.get(key, {})
    return [
        RuleChange(
            server="",
            tool="",
            words=f"{what} {name}: {_from_to(before.get(name), after.get(name))}",
        )
        for name in dict.fromkeys((*before, *after))
        if canonical(before.get(name)) != canonical(after.get(name))
    ]


def _from_to(before: Any, after: Any) -> str:
    return f"{_plain(before)} -> {_plain(after)}"


def _plain(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping) and "set" in value:  # a risk
        return f"set to {value['set']}"
    if isinstance(value, Mapping):  # a group of reviewers with a channel
        return f"{_plain(value['members'])} (in {value['channel']})"
    return str(value)


def _section(server: str, old: Section, new: Section) -> list[RuleChange]:
    def change(words: str, tool: str = "") -> RuleChange:
        return RuleChange(server=server, tool=tool, words=words)

    changes = []
    if old.default != new.default:
        changes.append(change(f"tools listed nowhere: {_from_to(old.default, new.default)}"))
    if old.redact != new.redact:
        changes.append(change(f"redacted: {_from_to(_texts(old.redact), _texts(new.redact))}"))
    for name in dict.fromkeys((*old.hide, *new.hide)):
        if name not in old.hide:
            changes.append(change("is hidden now", name))
        elif name not in new.hide:
            changes.append(change("is no longer hidden", name))
    both = entry_changes(old.all_tools, new.all_tools)
    changes += [change(words, "every tool") for words in both]
    return changes + [change(words, name) for name, words in _entries(old, new)]


def _entries(old: Section, new: Section) -> list[tuple[str, str]]:
    before = {entry.name: entry for entry in old.entries}
    after = {entry.name: entry for entry in new.entries}
    found = []
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            found.append((name, f"is no longer listed (was: {summary(before[name])})"))
        elif name not in before:
            found.append((name, f"is listed now: {summary(after[name])}"))
        else:
            found += [(name, words) for words in entry_changes(before[name], after[name])]
    return found


def _texts(paths: Sequence[Any]) -> tuple[str, ...]:
    return tuple(path.text for path in paths)


def entry_changes(old: Entry, new: Entry) -> list[str]:
    """What changes for one tool, one sentence each."""
    before, after = _sentences(old), _sentences(new)
    gone = [f"removed: {words}" for words in before if words not in after]
    come = [f"added: {words}" for words in after if words not in before]
    if not gone and not come:
        come = _unsaid(normal_form.entry(old), normal_form.entry(new))
    return gone + come


def _unsaid(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What the sentences do not tell: another order, or values alike as far as they are shown."""
    if canonical(old) == canonical(new):
        return []
    if _sorted(old) == _sorted(new):
        return ["the order of its rules changed"]
    return ["values changed that are too long to be shown here: see the file"]


def _sorted(written: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: sorted(map(canonical, value)) if isinstance(value, list) else canonical(value)
        for key, value in written.items()
    }


def summary(entry: Entry) -> str:
    """The entry in a few words: "allowed, at most 60 per minute"."""
    return "; ".join(_sentences(entry)) or "allowed"


def _sentences(entry: Entry) -> list[str]:
    denials = entry.deny_if if entry.deny is None else (entry.deny, *entry.deny_if)
    return [
        *(_rule("denied", "if", rule) for rule in denials),
        *(_rule("denied", "unless", rule) for rule in entry.require),
        *(_hold(rule) for rule in entry.holds),
        *(_limit(limit) for limit in entry.limits),
        *([f'its held calls read "{entry.summary}"'] if entry.summary else []),
        *(f"{path.text} redacted" for path in entry.redact),
        *([] if entry.effect is None else [_effect(entry.effect)]),
    ]


def _effect(effect: EffectRule) -> str:
    again = "then a person is asked" if effect.again else "then refused"
    return f"{effect.text} happens once in {brief(effect.keep)}, {again}"


def _rule(verb: str, word: str, rule: Rule) -> str:
    when = " and ".join(conditions.words(one) for one in rule.conditions)
    text = f"{verb} {word} {when}" if when else f"{verb} always"
    return f'{text} ("{rule.reason}")' if rule.reason else text


def _hold(rule: HoldRule) -> str:
    text = _rule("needs approval", "if", rule)
    terms = ", ".join(f"{key} {_plain(value)}" for key, value in rule.written.items())
    return f"{text} [{terms}]" if terms else text


def _limit(limit: Limit) -> str:
    what = "calls"
    if limit.increment_from is not None:
        what = f"of {normal_form.limit(limit)['increment_from'].removeprefix('args.')}"
    return f"at most {limit.text} {what} per {limit.scope} (counter {limit.counter})"
