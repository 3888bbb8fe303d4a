"""Prints how well the classifier agrees with the labels: `python -m tests.risk.report [--errors]`.

The rules were made on the development half. The first look at the held-out half, before any of its
labels had been used, gave 86.2 % with none of its Destructive or Financial tools called Read. After
it came two rules that can only raise a class ("cannot be undone", exercising an option), and words
for cases of our own tests; the figure printed now is with these. One person labelled both halves,
and had seen the tools of one held-out server (chrome-devtools) before.
"""

from __future__ import annotations

import sys

from gateway.risk import Category
from gateway.risk.assessment import severity
from tests.risk.labelled import (
    Half,
    Labelled,
    accuracy,
    confusion,
    labelled,
    words_alone,
    wrong_direction,
)

HALVES: tuple[Half, ...] = ("development", "held-out")


def table(rows: tuple[Labelled, ...]) -> str:
    cells = confusion(rows)
    lines = [f"{'by hand / by rule':18}" + "".join(f"{c:>12}" for c in Category) + "   right"]
    for hand in Category:
        total = sum(cells[hand, rule] for rule in Category)
        share = f"{cells[hand, hand] / total:8.1%}" if total else f"{'-':>8}"
        counts = "".join(f"{cells[hand, rule]:12}" for rule in Category)
        lines.append(f"{hand:18}{counts}{share}")
    return "\n".join(lines)


def summary(rows: tuple[Labelled, ...]) -> str:
    wrong = [row for row in rows if not row.right]
    low = sum(severity(r.assessment.category) < severity(r.category) for r in wrong)
    hinted = sum(row.hinted for row in wrong)
    risk = sum(row.risk == row.assessment.risk for row in rows) / len(rows)
    bare = sum(words_alone(row) for row in rows) / len(rows)
    return (
        f"accuracy {accuracy(rows):.1%} ({bare:.1%} by words alone, annotations left out), "
        f"risk level {risk:.1%}, wrong {len(wrong)}: {low} too low, "
        f"{len(wrong) - low} too high ({hinted} by the server's own destructiveHint); "
        f"Destructive or Financial called Read: {len(wrong_direction(rows))}"
    )


def errors(rows: tuple[Labelled, ...]) -> str:
    lines = []
    for row in rows:
        if not row.right:
            name = f"{row.server}/{row.definition['name']}"
            lines.append(f"  {name:46} {row.category:11} -> {row.assessment.rationale}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    for half in HALVES:
        rows = labelled(half)
        if not rows:
            continue
        servers = len({row.server for row in rows})
        print(f"{half}: {len(rows)} tools of {servers} servers\n{summary(rows)}\n{table(rows)}\n")
        if "--errors" in arguments:
            print(errors(rows), "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
