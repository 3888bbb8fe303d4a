"""What a running command says at its terminal of the file of the rules, as it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.cli import show

if TYPE_CHECKING:
    from gateway.enforcement.policy_file import PolicyFile


def teller(policies: PolicyFile, command: str, say: Callable[[str], None]) -> Callable[[], None]:
    """What to call now and at each change: it says what there is to do, and when that is done.

    Args:
        policies: the policy in force, and its file.
        command: what confirms the file.
        say: prints a line.
    """
    told: list[str] = []

    def tell() -> None:
        lines = _lines(policies, command)
        if not lines and told:
            name = policies.path.name
            lines = [f"Confirmed {name} says what was confirmed, and is in force"]
            told.clear()
        elif lines == told:
            return
        else:
            told[:] = lines
        for line in lines:
            say(line)

    return tell


def _lines(policies: PolicyFile, command: str) -> list[str]:
    """What there is to do; []: nothing."""
    name = policies.path.name
    if policies.rejected is not None:
        why = show.line(policies.rejected.text)
        return [f"Invalid   {name} was changed: {why}", "          not in force until it is right"]
    if policies.waiting is not None:
        what = show.line(policies.waiting.text)
        return [
            f"Waits     {name} was changed and may open: {what}",
            f"          not in force until you confirm: {command}",
        ]
    if policies.closing is not None:
        return [
            f"Closes    {name} was changed and closes more: that counts at once",
            f"          confirm to keep it: {command}",
        ]
    return []
