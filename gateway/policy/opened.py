"""What a changed policy opens, told first and in the words of the file's readers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.policy.diff import RuleChange, diff
from gateway.policy.rules import Policy

_WORDS: Final = {
    "deny_if": ("denied if", "denied always"),
    "require": ("denied unless",),
    "approve_if": ("needs approval",),
    "limits": ("at most",),
    "redact": ("redacted",),
    "effect": ("happens once",),
    "hide": ("no longer hidden",),
    "default": ("tools listed nowhere",),
    "approval": ("the approval default",),
    "reviewers": ("the reviewer group",),
}
"""What the sentences about a key say."""


def told(
    old: Policy, new: Policy, places: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The changes that may open, as `closing.openings` found their places, and all others. A place
    that no sentence is about is told as a pointer.
    """
    changes = diff(old, new)
    opens: dict[str, None] = {}
    for place in places:
        found = _about(place, changes)
        opens |= dict.fromkeys(map(str, found) if found else [place])
    return tuple(opens), tuple(str(one) for one in changes if str(one) not in opens)


def _about(place: str, changes: Sequence[RuleChange]) -> list[RuleChange]:
    """The sentences about a place: those about its key if there are such, else all of its tool."""
    if not place.startswith("/"):
        return []
    steps = [step.replace("~1", "/").replace("~0", "~") for step in place.split("/")[1:]]
    server = ""
    if len(steps) > 1 and steps[0] == "servers":
        server, steps = steps[1], steps[2:]
    tool = ""
    if steps[:1] == ["tools"]:
        tool, steps = "".join(steps[1:2]), steps[2:]
    elif steps[:1] == ["all_tools"]:
        tool, steps = "every tool", steps[1:]
    here = [one for one in changes if one.server == server and (one.tool == tool or not tool)]
    if not steps:
        return here if tool else [one for one in here if not one.tool]
    wanted = _WORDS.get(steps[0], ())
    found = [one for one in here if any(word in one.words for word in wanted)]
    if steps[0] == "reviewers":
        found = [one for one in found if f"group {steps[-1]}:" in one.words]
    if steps[0] in ("deny_if", "require", "approve_if", "limits"):  # gone, or else come
        found = [one for one in found if one.words.startswith("removed")] or found
    return found or (here if tool else [])
