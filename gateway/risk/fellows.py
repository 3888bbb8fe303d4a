"""One server's tools assessed together: a hint that most of them carry says little. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.risk.assessment import Assessment
from gateway.risk.classify import classify

_HABIT: Final = 2  # tools; one alone has no habit


def habitual(definitions: Iterable[object]) -> bool:
    """Whether more than half of these tools, and more than one, claim that they destroy."""
    found = [_claims(definition) for definition in definitions]
    return sum(found) >= _HABIT and 2 * sum(found) > len(found)


def classify_all(definitions: Sequence[object]) -> list[Assessment]:
    """The assessment of each of one server's tools."""
    habit = habitual(definitions)
    return [classify(definition, habit=habit) for definition in definitions]


def _claims(definition: object) -> bool:
    annotations = definition.get("annotations") if isinstance(definition, Mapping) else None
    return isinstance(annotations, Mapping) and annotations.get("destructiveHint") is True
