"""One tool's rules as a form shows and changes them, in the text of policy.json. Pure.

A tool's rules stand under `tools` of the document or of one server; hiding it stands in `hide`
there. Only that part of the text is touched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from approvals.digest import canonical
from gateway.policy import normal_form, vocabulary
from gateway.policy.document import load
from gateway.policy.pattern import matches
from gateway.policy.rules import Policy, Section
from gateway.policy.text_patch import put, without

Entry = dict[str, Any]
Choice = Entry | Literal["hide"] | None
"""A tool's rules as JSON, or that it is hidden, or (None) that nothing is said of it by name."""

_OLDER: Final = frozenset((*vocabulary.OLDER, vocabulary.OLDER_EXPIRES))


@dataclass(frozen=True, slots=True)
class Standing:
    """What a policy says of one tool by its name, in one place."""

    choice: Choice
    older: bool  # it is written in an older spelling; a change writes the present one
    hidden_by: str  # a glob of `hide` that no form takes away, or ""


def base(server: str) -> tuple[str, ...]:
    """Where the rules of a server stand; "" is the whole document."""
    return ("servers", server) if server else ()


def standing(policy: Policy, text: str, server: str, tool: str) -> Standing:
    """What the text says of the tool in this place. `policy` is what the text was loaded as."""
    section = policy.section(server) if server else policy.root
    if section is None:
        return Standing(None, older=False, hidden_by="")
    globs = [one for one in section.hide if one != tool and matches(one, tool)]
    hidden_by = globs[0] if globs else ""
    if tool in section.hide:
        return Standing("hide", older=False, hidden_by=hidden_by)
    raw = _part(text, server).get("tools", {}).get(tool)
    if raw is None:
        return Standing(None, older=False, hidden_by=hidden_by)
    if not _OLDER.isdisjoint(raw) or _older_terms(raw):
        return Standing(_present(section, tool, raw), older=True, hidden_by=hidden_by)
    return Standing(raw, older=False, hidden_by=hidden_by)


def drafted(text: str, server: str, tool: str, choice: Choice) -> str:
    """The text with this said of the tool in this place, and nothing else changed.

    Raises:
        KeyError: a part on the way to it is no object.
    """
    place = base(server)
    part = _part(text, server)
    hide = part.get("hide", [])
    hides = isinstance(hide, list) and tool in hide
    if hides and choice != "hide":
        text = put(text, (*place, "hide"), [name for name in hide if name != tool])
    if choice == "hide":
        if not hides:
            text = put(text, (*place, "hide"), [*hide, tool] if isinstance(hide, list) else [tool])
        return without(text, (*place, "tools", tool))
    if choice is None:
        return without(text, (*place, "tools", tool))
    if canonical(part.get("tools", {}).get(tool)) == canonical(choice):
        return text
    return put(text, (*place, "tools", tool), choice)


def pointer_to(server: str, tool: str) -> str:
    """The JSON pointer of a tool's entry."""
    steps = (*base(server), "tools", tool)
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def _part(text: str, server: str) -> Mapping[str, Any]:
    document: Any = json.loads(text)
    for key in base(server):
        document = document.get(key, {}) if isinstance(document, dict) else {}
    return document if isinstance(document, dict) else {}


def _older_terms(raw: Entry) -> bool:
    rules = [raw.get("require_approval"), *raw.get("approve_if", [])]
    return any(isinstance(rule, dict) and vocabulary.OLDER_EXPIRES in rule for rule in rules)


def _present(section: Section, tool: str, raw: Entry) -> Choice:
    entry = section.exact.get(tool) or next(one for one in section.globs if one.name == tool)
    kept = {"description": raw["description"]} if "description" in raw else {}
    return {**kept, **normal_form.entry(entry)}


def usable(text: bytes) -> Policy | None:
    """The policy of these bytes, or None if it has errors."""
    try:
        return load(text)
    except ValueError:
        return None
