"""Short values in rows: what stands first of every call. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from approvals.values import LONG
from web.views.viewers.scalars import MASK, note_of, written
from web.views.viewers.spans import MarkedText

_HEAD: Final = 400
_TAIL: Final = 120


@dataclass(frozen=True, slots=True)
class Argument:
    """One value of the call. `value` is all of it unless `cut`; `spans`, if any, are the same
    against the earlier call.
    """

    path: str
    value: str
    note: str  # what a reader cannot see from the text: its type or size
    masked: bool = False
    touched: bool = False
    target: bool = False
    cut: bool = False
    odd: tuple[str, ...] = ()  # letters, spelled, that may be taken for others
    spans: tuple[MarkedText, ...] = ()
    gone: bool = False  # the earlier call had it, this one does not

    @property
    def classes(self) -> str:
        words = {
            "touched": self.touched,
            "target": self.target,
            "long": len(self.value) > LONG,
            "odd": bool(self.odd),
            "gone": self.gone,
        }
        return " ".join(word for word, on in words.items() if on)


def argument(path: str, value: Any, *, full: bool) -> Argument:
    """`full`: all of it, however long."""
    text = written(value)
    cut = not full and len(text) > LONG
    shown = text
    if cut:
        left = len(text) - _HEAD - _TAIL
        shown = f"{text[:_HEAD]} … {left} more characters … {text[-_TAIL:]}"
    return Argument(
        path=path.removeprefix("args.") or path,
        value=shown,
        note=note_of(value),
        masked=text.startswith(MASK),
        cut=cut,
    )
