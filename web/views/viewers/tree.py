"""Objects and lists as a tree that folds, and lists of equal objects as a table. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final

from approvals.differences import ABSENT, Path
from approvals.digest import canonical
from web.views.viewers.scalars import ShownScalar, is_long, seen_scalar, type_of
from web.views.viewers.spans import Effort, MarkedText

MOST_NODES: Final = 4_000
_DEEPEST: Final = 20
_OPEN: Final = 14  # members up to which a branch stands open, where it is not deep inside
_OPEN_DEPTH: Final = 3
_WORTH_A_FOLD: Final = 5  # unchanged members in a row
_MOST_ROWS: Final = 200
_MOST_COLUMNS: Final = 8
_WIDEST: Final = 120  # characters of a cell


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its name. A branch has nodes below it, or none where it is empty."""

    key: str
    spans: tuple[MarkedText, ...]
    note: str = ""
    nodes: tuple[Node, ...] = ()
    branch: bool = False
    open: bool = False
    sort: str = ""  # "came", "went", "changed"
    part: str = ""  # a name for what is folded, the same as long as the tree is


@dataclass(slots=True)
class Forest:
    """Grows the trees of one call, within bounds that they share."""

    effort: Effort
    room: int = MOST_NODES
    folds: int = 0
    missing: int = 0  # values that found no room
    apart: list[tuple[Path, Any, Any, Any]] = field(default_factory=list)
    """Long texts inside, shown by themselves: where, the text, the earlier one, what is beside."""

    def tree(self, key: str, value: Any, old: Any, at: Path = (), beside: Any = None) -> Node:
        """`old`: what stood here in the earlier call, ABSENT, or the same value."""
        self.room -= 1
        if not isinstance(value, (dict, list)):
            return self._leaf(key, value, old, at, beside)
        if not value or len(at) > _DEEPEST:
            spans, sort = seen_scalar(value, old, self.effort)
            return Node(key, spans, "" if not value else "deep, as sent", sort=sort)
        self.folds += 1
        part = f"f{self.folds}"
        nodes = tuple(self._calm(self._members(value, old, at)))
        sort = "came" if old is ABSENT else ""
        if any(node.sort for node in nodes):
            sort = sort or "changed"
        few = max(len(value), len(beside or ())) <= _OPEN and len(at) <= _OPEN_DEPTH
        opened = sort == "changed" or len(at) == 1 or few
        word = "member" if isinstance(value, dict) else "item"
        note = f"{len(value):,} {word}{'' if len(value) == 1 else 's'}"
        return Node(key, (), note, nodes, branch=True, open=opened, sort=sort, part=part)

    def _members(self, value: Any, old: Any, at: Path) -> list[Node]:
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
        nodes: list[Node] = []
        for step, member in pairs:
            if self.room <= 0:
                left = len(pairs) - len(nodes)
                self.missing += left
                nodes.append(Node("", (MarkedText(f"{left:,} more, see As sent", "ours"),)))
                return nodes
            was = _within(old, value, step)
            nodes.append(self.tree(str(step), member, was, (*at, step), value))
        for step, gone in _gone(value, old):
            if self.room <= 0:
                break
            self.room -= 1
            spans, _ = seen_scalar(ABSENT, gone, self.effort)
            nodes.append(Node(str(step), spans, "not sent now", sort="went"))
        return nodes

    def _calm(self, nodes: list[Node]) -> list[Node]:
        """With long runs of what did not change folded, where something else beside them did."""
        if len(nodes) <= _OPEN or not any(node.sort for node in nodes):
            return nodes
        found: list[Node] = []
        for changed, run in groupby(nodes, lambda node: bool(node.sort)):
            same = tuple(run)
            if changed or len(same) < _WORTH_A_FOLD:
                found += same
                continue
            self.folds += 1
            note = f"{len(same):,} not changed"
            found.append(Node("", (), note, same, branch=True, part=f"f{self.folds}"))
        return found

    def _leaf(self, key: str, value: Any, old: Any, at: Path, beside: Any) -> Node:
        if isinstance(value, str) and is_long(value):
            self.apart.append((at, value, old, beside))
            sort = "" if value == old else "came" if old is ABSENT else "changed"
            said = f"{len(value):,} characters, shown below"
            return Node(key, (MarkedText(said, "ours"),), sort=sort)
        spans, sort = seen_scalar(value, old, self.effort)
        return Node(key, spans, type_of(value, old), sort=sort)


def _within(old: Any, new: Any, step: str | int) -> Any:
    """What stood at a step inside; where nothing is compared, the value itself."""
    if old is new:
        return new[step]
    if isinstance(step, str):
        return old.get(step, ABSENT) if isinstance(old, dict) else ABSENT
    return old[step] if isinstance(old, list) and step < len(old) else ABSENT


def _gone(new: Any, old: Any) -> list[tuple[str | int, Any]]:
    if old is new:
        return []
    if isinstance(new, dict) and isinstance(old, dict):
        return [(step, was) for step, was in old.items() if step not in new]
    if isinstance(new, list) and isinstance(old, list):
        return [(step, old[step]) for step in range(len(new), len(old))]
    return [] if old is ABSENT else [("before", old)]


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[ShownScalar, ...], ...]
    gone: int  # rows that the earlier call had besides


def table_of(value: Any, old: Any, effort: Effort) -> Table | None:
    """Equal objects beneath each other; None if the value is anything else."""
    if not isinstance(value, list) or not 1 < len(value) <= _MOST_ROWS:
        return None
    first = value[0]
    if not isinstance(first, dict) or not 0 < len(first) <= _MOST_COLUMNS:
        return None
    columns = tuple(first)
    if not all(_fits(row, columns) for row in value):
        return None
    rows = tuple(
        tuple(
            seen_scalar(row[name], _within(_within(old, value, at), row, name), effort)
            for name in columns
        )
        for at, row in enumerate(value)
    )
    return Table(columns, rows, len(_gone(value, old)) if isinstance(old, list) else 0)


def _fits(row: Any, columns: tuple[str, ...]) -> bool:
    return (
        isinstance(row, dict)
        and tuple(row) == columns
        and all(
            not isinstance(cell, (dict, list))
            and not (isinstance(cell, str) and (len(cell) > _WIDEST or "\n" in cell))
            for cell in row.values()
        )
    )


def laid_out(value: Any, most: int = 400_000) -> str:
    """The value as JSON, each token as it is sent, with line ends of ours between them."""
    whole = canonical(value).decode()
    if len(whole) > most:
        return whole
    return "\n".join(_laid("", value, "", 0))


_INDENTED: Final = 12
_NARROW: Final = 90


def _laid(head: str, value: Any, tail: str, depth: int) -> list[str]:
    """`head`, the value and `tail`, in lines. Deep ones are not moved in further: a few brackets
    would otherwise fill a page with blanks.
    """
    pad = "  " * min(depth, _INDENTED)
    if not isinstance(value, (dict, list)) or not value:
        return [f"{pad}{head}{canonical(value).decode()}{tail}"]
    if not any(isinstance(one, (dict, list)) for one in _values(value)):
        line = canonical(value).decode()
        if len(line) <= _NARROW or isinstance(value, list):
            return [f"{pad}{head}{line}{tail}"]
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    lines = [f"{pad}{head}{opening}"]
    last = len(value) - 1
    members = value.items() if isinstance(value, dict) else ((None, one) for one in value)
    for at, (name, member) in enumerate(members):
        named = "" if name is None else f"{canonical(name).decode()}: "
        lines += _laid(named, member, "" if at == last else ",", depth + 1)
    lines.append(f"{pad}{closing}{tail}")
    return lines


def _values(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value
