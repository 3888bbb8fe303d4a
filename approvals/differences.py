"""What differs between two decoded JSON values, field by field, and paths to fields. Pure.

A path is a tuple of keys and indexes; its text is the policy's: `args.items[0].price`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

Path = tuple[str | int, ...]
Pattern = tuple[str | int | None, ...]  # None: any index

ROOT: Final = "args"
_SHORT: Final = 300  # characters of a path that is always written whole
_STEP: Final = 60  # of a name in one that is not


@dataclass(frozen=True, slots=True)
class Absent:
    """No value on this side, which is not the same as null."""


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs; a side that lacks it holds ABSENT."""

    path: Path
    before: Any
    after: Any


def changes(before: Any, after: Any, at: Path = ()) -> tuple[Difference, ...]:
    """Every field that differs, in the order people read them. 1, 1.0 and true are different."""
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[Difference] = []
        for key in sorted(before.keys() | after.keys()):
            found.extend(changes(before.get(key, ABSENT), after.get(key, ABSENT), (*at, key)))
        return tuple(found)
    if isinstance(before, list) and isinstance(after, list):
        found = []
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else ABSENT
            new = after[index] if index < len(after) else ABSENT
            found.extend(changes(old, new, (*at, index)))
        return tuple(found)
    if type(before) is type(after) and before == after:
        return ()
    return (Difference(at, before, after),)


def leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that holds no other, with its path, in canonical order."""
    if isinstance(value, dict) and value:
        for key, member in value.items():
            yield from leaves(member, (*at, key))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, (*at, index))
    elif at or value != {}:
        yield at, value


def texts_of(value: Any) -> Iterator[str]:
    """Every text in it that is a value."""
    return (leaf for _, leaf in leaves(value) if isinstance(leaf, str))


def names_of(value: Any) -> Iterator[str]:
    """Every name of a member, at any depth."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from names_of(member)
    elif isinstance(value, list):
        for item in value:
            yield from names_of(item)


@dataclass(slots=True)
class Places:
    """Writes the paths of one value's leaves, each whole while all of them together are not much
    longer than the value: a long name above many leaves would be written once for each.
    """

    room: int  # characters of long paths still written whole

    @classmethod
    def of(cls, size: int) -> Places:
        """For a value of `size` characters."""
        return cls(2 * size)

    def text(self, path: Path) -> tuple[str, bool]:
        """The path as the policy writes it, and whether that is all of it."""
        size = sum(len(step) if isinstance(step, str) else 8 for step in path)
        if size > _SHORT:
            if size > self.room:
                return text(tuple(map(_brief, path)))[:_SHORT], False
            self.room -= size
        return text(path), True


def _brief(step: str | int) -> str | int:
    return step if isinstance(step, int) or len(step) <= _STEP else f"{step[:_STEP]}…"


def text(path: Path) -> str:
    """The path as the policy writes it."""
    return ROOT + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def pattern(written: str) -> Pattern:
    """The steps of `args.a.b`, `args.items[*].x`, `args.items[0]`.

    Raises:
        ValueError: it does not begin with args, or a bracket holds no index.
    """
    head, *rest = written.split(".")
    steps: list[str | int | None] = []
    for place, part in enumerate([head, *rest]):
        name, *indexes = part.split("[")
        if place == 0:
            if name != ROOT:
                raise ValueError(f"A path begins with {ROOT}: {written}")
        else:
            steps.append(name)
        for index in indexes:
            inner = index.removesuffix("]")
            steps.append(None if inner == "*" else int(inner))
    return tuple(steps)


def covers(wanted: Pattern, path: Path) -> bool:
    """Whether the path is what the pattern names, or lies inside it."""
    return len(wanted) <= len(path) and all(
        (step is None and isinstance(found, int)) or (step == found and type(step) is type(found))
        for step, found in zip(wanted, path, strict=False)
    )
