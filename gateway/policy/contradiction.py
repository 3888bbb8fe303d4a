"""Conditions that no value can meet together. Pure; unsure is "they can"."""

from __future__ import annotations

from collections import defaultdict

from gateway.policy.conditions import FALSE, Condition, truth_of
from gateway.policy.paths import Lack

LOWER = ("gt", "gte")
UPPER = ("lt", "lte")
_MAX_CONDITIONS = 50  # of one rule, compared with each other


def impossible(conditions: tuple[Condition, ...]) -> bool:
    """Whether no value can meet all conditions on some path. Unsure is False."""
    if len(conditions) == 1 or len(conditions) > _MAX_CONDITIONS:
        return False
    by_path: dict[str, list[Condition]] = defaultdict(list)
    for condition in conditions:
        if not condition.path.any_element:
            by_path[condition.path.text].append(condition)
    return any(_clash(group) for group in by_path.values() if len(group) > 1)


def _clash(group: list[Condition]) -> bool:
    if any(one.op == "exists" and one.value is False for one in group):
        return any(truth_of(one, Lack.MISSING) is FALSE for one in group)
    for one in group:
        if one.op in ("eq", "in"):
            values = one.value if isinstance(one.value, tuple) else (one.value,)
            return not any(
                all(truth_of(other, value) is not FALSE for other in group) for value in values
            )
    lower = [one for one in group if one.op in LOWER]
    upper = [one for one in group if one.op in UPPER]
    return any(
        truth_of(high, low.value) is FALSE
        if low.op == "gte"
        else truth_of(low, high.value) is FALSE
        for low in lower
        for high in upper
    )
