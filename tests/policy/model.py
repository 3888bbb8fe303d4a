"""A second, slow reading of 03 and of 13, A that the judge is compared with: over the normal form.

Written from the text, not from the implementation; it returns the kind of verdict and the terms'
quorum only.
"""

from __future__ import annotations

import fnmatch
import math
import re
from fractions import Fraction
from typing import Any

ABSENT, ODD, NOTHING = object(), object(), object()
"""No value there, another shape than the path's, a list in which `[*]` finds no element."""
NEGATIONS = {"neq": "eq", "not_in": "in", "not_regex": "regex", "not_contains": "contains"}
Facts = dict[str, Any]


def verdict(normal: dict[str, Any], server: str, tool: str, facts: Facts) -> str:
    """ "allow", "deny" or "hold"."""
    sections = [
        normal,
        *([normal["servers"][server]] if server in normal.get("servers", {}) else []),
    ]
    if any(_glob(name, tool) for part in sections for name in part.get("hide", [])):
        return "deny"
    entries = [
        entry for part in sections for name, entry in part["tools"].items() if _glob(name, tool)
    ]
    listed = bool(entries)
    default = next(part["default"] for part in reversed(sections) if "default" in part)
    if not listed and default == "deny":
        return "deny"
    entries += [part.get("all_tools", {}) for part in sections]
    if any(_fires(rule, facts) for entry in entries for rule in entry.get("deny_if", [])):
        return "deny"
    if not all(_met(rule, facts) for entry in entries for rule in entry.get("require", [])):
        return "deny"
    if any(not _countable(limit, facts) for entry in entries for limit in entry.get("limits", [])):
        return "deny"
    if any("effect" in entry for entry in entries) and not _plain(_look("args.a", facts)[0]):
        return "deny"
    holding = [
        rule for entry in entries for rule in entry.get("approve_if", []) if _fires(rule, facts)
    ]
    holding += [
        {} if entry["require_approval"] is True else entry["require_approval"]
        for entry in entries
        if "require_approval" in entry
    ]
    if not listed and default == "require_approval":
        holding.append({})
    if not holding:
        return "allow"
    named = [set(rule["reviewers"]) for rule in holding if "reviewers" in rule]
    return "deny" if named and not set.intersection(*named) else "hold"


def _glob(pattern: str, name: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _plain(value: Any) -> bool:
    return isinstance(value, (str, bool)) or _number(value)


def _number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) if isinstance(value, float) else True


def _countable(limit: Any, facts: Facts) -> bool:
    if "increment_from" not in limit:
        return True
    value = _look(limit["increment_from"], facts)[0]
    return _number(value) and value >= 0


def _fires(rule: Any, facts: Facts) -> bool:
    """On true and on unfit; an untrusted claim cannot prevent it."""
    return any(False not in _values(rule, seen, "any") for seen in _views(facts))


def _met(rule: Any, facts: Facts) -> bool:
    return all(set(_values(rule, seen, "every")) <= {True} for seen in _views(facts))


def _views(facts: Facts) -> list[Facts]:
    return [facts, {**facts, "tool.annotations": {}}]


def _values(rule: Any, facts: Facts, unsaid: str) -> list[bool | None]:
    return [_condition(one, facts, one.get("match", unsaid)) for one in rule["conditions"]]


def _condition(one: Any, facts: Facts, match: str) -> bool | None:
    """Every element and at least one, or any; a path without `[*]` leads to one value."""
    found = _look(one["path"], facts)
    elements = [value for value in found if value is not NOTHING]
    results = [_single(one["op"], one["value"], value) for value in elements]
    if match == "any" or "[*]" not in one["path"]:
        return True if True in results else None if None in results else False
    if False in results or len(elements) < len(found):
        return False
    return None if None in results else True


def _look(path: str, facts: Facts) -> list[Any]:
    for root, fact in facts.items():
        if path == root or path.startswith(root + "."):
            rest = path[len(root) :]
            found = [fact]
            break
    for part in re.findall(r"\.[^.\[]+|\[[^\]]+\]", rest):
        found = [deeper for value in found for deeper in _step(value, part)]
    return [ABSENT if value is None else value for value in found]


def _step(value: Any, part: str) -> list[Any]:
    if value is None or value is ABSENT:
        return [ABSENT]
    if value is ODD or value is NOTHING:
        return [value]
    if part.startswith("."):
        return [value.get(part[1:], ABSENT)] if isinstance(value, dict) else [ODD]
    if not isinstance(value, list):
        return [ODD]
    if part == "[*]":
        return list(value) or [NOTHING]
    index = int(part[1:-1])
    return [value[index] if index < len(value) else ABSENT]


def _single(op: str, wanted: Any, value: Any) -> bool | None:
    if value is ODD:  # A1: another shape is unfit, whatever is asked of it
        return None
    if op == "exists":
        return (value is not ABSENT) is wanted
    if op in NEGATIONS:  # A2: silence does not meet a negation, it is unfit
        opposite = None if value is ABSENT else _single(NEGATIONS[op], wanted, value)
        return None if opposite is None else not opposite
    if value is ABSENT:
        return False
    if op == "eq":
        return _equal(value, wanted)
    if op == "in":
        return _some([_equal(value, item) for item in wanted], otherwise=None)
    if op == "contains":
        return _contains(value, wanted)
    if op in ("regex", "starts_with", "ends_with"):
        return _text(op, wanted, value) if isinstance(value, str) else None
    return _ordered(op, wanted, value)


def _text(op: str, wanted: str, value: str) -> bool:
    if op == "regex":
        return re.search(wanted, value) is not None
    return (value[: len(wanted)] if op == "starts_with" else value[-len(wanted) :]) == wanted


def _ordered(op: str, wanted: Any, value: Any) -> bool | None:
    if not _number(value):
        return None
    left, right = _fraction(value), _fraction(wanted)
    return {"lt": left < right, "lte": left <= right, "gt": left > right, "gte": left >= right}[op]


def _contains(value: Any, wanted: Any) -> bool | None:
    if isinstance(value, str) and isinstance(wanted, str):
        return wanted in value
    if not isinstance(value, list):
        return None
    items = [_equal(item, wanted) for item in value if item is not None]
    return True if True in items else None if None in items else False


def _some(results: list[bool | None], otherwise: None) -> bool | None:
    return True if True in results else False if False in results else otherwise


def _equal(value: Any, wanted: Any) -> bool | None:
    if _number(value) and _number(wanted):
        return _fraction(value) == _fraction(wanted)
    if type(value) is type(wanted) and isinstance(value, (str, bool)):
        return bool(value == wanted)
    return None


def _fraction(value: Any) -> Fraction:
    return Fraction(value) if isinstance(value, int) else Fraction(repr(value))
