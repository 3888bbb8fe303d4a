"""The arguments of a held call, and what is sent beside them, as far as a card shows them, and
whether that is all. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from approvals.aside import LARGE
from approvals.redact import visible as spelled
from approvals.slack.card_context import CardContext
from approvals.slack.text import lines
from approvals.view import View

MOST_CHARACTERS: Final = 2_500
"""Of arguments on a card; with more there is no Approve button."""

MOST_LINES: Final = 60

BESIDE: Final = "— sent beside the arguments, as the agent asked with it —"
_MASKED: Final = re.compile(r"\[redacted, [^\[\]]{1,40}, fp [0-9a-f]{8}\]")


@dataclass(frozen=True, slots=True)
class Shown:
    """The arguments as a card shows them. `whole`: every byte of them is there."""

    text: str
    size: int
    whole: bool
    note: str


def arguments(view: View, look: CardContext) -> Shown:
    """What of the arguments the card shows."""
    masked, beside = view.approval.masked, view.approval.metadata_masked
    size = len(masked) + len(beside)
    if not look.show_arguments:
        note = f"{size:,} characters, kept off Slack: review them on the page"
        return Shown("", size, whole=False, note=note)
    if size > LARGE:
        return _ends(masked)
    written = lines(json.loads(masked))
    if beside:
        written += [BESIDE, *lines(json.loads(beside))]
    text = "\n".join(written)
    if len(text) > MOST_CHARACTERS or len(written) > MOST_LINES:
        return _cut(text, size)
    if _MASKED.search(masked) or _MASKED.search(beside):
        note = "with secrets masked: review them on the page"
        return Shown(text, size, whole=False, note=note)
    return Shown(text, size, whole=True, note=f"complete, {size:,} characters")


def _ends(masked: str) -> Shown:
    """Of arguments far too long for a card the two ends, as they are sent: no more is read."""
    size = len(masked)
    first, last = MOST_CHARACTERS * 2 // 3, MOST_CHARACTERS // 4
    head, tail = spelled(masked[:first])[:first], spelled(masked[-last:])[-last:]
    left = size - first - last
    text = f"{head}\n… {left:,} characters are not shown here …\n{tail}"
    note = f"not complete: showing {size - left:,} of {size:,} characters"
    return Shown(text, size, whole=False, note=note)


def _cut(text: str, size: int) -> Shown:
    head = "\n".join(text[: MOST_CHARACTERS * 2 // 3].split("\n")[: MOST_LINES * 2 // 3])
    tail = "\n".join(text[-MOST_CHARACTERS // 4 :].split("\n")[-MOST_LINES // 4 :])
    left = len(text) - len(head) - len(tail)
    shown = f"{head}\n… {left:,} characters are not shown here …\n{tail}"
    note = f"not complete: showing {len(head) + len(tail):,} of {len(text):,} characters"
    return Shown(shown, size, whole=False, note=note)
