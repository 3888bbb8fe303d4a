"""Conditions and their three values: true, false, unfit. Pure.

Unfit means: something is there, of a type the operator cannot compare. What that does to a rule is
the judge's business; here nothing is guessed and nothing is coerced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from math import isfinite
from typing import Any, Literal, get_args

from gateway.policy.paths import MAX_ELEMENTS, Lack, Path, find, find_each
from gateway.policy.pattern import Pattern
from gateway.policy.problem import shown

Operator = Literal[
    "eq", "neq", "lt", "lte", "gt", "gte", "in", "not_in", "exists", "regex", "contains"
]
OPERATORS: tuple[str, ...] = get_args(Operator)
Scalar = str | int | float | bool
Facts = Mapping[str, Any]
"""What paths look into, by root: "args", "tool.annotations", "tool.risk", …"""

_EXACT = 2**53
_SIGNS = {
    "eq": "=",
    "neq": "!=",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "in",
    "not_in": "not in",
    "regex": "matches",
    "contains": "contains",
}


class Truth(Enum):
    TRUE = "true"
    FALSE = "false"
    UNFIT = "unfit"


TRUE, FALSE, UNFIT = Truth.TRUE, Truth.FALSE, Truth.UNFIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`path op value`, checked at load: the value has the type the operator needs."""

    path: Path
    op: Operator
    value: Scalar | tuple[Scalar, ...]
    pattern: Pattern | None = None  # of a regex


@dataclass(frozen=True, slots=True)
class Finding:
    """What one condition came to, and the value that decided it."""

    condition: Condition
    truth: Truth
    value: Any | Lack

    def text(self, masked: bool = False) -> str:  # noqa: FBT001, FBT002  # a flag of one text
        """The condition with its value: `amount 120000 > 50000`."""
        condition = self.condition
        name = condition.path.short
        if self.value is Lack.MISSING:
            return f"{name} is absent"
        if self.value is Lack.WRONG:
            return f"{name} has another shape"
        if condition.op == "exists":
            return f"{name} is present"
        value = "(masked)" if masked else shown(self.value)
        wanted = "(masked)" if masked else operand(condition)
        sign = _SIGNS[condition.op]
        if self.truth is UNFIT:
            return f"{name} {value} cannot be compared: {sign} {wanted}"
        if self.truth is FALSE:
            return f"{name} {value} is not {sign} {wanted}"
        return f"{name} {value} {sign} {wanted}"


def operand(condition: Condition) -> str:
    """The condition's right side, for people."""
    if isinstance(condition.value, tuple):
        return f"[{', '.join(shown(item) for item in condition.value)}]"
    return shown(condition.value)


def words(condition: Condition) -> str:
    """The condition without a call: `amount > 50000`."""
    if condition.op == "exists":
        return f"{condition.path.short} is {'present' if condition.value is True else 'absent'}"
    return f"{condition.path.short} {_SIGNS[condition.op]} {operand(condition)}"


def weigh(condition: Condition, facts: Facts) -> Finding:
    """The condition's truth for this call. With `[*]` any element makes it true."""
    path = condition.path
    if not path.any_element:
        value = find(facts.get(path.root), path.steps)
        return Finding(condition, truth_of(condition, value), value)
    best = Finding(condition, FALSE, Lack.MISSING)
    for value in find_each(facts.get(path.root), path.steps):
        truth = truth_of(condition, value)
        if truth is TRUE:
            return Finding(condition, truth, value)
        if truth is UNFIT and best.truth is FALSE:
            best = Finding(condition, truth, value)
        elif best.value is Lack.MISSING:
            best = Finding(condition, best.truth, value)
    return best


def all_of(conditions: Iterable[Condition], facts: Facts) -> Truth:
    """False when one is false; else unfit when one is unfit; else true."""
    result = TRUE
    for condition in conditions:
        path = condition.path
        if path.any_element:
            truth = weigh(condition, facts).truth
        else:
            truth = truth_of(condition, find(facts.get(path.root), path.steps))
        if truth is FALSE:
            return FALSE
        if truth is UNFIT:
            result = UNFIT
    return result


def truth_of(condition: Condition, value: Any | Lack) -> Truth:
    """The condition's truth for one value, or for the lack of one."""
    if condition.op == "exists":
        return _of(isinstance(value, Lack) is not condition.value)
    if isinstance(value, Lack):
        return FALSE if value is Lack.MISSING else UNFIT
    wanted = condition.value
    match condition.op:
        case "eq":
            return same(value, wanted)
        case "neq":
            return _not(same(value, wanted))
        case "in":
            return _any_same(value, wanted)
        case "not_in":
            return _not(_any_same(value, wanted))
        case "contains":
            return _contains(value, wanted)
        case "regex":
            return _matches(condition.pattern, value)
        case _:
            return _ordered(condition.op, value, wanted)


def _of(holds: bool) -> Truth:  # noqa: FBT001  # a conversion
    return TRUE if holds else FALSE


def _not(truth: Truth) -> Truth:
    return UNFIT if truth is UNFIT else _of(truth is FALSE)


def kind(value: Any) -> type | None:
    """What may be compared with what: int (for every number), bool, str; None compares with none.

    NaN and infinity are no numbers.
    """
    if isinstance(value, bool):
        return bool
    if isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return int
    return str if isinstance(value, str) else None


def same(value: Any, wanted: Any) -> Truth:
    """Whether the two are equal, when they are of one kind."""
    one = kind(value)
    if one is None or one is not kind(wanted):
        return UNFIT
    return _of(compare(value, wanted) == 0 if one is int else value == wanted)


def _any_same(value: Any, wanted: Any) -> Truth:
    truths = {same(value, item) for item in wanted}
    return TRUE if TRUE in truths else FALSE if FALSE in truths else UNFIT


def _contains(value: Any, wanted: Any) -> Truth:
    if isinstance(value, str):
        return _of(wanted in value) if isinstance(wanted, str) else UNFIT
    if not isinstance(value, list) or len(value) > MAX_ELEMENTS:
        return UNFIT
    truths = {same(item, wanted) for item in value if item is not None}
    return TRUE if TRUE in truths else UNFIT if UNFIT in truths else FALSE


def _matches(pattern: Pattern | None, value: Any) -> Truth:
    if pattern is None or not isinstance(value, str):
        return UNFIT
    found = pattern.search(value)
    return UNFIT if found is None else _of(found)


def _ordered(op: Operator, value: Any, wanted: Any) -> Truth:
    if kind(value) is not int:
        return UNFIT
    order = compare(value, wanted)
    match op:
        case "lt":
            return _of(order < 0)
        case "lte":
            return _of(order <= 0)
        case "gt":
            return _of(order > 0)
        case _:
            return _of(order >= 0)


def compare(left: float, right: float) -> int:
    """-1, 0 or 1, exact as the numbers were written: 2**53+1 is not 2**53, 1e23 is 10**23."""
    if type(left) is not type(right) and (abs(left) >= _EXACT or abs(right) >= _EXACT):
        one, other = exact(left), exact(right)
        return (one > other) - (one < other)
    return (left > right) - (left < right)


def exact(number: float) -> Decimal:
    """The number as it was written."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))
