"""One entry of `tools` (or `all_tools`) read into rules. Pure; problems go into the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from approvals.model import EFFECT_KEPT, Terms
from gateway.policy import older_spellings, paths, reading, summaries, terms, vocabulary
from gateway.policy.conditions import MATCHES, OPERATORS, Condition, Match, exact, kind
from gateway.policy.limit import Limit, Scope
from gateway.policy.pattern import BadPattern, Pattern, compile_pattern
from gateway.policy.problems import Report, shown, step
from gateway.policy.reviewers import Groups
from gateway.policy.rules import EffectRule, Entry, HoldRule, Rule

_OPERATOR_WORDS = {
    "==": "eq",
    "=": "eq",
    "!=": "neq",
    "<": "lt",
    "<=": "lte",
    ">": "gt",
    ">=": "gte",
    "equals": "eq",
    "ne": "neq",
    "not_equals": "neq",
    "less_than": "lt",
    "greater_than": "gt",
    "matches": "regex",
    "match": "regex",
    "not_matches": "not_regex",
    "startswith": "starts_with",
    "endswith": "ends_with",
    "prefix": "starts_with",
    "suffix": "ends_with",
    "nin": "not_in",
    "includes": "contains",
    "excludes": "not_contains",
    "notin": "not_in",
}
_ORDERED = ("lt", "lte", "gt", "gte")


@dataclass(frozen=True, slots=True)
class Context:
    """What entries are read against."""

    groups: Groups
    defaults: Terms
    report: Report
    channel: str | None = None  # as `approval` states it, not by a group


def read_entry(
    name: str, raw: Any, pointer: str, counter: str, context: Context
) -> tuple[Entry | None, bool]:
    """One tool's entry, and whether it hides the tool (then there is no entry)."""
    entry = reading.members(raw, pointer, vocabulary.TOOL, context.report, what="A tool's entry")
    if entry is None:
        return None, False
    new = older_spellings.rewrite(entry, pointer, counter, context.report)
    if new.hide:
        return None, True
    report = context.report
    deny = None if new.deny is None else _deny_rule(new.deny, pointer, report)
    effect = _effect(entry, pointer, report)
    return Entry(
        name=name,
        pointer=pointer,
        deny=deny,
        deny_if=_deny_rules(entry, pointer, "deny_if", report),
        require=_deny_rules(entry, pointer, "require", report),
        approve=_approve(new, context),
        approve_if=_hold_rules(entry, pointer, new.approve_if, context),
        limits=(
            *read_limits(entry.get("limits", []), step(pointer, "limits"), report),
            *_limits(new.limits, report),
        ),
        redact=read_paths(entry.get("redact", []), step(pointer, "redact"), report),
        effect=effect,
        summary=summaries.read(entry, pointer, report),
    ), False


def read_all_tools(raw: Any, pointer: str, context: Context) -> Entry:
    """The rules that are added to every tool."""
    entry = reading.members(raw, pointer, vocabulary.ALL_TOOLS, context.report, what="`all_tools`")
    if entry is None:
        return Entry(name="*", pointer=pointer)
    read, _ = read_entry("*", entry, pointer, "all_tools_rate", context)
    return read or Entry(name="*", pointer=pointer)


def read_paths(raw: Any, pointer: str, report: Report) -> tuple[paths.Path, ...]:
    """A list of argument paths."""
    found = [
        paths.parse(item, place, report, roots=("args",))
        for place, item in reading.items(raw, pointer, report, what="Paths")
    ]
    return tuple(path for path in found if path is not None)


def _approve(new: older_spellings.Rewritten, context: Context) -> HoldRule | None:
    raw, pointer, report = new.approve, new.approve_pointer, context.report
    if raw is None and not pointer:
        return None
    if raw is False:
        return None
    if raw is True:
        raw = {}
    if not isinstance(raw, dict):
        what = f"`require_approval` must not be {shown(raw)}."
        report.error(pointer, what, "Write true, or an object of terms.")
        return None
    known = reading.members(raw, pointer, vocabulary.HOLD, report, what="`require_approval`")
    return _hold_rule({"conditions": [], **(known or {})}, pointer, context)


def _hold_rules(
    entry: Mapping[str, Any], pointer: str, older: list[tuple[str, Any]], context: Context
) -> tuple[HoldRule, ...]:
    place = step(pointer, "approve_if")
    written = reading.items(entry.get("approve_if", []), place, context.report, what="`approve_if`")
    rules = []
    for at, raw in written:
        known = reading.members(raw, at, vocabulary.HOLD_RULE, context.report, what="A rule")
        rules.append(None if known is None else _hold_rule(known, at, context))
    rules.extend(_hold_rule(raw, at, context) for at, raw in older)
    return tuple(rule for rule in rules if rule is not None)


def _hold_rule(raw: Mapping[str, Any], pointer: str, context: Context) -> HoldRule | None:
    report = context.report
    conditions = read_conditions(raw, pointer, report, match="any")
    reason = _reason(raw, pointer, ("reason",), report)
    written = terms.read(raw, pointer, context.groups, report)
    if conditions is None:
        return None
    return HoldRule(
        pointer=pointer,
        conditions=conditions,
        reason=reason,
        claims=_reads_claims(conditions),
        terms=terms.fill(written, context.defaults, context.groups, channel=context.channel),
        written=written,
    )


def _deny_rules(
    entry: Mapping[str, Any], pointer: str, key: str, report: Report
) -> tuple[Rule, ...]:
    rules = []
    place = step(pointer, key)
    for at, raw in reading.items(entry.get(key, []), place, report, what=f"`{key}`"):
        known = reading.members(raw, at, vocabulary.DENY_RULE, report, what="A rule")
        if known is None:
            continue
        rule = _deny_rule(known, at, report, match="every" if key == "require" else "any")
        if rule is not None and key == "require" and not rule.conditions:
            report.error(at, "`require` with no conditions requires nothing.", "Add a condition.")
        rules.append(rule)
    return tuple(rule for rule in rules if rule is not None)


def _deny_rule(
    raw: Mapping[str, Any], pointer: str, report: Report, *, match: Match = "any"
) -> Rule | None:
    conditions = read_conditions(raw, pointer, report, match=match)
    reason = _reason(raw, pointer, ("on_deny", "reason"), report)
    if conditions is None:
        return None
    return Rule(
        pointer=pointer, conditions=conditions, reason=reason, claims=_reads_claims(conditions)
    )


def _reason(raw: Mapping[str, Any], pointer: str, keys: tuple[str, ...], report: Report) -> str:
    given = [key for key in keys if key in raw]
    for key in given[1:]:
        report.error(step(pointer, key), "This is the same text twice.", f"Keep `{given[0]}`.")
    if not given:
        return ""
    return reading.text(raw[given[0]], step(pointer, given[0]), report, what="The text") or ""


def _reads_claims(conditions: tuple[Condition, ...]) -> bool:
    return any(condition.path.root == paths.ANNOTATIONS for condition in conditions)


def read_conditions(
    raw: Mapping[str, Any], pointer: str, report: Report, *, match: Match
) -> tuple[Condition, ...] | None:
    """The conditions of one rule; None when they cannot be judged by. `match` is what `[*]` means
    in this kind of rule where the condition does not say.
    """
    place = step(pointer, "conditions")
    if "conditions" not in raw:
        report.error(
            pointer,
            "The rule has no `conditions`.",
            'Write "conditions": [{"path": "args.NAME", "op": "…", "value": …}], or [] for always.',
        )
        return None
    listed = reading.items(raw["conditions"], place, report, what="`conditions`")
    read = [_condition(item, at, report, match) for at, item in listed]
    found = tuple(condition for condition in read if condition is not None)
    whole = isinstance(raw["conditions"], list) and len(found) == len(read)
    return found if whole else None


def _condition(raw: Any, pointer: str, report: Report, match: Match) -> Condition | None:
    known = reading.members(raw, pointer, vocabulary.CONDITION, report, what="A condition")
    if known is None:
        return None
    missing = [key for key in vocabulary.CONDITION_NEEDS if key not in known]
    for key in missing:
        report.error(
            pointer, f"The condition has no `{key}`.", 'Write {"path": …, "op": …, "value": …}.'
        )
    if missing:
        return None
    path = paths.parse(known["path"], step(pointer, "path"), report)
    spelled = known["op"]
    if isinstance(spelled, str) and spelled in _OPERATOR_WORDS:
        advice = f'Write "{_OPERATOR_WORDS[spelled]}".'
        report.error(step(pointer, "op"), f"{shown(spelled)} is no operator here.", advice)
        return None
    op = reading.one_of(spelled, step(pointer, "op"), OPERATORS, report, what="`op`")
    if op is None:
        return None
    value, pattern = _operand(op, known["value"], step(pointer, "value"), report)
    if value is None or path is None:
        return None
    if "match" in known:
        place = step(pointer, "match")
        if not path.any_element:
            what = "`match` says which elements of `[*]` count, and this path has none."
            report.error(place, what, "Remove it, or write args.LIST[*].")
        match = reading.one_of(known["match"], place, MATCHES, report, what="`match`") or match
    return Condition(path=path, op=op, value=value, pattern=pattern, match=match)


def _operand(op: str, raw: Any, pointer: str, report: Report) -> tuple[Any, Pattern | None]:
    """The value in the type the operator compares, and the compiled regex."""
    if op == "exists":
        return reading.boolean(raw, pointer, report, what="The value of `exists`"), None
    if op in _ORDERED:
        if kind(raw) is not int:
            what = f"`{op}` compares numbers, not {shown(raw)}."
            report.error(pointer, what, "Write a number without quotes.")
            return None, None
        return raw, None
    if op in ("in", "not_in"):
        listed = reading.items(raw, pointer, report, what=f"The value of `{op}`")
        if isinstance(raw, list) and not raw:
            report.error(pointer, f"`{op}` of an empty list decides nothing.", "List values.")
        wrong = [(place, item) for place, item in listed if kind(item) is None]
        for place, item in wrong:
            report.error(
                place, f"{shown(item)} cannot be compared.", "Write texts, numbers, true or false."
            )
        return (tuple(raw) if listed and not wrong else None), None
    if op in ("regex", "not_regex"):
        return _regex(raw, pointer, report)
    if op in ("starts_with", "ends_with") and (not isinstance(raw, str) or not raw):
        what = f"`{op}` compares texts, not {shown(raw)}." if raw != "" else f"`{op}` is empty."
        report.error(pointer, what, 'Write a text in quotes, such as "/srv/project/".')
        return None, None
    if kind(raw) is None:
        advice = (
            'Write "op": "exists", "value": false.' if raw is None else "Write a text or a number."
        )
        report.error(pointer, f"`{op}` cannot compare {shown(raw)}.", advice)
        return None, None
    return raw, None


def _regex(raw: Any, pointer: str, report: Report) -> tuple[Any, Pattern | None]:
    if not isinstance(raw, str):
        report.error(pointer, f"A regex must be a text, not {shown(raw)}.", 'Write "^feat/".')
        return None, None
    try:
        return raw, compile_pattern(raw)
    except BadPattern as error:
        what = f"The regex {shown(raw)} does not compile: {error}."
        advice = "Write RE2 syntax: no look-around, no back-references; \\\\ for one backslash."
        report.error(pointer, what, advice)
        return None, None


def read_limits(raw: Any, pointer: str, report: Report) -> tuple[Limit, ...]:
    """The `limits` of an entry or a server."""
    return _limits(reading.items(raw, pointer, report, what="`limits`"), report)


def _limits(listed: list[tuple[str, Any]], report: Report) -> tuple[Limit, ...]:
    found = [_limit(raw, place, report) for place, raw in listed]
    return tuple(limit for limit in found if limit is not None)


def _limit(raw: Any, pointer: str, report: Report) -> Limit | None:
    known = reading.members(raw, pointer, vocabulary.LIMIT, report, what="A limit")
    if known is None:
        return None
    missing = [key for key in ("counter", "window", "max", "scope") if key not in known]
    for key in missing:
        example = '{"counter": "calls", "window": "minute", "max": 60, "scope": "grant"}'
        report.error(pointer, f"The limit has no `{key}`.", f"Write {example}.")
    if missing:
        return None
    counter = reading.text(known["counter"], step(pointer, "counter"), report, what="`counter`")
    window = _window(known["window"], step(pointer, "window"), report)
    most = _maximum(known["max"], step(pointer, "max"), report)
    scope: Scope | None = reading.one_of(
        known["scope"], step(pointer, "scope"), vocabulary.SCOPES, report, what="`scope`"
    )
    amount = None
    if "increment_from" in known:
        place = step(pointer, "increment_from")
        amount = paths.parse(known["increment_from"], place, report, roots=("args",))
        if amount is not None and amount.any_element:
            report.error(place, "`[*]` leads to several numbers.", "Name one value.")
            amount = None
        if amount is None:
            return None
    if counter is None or window is None or most is None or scope is None:
        return None
    return Limit(
        counter=counter,
        window=window[0],
        max=most,
        scope=scope,
        pointer=pointer,
        increment_from=None if amount is None else amount.steps,
        window_name=window[1],
    )


def _window(raw: Any, pointer: str, report: Report) -> tuple[int, str] | None:
    if isinstance(raw, str):
        name = reading.one_of(raw, pointer, vocabulary.WINDOWS, report, what="`window`")
        return None if name is None else (vocabulary.WINDOWS[name], name)
    most = vocabulary.MAX_WINDOW
    seconds = reading.whole(
        raw, pointer, report, what="`window` (minute, hour, day or seconds)", least=1, most=most
    )
    return None if seconds is None else (seconds, f"{seconds} seconds")


def _maximum(raw: Any, pointer: str, report: Report) -> Decimal | None:
    if kind(raw) is int and 0 <= raw <= 10**18:
        if raw == 0:
            report.warn(pointer, "A limit of 0 refuses every call.", "Write `action: deny`.")
        return exact(raw)
    what = f"`max` must be a number from 0 to 10^18, not {shown(raw)}."
    report.error(pointer, what, "Write a number without quotes.")
    return None


def _effect(entry: Mapping[str, Any], pointer: str, report: Report) -> EffectRule | None:
    """The entry's effect, how long it counts, and whether it may happen once more."""
    keep, again = EFFECT_KEPT, False
    for key in vocabulary.EFFECT[1:]:
        if key in entry and "effect" not in entry:
            what = f"`{key}` says nothing without `effect`."
            report.error(step(pointer, key), what, 'Add "effect": "refund:{args.id}".')
    if "effect_for" in entry:
        least, most = vocabulary.EFFECT_FOR
        place = step(pointer, "effect_for")
        found = reading.duration(
            entry["effect_for"], place, report, what="`effect_for`", least=least, most=most
        )
        keep = found if found is not None else keep
    if "effect_again" in entry:
        place = step(pointer, "effect_again")
        word = reading.one_of(
            entry["effect_again"], place, vocabulary.AGAIN, report, what="`effect_again`"
        )
        again = word == "ask"
    if "effect" not in entry:
        return None
    effect = read_effect(entry["effect"], step(pointer, "effect"), report)
    return None if effect is None else replace(effect, keep=keep, again=again)


def read_effect(raw: Any, pointer: str, report: Report) -> EffectRule | None:
    """`refund:{args.payment_id}` cut at its braces."""
    text = reading.text(raw, pointer, report, what="`effect`")
    if text is None:
        return None
    parts: list[str | paths.Path] = []
    rest = text
    while rest:
        head, brace, rest = rest.partition("{")
        if head:
            parts.append(head)
        if not brace:
            break
        inner, closed, rest = rest.partition("}")
        path = paths.parse(inner, pointer, report, roots=("args",)) if closed else None
        if path is None or path.any_element or "}" in head:
            report.error(pointer, f"{shown(text)} is no template.", 'Write "refund:{args.id}".')
            return None
        parts.append(path)
    if not any(isinstance(part, paths.Path) for part in parts):
        report.warn(pointer, "Every call has the same effect key.", 'Write "refund:{args.id}".')
    return EffectRule(pointer=pointer, text=text, parts=tuple(parts))
