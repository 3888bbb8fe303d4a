"""What a reviewer must know of other calls before deciding on one: in words, for every surface.

Pure. Ids and our own words only; what agents wrote stands among the facts.
"""

from __future__ import annotations

from collections.abc import Iterator

from approvals.model import State, short_id
from approvals.view import EffectView, View

_NAMED = 3  # other calls one sentence names


def cautions(view: View) -> Iterator[str]:
    """Sentences, the gravest first."""
    if view.approval.state is not State.PENDING:
        return
    if view.effect is not None:
        yield from _of_effect(view.effect)
    if view.twins:
        yield (
            f"The identical call waits as {_list(view.twins)} too. Each has an approval of its own "
            "and runs once."
        )


def _of_effect(effect: EffectView) -> Iterator[str]:
    other = called(effect.holder)
    match effect.state:
        case "unknown":
            yield (
                f"What this call does, {other} may have done already: its outcome is unknown. Say "
                "first whether it was done. Approving may do it twice."
            )
        case "done":
            yield f"{other} has done this already. Approving does it once more."
        case "taken":
            yield f"{other} is doing this right now. This call cannot run before that has ended."
    if effect.beside:
        would = "would" if len(effect.beside) == 1 else "would all"
        yield (
            f"{_list(effect.beside)} {would} do the same. When one of them has run, the others "
            "end, or a person is asked about them again."
        )


def void(view: View) -> str:
    """Why earlier approvals count no more."""
    return "It was edited." if view.approval.edited else "Another call may have done the same."


def called(holder: str) -> str:
    """A call as people tell it apart: an approval's short id, the whole id of an allowed call."""
    return short_id(holder) if holder.startswith("apr_") else holder


def _list(ids: tuple[str, ...]) -> str:
    named = [short_id(one) for one in ids[:_NAMED]]
    more = len(ids) - len(named)
    if more:
        return f"{', '.join(named)} and {more} more"
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
