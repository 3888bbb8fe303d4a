"""What is wrong with a policy: problems with their place, and the report that collects them. Pure.

Nothing stops at the first problem: `signoff policy check` shows all of them at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProblem:
    """One thing to change in policy.json."""

    pointer: str  # JSON pointer (RFC 6901); "" is the whole document
    severity: Severity
    what: str  # what is wrong
    write: str  # what to write instead

    def __str__(self) -> str:
        return f"{self.severity} {self.pointer or '/'}: {self.what} {self.write}".rstrip()


class PolicyInvalid(ValueError):
    """The policy has errors and must not be used; `problems` lists them all, warnings too."""

    def __init__(self, problems: tuple[PolicyProblem, ...], name: str) -> None:
        errors = [problem for problem in problems if problem.severity == "error"]
        super().__init__(f"{name}: {len(errors)} error(s); first: {errors[0] if errors else '?'}")
        self.problems = problems


@dataclass(slots=True)
class Report:
    """Collects problems while a policy is read."""

    problems: list[PolicyProblem] = field(default_factory=list)

    def error(self, pointer: str, what: str, write: str) -> None:
        self.problems.append(
            PolicyProblem(pointer=pointer, severity="error", what=what, write=write)
        )

    def warn(self, pointer: str, what: str, write: str) -> None:
        self.problems.append(
            PolicyProblem(pointer=pointer, severity="warning", what=what, write=write)
        )

    @property
    def failed(self) -> bool:
        return any(problem.severity == "error" for problem in self.problems)


def step(pointer: str, key: str | int) -> str:
    """The pointer one key or index further down."""
    if isinstance(key, int):
        return f"{pointer}/{key}"
    return f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant, or ""."""
    folded = {name.casefold().replace("-", "_"): name for name in known}
    found = difflib.get_close_matches(word.casefold().replace("-", "_")[:64], folded, n=1)
    return folded[found[0]] if found else ""


def choose(word: str, known: Iterable[str]) -> str:
    """Advice for an unknown word: the nearest known one, or all of them."""
    names = tuple(known)
    meant = nearest(word, names)
    return f'Did you mean "{meant}"?' if meant else f"Write one of: {', '.join(names)}."


def shown(value: object, room: int = 60) -> str:
    """A value in a message, short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > 256:  # noqa: PLR2004  # str() refuses huge ones
        return "a huge number"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= room else f"{text[: room - 1]}…"
