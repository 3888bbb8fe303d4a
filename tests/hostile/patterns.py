"""Every regular expression of the product, found in its source, and hostile texts from each."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import re2  # type: ignore[import-not-found,import-untyped,unused-ignore]

ROOT = Path(__file__).parents[2]
PACKAGES = ("approvals", "gateway", "web")
_USES = frozenset({"search", "match", "fullmatch", "split", "findall", "finditer", "sub", "subn"})
_LONGEST = 48  # characters of a sample that are cut off one by one


@dataclass(frozen=True)
class Use:
    """One regular expression and the ways it is asked."""

    where: str  # file and name: `approvals/redact.py _SECRET_TEXT`
    pattern: Any
    methods: frozenset[str]


@dataclass(frozen=True)
class Unread:
    """A pattern that is made while the product runs."""

    where: str


def uses() -> list[Use | Unread]:
    """Every call of `re` and `re2` in the packages, read from their syntax trees."""
    trees = {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "migrations" not in path.parts
    }
    asked = _asked(trees.values())
    return [use for name, tree in trees.items() for use in _uses_in(name, tree, asked)]


def _asked(trees: Any) -> dict[str, set[str]]:
    """By name of a variable, which methods are called on it anywhere."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _USES:
                named = node.value
                name = named.id if isinstance(named, ast.Name) else getattr(named, "attr", "")
                found.setdefault(name, set()).add(node.attr)
    return found


def _uses_in(name: str, tree: ast.Module, asked: dict[str, set[str]]) -> Iterator[Use | Unread]:
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    scope = vars(importlib.import_module(name.removesuffix(".py").replace("/", ".")))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("re", "re2"):
            raise AssertionError(f"{name}: import re itself, so that its patterns can be found")
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        module = node.func.value
        if not isinstance(module, ast.Name) or module.id not in ("re", "re2"):
            continue
        if node.func.attr not in (*_USES, "compile"):
            continue
        holder = _holder(node, parents)
        where = f"{name} {holder}"
        try:
            pattern = _built(node, module.id, scope)
        except NameError:
            yield Unread(where)
            continue
        if node.func.attr != "compile":
            yield Use(where, pattern, frozenset({node.func.attr}))
            continue
        above = parents[node]
        if isinstance(above, ast.Attribute):  # re.compile(…).fullmatch
            yield Use(where, pattern, frozenset({above.attr}))
        else:
            yield Use(where, pattern, frozenset(asked.get(holder) or {"finditer", "fullmatch"}))


def _built(node: ast.Call, module: str, scope: dict[str, Any]) -> Any:
    flags = [each.value for each in node.keywords if each.arg == "flags"]
    if node.func.attr == "compile":  # type: ignore[attr-defined]
        flags += node.args[1:2]
    made = ast.Call(ast.Attribute(ast.Name(module, ast.Load()), "compile", ast.Load()), [], [])
    made.args = [node.args[0], *flags]
    wanted = ast.fix_missing_locations(ast.Expression(made))
    return eval(compile(wanted, "pattern", "eval"), {**scope, "re": re, "re2": re2})  # noqa: S307


def _holder(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str:
    """The variable it is kept in, else the function it stands in."""
    while node in parents:
        node = parents[node]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            return node.target.id
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return node.name
    return ""


def texts_against(pattern: Any) -> list[str]:
    """Short texts whose repetition is hard on the pattern: its own matches, each beginning and
    end of one, one with its last character wrong, and each repeated part without an end.
    """
    written = pattern.pattern
    written = written.decode("latin-1") if isinstance(written, bytes) else written
    tree = parser.parse(written, pattern.flags & ~(re.UNICODE | re.ASCII))
    found: dict[str, None] = {}
    for sample in _samples(tree):
        short = sample[:_LONGEST]
        for text in (
            sample,
            sample + "\x00",
            sample[:-1] + "\x00",
            *(short[:end] for end in range(1, len(short))),
            *(f"{short[:end]}-" for end in range(1, len(short))),
            *(short[start:] for start in range(1, len(short))),
        ):
            if text:
                found[text] = None
    return [*found, "a", " ", "-", "\n"]


def _samples(tree: Any) -> Iterator[str]:
    """For each way through the alternatives a matching text, or one that nearly matches."""
    ways = [""]
    for code, argument in tree:
        parts = list(_parts(code, argument))
        if parts:
            longest = max(len(ways), len(parts))
            ways = [ways[n % len(ways)] + parts[n % len(parts)] for n in range(longest)]
    yield from ways


def _parts(code: Any, argument: Any) -> Iterator[str]:  # noqa: C901 - a case for each kind
    match code:
        case codes.LITERAL:
            yield chr(argument)
        case codes.NOT_LITERAL | codes.ANY:
            yield "x" if argument != ord("x") else "y"
        case codes.IN:
            yield _one_of(argument)
        case codes.BRANCH:
            for way in argument[1]:
                yield from _samples(way)
        case codes.SUBPATTERN:
            yield from _samples(argument[-1])
        case codes.ATOMIC_GROUP:
            yield from _samples(argument)
        case codes.ASSERT:
            if argument[0] > 0:
                yield from _samples(argument[1])
        case codes.MAX_REPEAT | codes.MIN_REPEAT | codes.POSSESSIVE_REPEAT:
            least, most, inner = argument
            for sample in _samples(inner):
                yield sample * min(int(most), max(int(least), 1))
        case _:
            return


def _one_of(members: Any) -> str:
    """A character of a set. Of one with several ranges a letter: other parts are made of them."""
    negated = bool(members) and members[0][0] is codes.NEGATE
    if negated:
        unwanted = re.compile("|".join(map(re.escape, map(_one_of, ([m] for m in members[1:])))))
        return next(c for c in "aA0 ~" if not unwanted.fullmatch(c))
    for code, argument in members:
        if code is codes.RANGE:
            return chr(argument[0])
        if code is codes.LITERAL:
            return chr(argument)
        if code is codes.CATEGORY:
            kind = str(argument)
            return "0" if "DIGIT" in kind else " " if kind.endswith("_SPACE") else "a"
    return "a"
