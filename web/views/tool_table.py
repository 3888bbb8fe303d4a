"""Tools in a table: by server, the riskiest first, with what becomes of their calls. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from gateway.admin.models import ToolLine
from web.views.figures import ToolUse

_ORDER: Final = {"critical": 0, "high": 1, "medium": 2, "low": 3}
_WORDS: Final = {
    "allow": ("Passes freely", "approved"),
    "limited": ("Passes within limits", "medium"),
    "hold": ("Waits for approval", "pending"),
    "sometimes": ("Waits on a condition", "pending"),
    "deny": ("Refused", "denied"),
    "hidden": ("Hidden", "denied"),
}


UNSETTLED: Final = ("Refused until settled", "denied")
"""What becomes of calls of a tool whose definition changed, where the policy would let them on."""


def fate_words(verdict: str) -> tuple[str, str]:
    """What becomes of calls in words, and the colour that goes with it."""
    return _WORDS.get(verdict, (verdict, ""))


@dataclass(frozen=True, slots=True)
class ToolRow:
    """One tool with what happens to its calls, in words."""

    line: ToolLine
    use: ToolUse

    @property
    def word(self) -> str:
        return UNSETTLED[0] if self.line.refused else fate_words(self.line.verdict)[0]

    @property
    def chip(self) -> str:
        return UNSETTLED[1] if self.line.refused else fate_words(self.line.verdict)[1]

    @property
    def unguarded(self) -> bool:
        return self.line.verdict == "allow" and self.line.risk in ("high", "critical")


@dataclass(frozen=True, slots=True)
class ToolGroup:
    server: str
    tools: tuple[ToolRow, ...]


def grouped(lines: Iterable[ToolLine], use: Mapping[tuple[str, str], ToolUse]) -> list[ToolGroup]:
    """Tools by server, the riskiest first."""
    ordered = sorted(lines, key=lambda line: (line.server, _ORDER.get(line.risk, 4), line.name))
    return [
        ToolGroup(
            server, tuple(ToolRow(line, use.get((server, line.name), ToolUse())) for line in found)
        )
        for server, found in groupby(ordered, key=lambda line: line.server)
    ]
