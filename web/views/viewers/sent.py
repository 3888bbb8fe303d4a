"""The arguments of a call as a reviewer reads them: short values first, long ones by kind, all of
it against one earlier call, and as it is sent. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from approvals.differences import ABSENT, Path, Places, leaves
from approvals.digest import canonical
from approvals.lookalike import notes, plainly
from approvals.values import LONG
from web.views.viewers.rows import Argument, argument
from web.views.viewers.scalars import is_long, seen_scalar, type_of
from web.views.viewers.spans import Effort
from web.views.viewers.texts import Reader, ShownText
from web.views.viewers.tree import Forest, laid_out, table_of

MOST_ROWS: Final = 12  # values of a call in the list
_FEW: Final = 6  # leaves of an object that are rows and no tree
_SHALLOW: Final = 4  # steps of a path in a row
_MOST_APART: Final = 40  # long texts inside objects that are shown by themselves
_MOST_ODD: Final = 8
_RAW_IN_LIST: Final = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCall:
    rows: tuple[Argument, ...] = ()
    values: tuple[ShownText, ...] = ()
    missing: int = 0  # values that this surface leaves out
    compared: bool = False
    raw: str = ""  # as sent; "" where this surface does not show it
    size: int = 0  # bytes of what is sent
    full: bool = True

    @property
    def cut(self) -> bool:
        return self.missing > 0 or any(row.cut for row in self.rows)

    def shows(self, path: str) -> bool:
        """Whether a change there is seen among these values."""
        if self.full:
            return True
        within = tuple(f"{value.name}{end}" for value in self.values for end in (".", "["))
        return (
            any(row.path == path and not row.cut for row in self.rows)
            or any(value.name == path and not value.was for value in self.values)
            or path.startswith(within)
        )


def sent_of(arguments: Any, before: Any = None, *, full: bool, target: str = "") -> SentCall:
    """`before`: the arguments of the earlier call, or None. `full`: nothing is left out."""
    whole = canonical(arguments)
    laid = laid_out(arguments) if full or len(whole) <= _RAW_IN_LIST else ""
    made = _Sender(arguments, before, full=full, target=target, places=Places.of(len(whole)))
    made.go()
    rows, values = sorted(made.rows, key=lambda row: row.cut), made.values
    if not full:
        rows, values = rows[:MOST_ROWS], values[: max(0, MOST_ROWS - len(rows))]
    missing = made.missing + len(made.rows) + len(made.values) - len(rows) - len(values)
    return SentCall(
        rows=tuple(rows),
        values=tuple(values),
        missing=missing,
        compared=before is not None,
        raw=laid,
        size=len(whole),
        full=full,
    )


@dataclass(slots=True)
class _Sender:
    """Goes through the arguments of one call once."""

    arguments: Any
    before: Any
    full: bool
    target: str
    places: Places
    rows: list[Argument] = field(default_factory=list)
    values: list[ShownText] = field(default_factory=list)
    missing: int = 0
    effort: Effort = field(init=False)
    odd: dict[Path, tuple[str, ...]] = field(default_factory=dict)
    below: dict[str | int, list[Path]] = field(default_factory=dict)  # the odd ones, by first step
    forest: Forest = field(init=False)

    def go(self) -> None:
        self.effort = Effort.of(full=self.full)
        self.forest = Forest(self.effort)
        self.odd = _odd(self.arguments)
        for path in self.odd:
            self.below.setdefault(path[0] if path else "", []).append(path)
        members = self.arguments if isinstance(self.arguments, dict) else {}
        if not isinstance(self.arguments, dict):  # never of an agent's, but nothing may be left out
            self._row((), self.arguments, self._old(()))
        for name, value in members.items():
            self._value((name,), value, self._old((name,)), members)
        if isinstance(self.before, dict):
            for name, was in self.before.items():
                if name not in members:
                    self._gone((name,), was)

    def _old(self, at: Path) -> Any:
        """What stood there in the earlier call; the value itself where nothing is compared."""
        return _at(self.arguments if self.before is None else self.before, at)

    def _value(self, at: Path, value: Any, old: Any, beside: Mapping[str, Any]) -> None:
        if isinstance(value, (dict, list)) and value:
            self._branch(at, value, old)
        elif isinstance(value, str) and is_long(value) and (self.full or len(value) <= LONG):
            self._long(at, value, old, beside)
        else:
            self._row(at, value, old)

    def _branch(self, at: Path, value: Any, old: Any) -> None:
        few = _few(value, at)
        if few is not None:
            for inside, leaf in few:
                self._row(inside, leaf, self._old(inside))
            if self.before is not None and old is not ABSENT:
                for inside, leaf in leaves(old, at):
                    if _at(self.arguments, inside) is ABSENT:
                        self._gone(inside, leaf)
            return
        if not self.full and len(canonical(value)) > LONG:
            for inside, leaf in leaves(value, at):
                if len(self.rows) > MOST_ROWS:
                    self.missing += 1
                else:
                    self._row(inside, leaf, self._old(inside))
            return
        self._grown(at, value, old)

    def _grown(self, at: Path, value: Any, old: Any) -> None:
        name = self._name(at)
        odd = tuple(self._odd_below(at))
        touched = old is not value and old != value
        size = f"{len(canonical(value)):,} characters, complete"
        table = table_of(value, old, self.effort)
        if table is not None:
            note = f"list of {len(value):,} like objects, {size}"
            if table.gone:
                note += f"; {table.gone:,} more before, not sent now"
            self.values.append(
                ShownText(name=name, note=note, form="table", table=table, odd=odd, touched=touched)
            )
            return
        self.forest.missing = 0
        node = self.forest.tree(name, value, old, at)
        note = f"{node.note}, {size}"
        if self.forest.missing:
            note = f"{node.note}, {self.forest.missing:,} of its values only under As sent"
        self.values.append(
            ShownText(name=name, note=note, form="tree", node=node, odd=odd, touched=touched)
        )
        apart, self.forest.apart = self.forest.apart, []
        for inside, text, was, around in apart[:_MOST_APART]:
            self._long(inside, text, was, around if isinstance(around, dict) else {})
        for inside, text, was, _ in apart[_MOST_APART:]:
            self._row(inside, text, was)

    def _long(self, at: Path, text: str, old: Any, beside: Mapping[str, Any]) -> None:
        shown = Reader(self.effort).read(self._name(at), text, old, beside)
        self.values.append(replace(shown, odd=self.odd.get(at, ())))

    def _row(self, at: Path, value: Any, old: Any) -> None:
        path = self.places.text(at)[0]
        row = argument(path, value, full=self.full)
        seen = seen_scalar(value, old, self.effort)
        self.rows.append(
            replace(
                row,
                note=row.note if seen.sort == "" else type_of(value, old),
                spans=seen.spans if seen.sort and not row.cut else (),
                touched=bool(seen.sort),
                target=path == self.target,
                odd=self.odd.get(at, ()),
            )
        )

    def _gone(self, at: Path, was: Any) -> None:
        row = argument(self.places.text(at)[0], was, full=False)
        spans, _ = seen_scalar(ABSENT, was, self.effort)
        self.rows.append(
            replace(row, note="not sent now", spans=spans, touched=True, gone=True, cut=False)
        )

    def _name(self, at: Path) -> str:
        return self.places.text(at)[0].removeprefix("args.")

    def _odd_below(self, at: Path) -> Iterator[str]:
        """What is odd about values inside, with their places: some may be folded away."""
        inside = self.below.get(at[0], [])
        for path in inside[:_MOST_ODD]:
            place = self._name(path)
            yield from (f"{place}: {one}" for one in self.odd[path])
        if len(inside) > _MOST_ODD:
            yield f"and {len(inside) - _MOST_ODD:,} more such values"


def _few(value: Any, at: Path) -> list[tuple[Path, Any]] | None:
    """The leaves of a small object; None if it is large, deep, or holds a long text."""
    found: list[tuple[Path, Any]] = []
    for path, leaf in leaves(value, at):
        if len(found) == _FEW or len(path) > _SHALLOW or (isinstance(leaf, str) and is_long(leaf)):
            return None
        found.append((path, leaf))
    return found


def _at(value: Any, path: Path) -> Any:
    """What stands at a path; ABSENT if nothing does."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step, ABSENT)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def _odd(arguments: Any) -> dict[Path, tuple[str, ...]]:
    """What is odd about single values, with the plain spelling of what only looks like it."""
    found = notes(arguments)
    for at, leaf in leaves(arguments):
        if isinstance(leaf, str):
            said = plainly(leaf)
            if said:
                found[at] = (*found.get(at, ()), *said)
    return found
