"""The labelled tools: read from data/tools, and split in two halves by server. Not a test.

Rules are made on the development half. The figure that counts is the held-out half's.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gateway.risk import Assessment, Category, Signal, classify

TOOLS = Path(__file__).parent / "data" / "tools"
Half = Literal["development", "held-out"]
SEVERE = (Category.DESTRUCTIVE, Category.FINANCIAL)


@dataclass(frozen=True, slots=True)
class Labelled:
    server: str
    definition: dict[str, Any]
    category: Category
    risk: str
    reason: str
    assessment: Assessment

    @property
    def right(self) -> bool:
        return self.category is self.assessment.category

    @property
    def hinted(self) -> bool:
        """Wrong only because the server itself calls the tool destructive."""
        raised = self.assessment.category is Category.DESTRUCTIVE and not self.right
        return raised and Signal.DESTRUCTIVE_HINT in self.assessment.signals


def half_of(server: str) -> Half:
    """By the hash of the server's name, so that no server is on both sides and nobody chose."""
    even = hashlib.sha256(server.encode()).digest()[0] % 2 == 0
    return "development" if even else "held-out"


def labelled(half: Half | None = None) -> tuple[Labelled, ...]:
    rows = []
    for path in sorted(TOOLS.glob("*.jsonl")):
        if half is not None and half_of(path.stem) != half:
            continue
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            if "label" in row:
                rows.append(_labelled(row))
    return tuple(rows)


def _labelled(row: dict[str, Any]) -> Labelled:
    label = row["label"]
    return Labelled(
        server=row["server"],
        definition=row,
        category=Category(label["category"]),
        risk=label["risk"],
        reason=label["reason"],
        assessment=classify(row),
    )


def words_alone(row: Labelled) -> bool:
    """Whether the class is right with the server's annotations left out."""
    bare = {k: v for k, v in row.definition.items() if k != "annotations"}
    return classify(bare).category is row.category


def accuracy(rows: tuple[Labelled, ...]) -> float:
    return sum(row.right for row in rows) / len(rows)


def confusion(rows: tuple[Labelled, ...]) -> Counter[tuple[Category, Category]]:
    """(by hand, by rule) -> how many."""
    return Counter((row.category, row.assessment.category) for row in rows)


def wrong_direction(rows: tuple[Labelled, ...]) -> tuple[Labelled, ...]:
    """Destructive or Financial by hand, Read by rule: must be none."""
    return tuple(r for r in rows if r.category in SEVERE and r.assessment.category is Category.READ)
