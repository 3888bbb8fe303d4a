"""A second, slow reading of 03 that the judge is compared with: over the normal form, no caching.

Written from the text, not from the implementation; it returns the kind of verdict and the terms'
quorum only.
"""

from __future__ import annotations

import fnmatch
import math
import re
from fractions import Fraction
from typing import Any

ABSENT, ODD = object(), object()
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
    return any(False not in _values(rule, seen) for seen in _views(facts))


def _met(rule: Any, facts: Facts) -> bool:
    return all(set(_values(rule, seen)) <= {True} for seen in _views(facts))


def _views(facts: Facts) -> list[Facts]:
    return [facts, {**facts, "tool.annotations": {}}]


def _values(rule: Any, facts: Facts) -> list[bool | None]:
    return [_condition(one, facts) for one in rule["conditions"]]


def _condition(one: Any, facts: Facts) -> bool | None:
    results = [_single(one["op"], one["value"], value) for value in _look(one["path"], facts)]
    return True if True in results else None if None in results else False


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
    if value is ODD:
        return [ODD]
    if part.startswith("."):
        return [value.get(part[1:], ABSENT)] if isinstance(value, dict) else [ODD]
    if not isinstance(value, list):
        return [ODD]
    if part == "[*]":
        return list(value) or [ABSENT]
    index = int(part[1:-1])
    return [value[index] if index < len(value) else ABSENT]


def _single(op: str, wanted: Any, value: Any) -> bool | None:
    if op == "exists":
        return (value is not ABSENT and value is not ODD) is wanted
    if value is ABSENT:
        return False
    if value is ODD:
        return None
    if op in ("neq", "not_in"):
        opposite = _single({"neq": "eq", "not_in": "in"}[op], wanted, value)
        return None if opposite is None else not opposite
    if op == "eq":
        return _equal(value, wanted)
    if op == "in":
        return _some([_equal(value, item) for item in wanted], otherwise=None)
    if op == "contains":
        return _contains(value, wanted)
    if op == "regex":
        return re.search(wanted, value) is not None if isinstance(value, str) else None
    return _ordered(op, wanted, value)


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
