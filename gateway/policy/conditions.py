"""Conditions and their three values: true, false, unfit. Pure.

Unfit means: something is there, of a type the operator cannot compare; a path runs into another
shape; or nothing is there and the operator is a negative one, which must not be met by silence.
What that does to a rule is the judge's business; here nothing is guessed and nothing is coerced.
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
from gateway.policy.problems import shown

Operator = Literal[
    "eq",
    "neq",
    "lt",
    "lte",
    "gt",
    "gte",
    "in",
    "not_in",
    "exists",
    "regex",
    "not_regex",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
]
OPERATORS: tuple[str, ...] = get_args(Operator)
Match = Literal["every", "any"]
MATCHES: tuple[Match, ...] = get_args(Match)
_OPPOSITE = {"neq": "eq", "not_in": "in", "not_regex": "regex", "not_contains": "contains"}
TEXT_ALONE: frozenset[str] = frozenset({"regex", "not_regex", "starts_with", "ends_with"})
"""Operators that compare with a text and nothing else."""
NEGATIVE: frozenset[str] = frozenset(_OPPOSITE)
"""Operators that a value meets by being different: an absent one is no such value."""
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
    "not_regex": "does not match",
    "contains": "contains",
    "not_contains": "does not contain",
    "starts_with": "starts with",
    "ends_with": "ends with",
}
_OTHERWISE = {
    "in": "is not in",
    "not_in": "is in",
    "regex": "does not match",
    "not_regex": "matches",
    "contains": "does not contain",
    "not_contains": "contains",
    "starts_with": "does not start with",
    "ends_with": "does not end with",
}
"""How a condition that is false is said, where "is not" before its sign would be no English."""


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
    match: Match = "any"  # which elements of `[*]` have to meet it
    lenient: bool = False  # as read before absence, shape and lists closed; see `earlier`


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
        if isinstance(self.value, Lack):
            return f"{name} {self.value.value}"
        if condition.op == "exists":
            return f"{name} is present"
        value = "(masked)" if masked else shown(self.value)
        wanted = "(masked)" if masked else operand(condition)
        sign = _SIGNS[condition.op]
        if self.truth is UNFIT:
            return f"{name} {value} cannot be compared: {sign} {wanted}"
        if self.truth is FALSE:
            return f"{name} {value} {_OTHERWISE.get(condition.op, f'is not {sign}')} {wanted}"
        return f"{name} {value} {sign} {wanted}"


def operand(condition: Condition) -> str:
    """The condition's right side, for people."""
    if isinstance(condition.value, tuple):
        return f"[{', '.join(shown(item) for item in condition.value)}]"
    return shown(condition.value)


def words(condition: Condition) -> str:
    """The condition without a call: `amount > 50000`, `every to[*] ends with "@example.com"`."""
    name = condition.path.short
    if condition.path.any_element:
        name = f"{condition.match} {name}"
    if condition.op == "exists":
        return f"{name} is {'present' if condition.value is True else 'absent'}"
    return f"{name} {_SIGNS[condition.op]} {operand(condition)}"


def weigh(condition: Condition, facts: Facts) -> Finding:
    """The condition's truth for this call. With `[*]` one element decides: the first that meets it
    where any does, the first that does not where every one has to. A list without elements meets
    nothing.
    """
    path = condition.path
    if not path.any_element:
        value = find(facts.get(path.root), path.steps)
        return Finding(condition, truth_of(condition, value), value)
    deciding = TRUE if condition.match == "any" else FALSE
    best: Finding | None = None
    for value in find_each(facts.get(path.root), path.steps):
        truth = truth_of(condition, value)
        if value is Lack.EMPTY and deciding is TRUE and truth is FALSE:
            continue
        if truth is deciding:
            return Finding(condition, truth, value)
        if best is None or (truth is UNFIT and best.truth is not UNFIT):
            best = Finding(condition, truth, value)
    return best or Finding(condition, FALSE, Lack.EMPTY)


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
    if isinstance(value, Lack):
        return _of_lack(condition, value)
    if condition.op == "exists":
        return _of(condition.value is True)
    if condition.op in NEGATIVE:
        return _not(_meets(_OPPOSITE[condition.op], condition, value))
    return _meets(condition.op, condition, value)


def _meets(op: str, condition: Condition, value: Any) -> Truth:
    """A positive operator's truth for a value that is there."""
    wanted = condition.value
    match op:
        case "eq":
            return same(value, wanted)
        case "in":
            return _any_same(value, wanted)
        case "contains":
            return _contains(value, wanted)
        case "regex":
            return _matches(condition.pattern, value)
        case "starts_with" | "ends_with":
            return _begins(op, value, wanted)
        case _:
            return _ordered(op, value, wanted)


def _of_lack(condition: Condition, lack: Lack) -> Truth:
    """What closes: silence meets no negative operator, and another shape meets none at all."""
    if lack is Lack.ALIKE:
        return UNFIT
    if condition.lenient:
        if condition.op == "exists":
            return _of(condition.value is False)
        return UNFIT if lack is Lack.WRONG else FALSE
    if lack is Lack.EMPTY:
        return FALSE
    if lack is Lack.WRONG or condition.op in NEGATIVE:
        return UNFIT
    return _of(condition.op == "exists" and condition.value is False)


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


def _begins(op: str, value: Any, wanted: Any) -> Truth:
    if not isinstance(value, str) or not isinstance(wanted, str):
        return UNFIT
    return _of(value.startswith(wanted) if op == "starts_with" else value.endswith(wanted))


def _ordered(op: str, value: Any, wanted: Any) -> Truth:
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
