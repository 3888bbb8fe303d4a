"""Who may decide, as a policy names them: identities, and groups resolved to identities. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.policy import reading, vocabulary
from gateway.policy.problems import Report, nearest, shown, step

_PLAIN = re.compile(r"[A-Za-z0-9_.@+-]{1,128}")
_PREFIXED = {
    "slack": re.compile(r"[A-Z0-9]+/[A-Z0-9]+").fullmatch,
    "slack-group": re.compile(r"[A-Z0-9]+/[A-Z0-9]+").fullmatch,
    "oidc": re.compile(r"\S{1,256}").fullmatch,
    "oidc-group": re.compile(r"\S{1,256}").fullmatch,
}
_ADVICE = (
    'Write a group, a local account ("alice"), "slack:T024/U07", "slack-group:T024/S01", '
    '"oidc:bob@example.com" or "oidc-group:NAME".'
)


@dataclass(frozen=True, slots=True)
class Group:
    """People under one name. `channel`: where calls that this group decides are announced."""

    members: tuple[str, ...]  # identities, each once
    channel: str | None = None


Groups = Mapping[str, Group]


def is_crowd(identity: str) -> bool:
    """Whether the identity stands for people this file cannot count."""
    return identity.startswith(("slack-group:", "oidc-group:"))


def read_groups(raw: Any, pointer: str, report: Report) -> Groups:
    """Every group with its identities, groups inside groups resolved. Written as a list of names,
    or as `{"members": [...], "channel": "#..."}`; a channel is the group's own, never inherited.
    """
    written = reading.mapping(raw, pointer, report, what="`reviewers`")
    lists: dict[str, list[tuple[str, str]]] = {}
    channels: dict[str, str | None] = {}
    for name, people in written.items():
        place = step(pointer, name)
        if not _PLAIN.fullmatch(name):
            report.error(place, f"{shown(name)} is no group name.", "Use letters, digits, _ . -")
        lists[name], channels[name] = _group(people, place, report)
    _check_members(lists, report)
    return {
        name: Group(_resolve(name, lists, (), report, step(pointer, name)), channels[name])
        for name in lists
    }


def _group(raw: Any, pointer: str, report: Report) -> tuple[list[tuple[str, str]], str | None]:
    """The names of one group, each with its pointer, and its channel."""
    if not isinstance(raw, dict):
        return names_in(raw, pointer, report), None
    known = reading.members(raw, pointer, vocabulary.GROUP, report, what="A group") or {}
    if "members" not in known:
        advice = 'Write {"members": ["alice", "bob"], "channel": "#payments"}.'
        report.error(pointer, "The group has no `members`.", advice)
    place = step(pointer, "members")
    names = names_in(known["members"], place, report) if "members" in known else []
    if "channel" not in known:
        return names, None
    return names, reading.text(known["channel"], step(pointer, "channel"), report, what="`channel`")


def _check_members(lists: Mapping[str, list[tuple[str, str]]], report: Report) -> None:
    for members in lists.values():
        for place, member in members:
            if member not in lists:
                _identity(member, place, report, lists)


def _resolve(
    name: str,
    lists: Mapping[str, list[tuple[str, str]]],
    above: tuple[str, ...],
    report: Report,
    pointer: str,
) -> tuple[str, ...]:
    if name in above:
        report.error(pointer, f"The group {shown(name)} contains itself.", "Break the circle.")
        return ()
    found: list[str] = []
    for _, member in lists[name]:
        if member in lists:
            found.extend(_resolve(member, lists, (*above, name), report, pointer))
        else:
            found.append(member)
    return tuple(dict.fromkeys(found))


def names_in(raw: Any, pointer: str, report: Report) -> list[tuple[str, str]]:
    """A list of reviewers as written, each with its pointer; an empty one is an error."""
    found = []
    for place, name in reading.items(raw, pointer, report, what="Reviewers"):
        if isinstance(name, str) and name:
            found.append((place, name))
        else:
            report.error(place, f"A reviewer must be a name, not {shown(name)}.", _ADVICE)
    if isinstance(raw, list) and not raw:
        report.error(pointer, "No one is listed, so no one could decide.", _ADVICE)
    return found


def check_names(names: list[tuple[str, str]], groups: Groups, report: Report) -> None:
    """Reports names that are neither a group nor an identity."""
    for place, name in names:
        if name not in groups:
            _identity(name, place, report, groups)


def identities(names: tuple[str, ...], groups: Groups) -> tuple[str, ...]:
    """The names with groups replaced by their identities, each once, in order."""
    found = (groups[name].members if name in groups else (name,) for name in names)
    return tuple(dict.fromkeys(one for members in found for one in members))


def channel_of(names: Sequence[str], groups: Groups) -> str | None:
    """Where the groups among the names want their calls announced: the first that says so."""
    found = (groups[name].channel for name in names if name in groups)
    return next((channel for channel in found if channel is not None), None)


def _identity(name: str, place: str, report: Report, groups: Mapping[str, object]) -> None:
    head, colon, rest = name.partition(":")
    if colon:
        formed = _PREFIXED.get(head)
        if formed is None or not formed(rest):
            report.error(place, f"{shown(name)} names no reviewer.", _ADVICE)
    elif not _PLAIN.fullmatch(name):
        report.error(place, f"{shown(name)} names no reviewer.", _ADVICE)
    elif meant := nearest(name, groups):
        what = f"{shown(name)} is no group; it is taken for a local account."
        report.warn(place, what, f'Did you mean the group "{meant}"?')
