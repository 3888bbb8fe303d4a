"""The catalogue of known attack patterns: what each is, what it abuses, what stops it here.

Data in attacks.json, read once; sources are publications one can look up. Not a detector.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from gateway.risk.assessment import Assessment, Category, Signal


@dataclass(frozen=True, slots=True)
class Source:
    title: str
    year: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One pattern. Without signals it concerns every tool of its classes."""

    id: str
    name: str
    what: str
    sources: tuple[Source, ...]
    classes: frozenset[Category]
    signals: frozenset[Signal]
    stopped_by: str
    residual: str  # what remains although we stop the rest


@cache
def catalogue() -> tuple[Attack, ...]:
    """Every pattern, in the order of the file. Raises ValueError if the shipped file is broken."""
    rows = json.loads(files("gateway.risk").joinpath("attacks.json").read_text("utf-8"))
    return tuple(
        Attack(
            id=row["id"],
            name=row["name"],
            what=row["what"],
            sources=tuple(Source(s["title"], s["year"]) for s in row["sources"]),
            classes=frozenset(Category(c) for c in row["classes"]),
            signals=frozenset(Signal(s) for s in row["signals"]),
            stopped_by=row["stopped_by"],
            residual=row["residual"],
        )
        for row in rows
    )


def attacks_for(assessment: Assessment) -> tuple[Attack, ...]:
    """The patterns that abuse this tool's class and, where they name signals, one it shows."""
    shown = frozenset(assessment.signals)
    return tuple(
        attack
        for attack in catalogue()
        if assessment.category in attack.classes and (not attack.signals or attack.signals & shown)
    )
