"""What a policy says and nothing reads, as far as files beside it tell. Pure; warnings only.

An argument that the pinned definition of the tool does not have, a tool that its server does not
list, a section for a server that is set up nowhere, a group of reviewers that no rule names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from gateway.policy.paths import Path
from gateway.policy.pattern import is_glob, matches
from gateway.policy.problems import PolicyProblem, choose, shown, step
from gateway.policy.rules import Entry, Policy, Section
from gateway.policy.summaries import paths_in

Schemas = Mapping[str, Mapping[str, Any]]
"""The pinned input schema of every tool, by server and name."""

_COMBINED: Final = ("$ref", "allOf", "anyOf", "oneOf", "if", "patternProperties")


def unread_groups(
    groups: Collection[str], sections: tuple[Section, ...], defaults: Mapping[str, Any]
) -> Iterator[PolicyProblem]:
    """A warning for each group of reviewers that nothing names."""
    named = set(defaults.get("reviewers", ()))
    for section in sections:
        for entry in (section.all_tools, *section.entries):
            for rule in entry.holds:
                named |= set(rule.written.get("reviewers", ()))
    for group in groups:
        if group not in named:
            what = f"No rule names the group {shown(group)}."
            yield _warning(step("/reviewers", group), what, "Name it in `reviewers`, or remove it.")


def unread_servers(policy: Policy, servers: Collection[str]) -> Iterator[PolicyProblem]:
    """A warning for each section of a server that servers.json does not have."""
    for name, section in policy.servers.items():
        if name not in servers:
            what = f"servers.json has no server {shown(name)}, so nothing here is ever read."
            yield _warning(section.pointer, what, choose(name, sorted(servers)))


def unread_arguments(policy: Policy, schemas: Schemas) -> Iterator[PolicyProblem]:
    """A warning for each tool its server does not list, and each argument that the pinned
    definitions of the tools it is meant for do not have.
    """
    for server, section in (("", policy.root), *policy.servers.items()):
        known = [
            (name, schema)
            for at, tools in schemas.items()
            if server in ("", at)
            for name, schema in tools.items()
        ]
        if not known:
            continue
        for entry in (section.all_tools, *section.entries):
            meant = [schema for name, schema in known if _meant(entry, section, name)]
            if not meant:
                if server and not is_glob(entry.name) and entry is not section.all_tools:
                    what = f"{shown(server)} lists no tool {shown(entry.name)}."
                    advice = choose(entry.name, sorted(name for name, _ in known))
                    yield _warning(entry.pointer, what, advice)
                continue
            for pointer, path in _paths(entry):
                if not any(_has(schema, path.steps) for schema in meant):
                    what = f"The pinned definition has no argument `{path.short}`."
                    names = {str(name) for schema in meant for name in schema.get("properties", ())}
                    head = next((one for one in path.steps if isinstance(one, str)), "")
                    yield _warning(pointer, what, choose(head, sorted(names)))


def _warning(pointer: str, what: str, write: str) -> PolicyProblem:
    return PolicyProblem(pointer=pointer, severity="warning", what=what, write=write)


def _meant(entry: Entry, section: Section, tool: str) -> bool:
    if entry is section.all_tools:
        return True
    return matches(entry.name, tool) if is_glob(entry.name) else entry.name == tool


def _paths(entry: Entry) -> Iterator[tuple[str, Path]]:
    """Every argument the entry reads, with its place."""
    for rule in (*entry.deny_if, *entry.require, *entry.approve_if):
        for at, condition in enumerate(rule.conditions):
            if condition.path.root == "args":
                yield step(step(rule.pointer, "conditions"), at), condition.path
    stated = [(rule.pointer, rule.terms.summary) for rule in entry.holds]
    for pointer, text in (*stated, (entry.pointer, entry.summary)):
        for path in paths_in(text):
            yield step(pointer, "summary"), path
    for at, path in enumerate(entry.redact):
        yield step(step(entry.pointer, "redact"), at), path
    if entry.effect is not None:
        for part in entry.effect.parts:
            if isinstance(part, Path):
                yield entry.effect.pointer, part


def _has(schema: Any, steps: tuple[Any, ...]) -> bool:
    """Whether a value may stand there, as far as the schema says; unsure is yes."""
    if not steps or not isinstance(schema, dict) or any(key in schema for key in _COMBINED):
        return True
    if not isinstance(steps[0], str):
        return _has(schema.get("items"), steps[1:])
    properties = schema.get("properties")
    if not isinstance(properties, dict) or isinstance(schema.get("additionalProperties"), dict):
        return True
    return steps[0] in properties and _has(properties[steps[0]], steps[1:])
