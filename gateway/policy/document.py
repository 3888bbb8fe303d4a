"""policy.json: bytes to a frozen `Policy`, or every problem at once. Pure.

    load(text, name="policy.json") -> Policy        raises PolicyInvalid(problems)
    check(text) -> tuple[Problem, ...]              errors and warnings, in document order

Reading is here and in `entries`; what is legal but suspicious is in `lint`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from approvals.digest import canonical, sha256
from approvals.model import Terms
from gateway.policy import lint, reading, reviewers, source, terms, vocabulary
from gateway.policy.entries import Context, read_all_tools, read_entry, read_limits, read_paths
from gateway.policy.normal_form import normal_form
from gateway.policy.pattern import is_glob, specific_first
from gateway.policy.problems import PolicyInvalid, PolicyProblem, Report, shown, step
from gateway.policy.rules import Default, Entry, Policy, Section
from gateway.policy.unread import unread_groups

__all__ = ["PolicyInvalid", "PolicyProblem", "check", "load"]


def load(text: bytes, *, name: str = "policy.json") -> Policy:
    """The policy, ready to judge by; its `warnings` may be shown.

    Raises:
        PolicyInvalid: there are errors; `problems` holds all of them and the warnings.
    """
    report = Report()
    policy = _read(text, name, report)
    if policy is None:
        raise PolicyInvalid(tuple(report.problems), name)
    return policy


def check(text: bytes) -> tuple[PolicyProblem, ...]:
    """Everything that is wrong or suspicious, errors first; () for a good policy."""
    report = Report()
    _read(text, "policy.json", report)
    return tuple(sorted(report.problems, key=lambda problem: problem.severity))


def _read(text: bytes, name: str, report: Report) -> Policy | None:
    raw = source.read(text, report)
    if raw is None and report.failed:
        return None
    document = reading.members(raw, "", vocabulary.POLICY, report, what="The policy")
    if document is None:
        return None
    _head(document, report)
    groups = reviewers.read_groups(document.get("reviewers", {}), "/reviewers", report)
    written = _approval(document, groups, report)
    defaults = terms.fill(written, Terms(), groups)
    context = Context(groups, defaults, report, channel=written.get("channel"))
    root = _root(document, context)
    listed = reading.mapping(document.get("servers", {}), "/servers", report, what="`servers`")
    servers = {
        server: _server(server, section, step("/servers", server), context)
        for server, section in listed.items()
    }
    lint.look(root, servers, context.defaults, report)
    for problem in unread_groups(groups, (root, *servers.values()), written):
        report.warn(problem.pointer, problem.what, problem.write)
    if report.failed:
        return None
    normal = normal_form(root, servers, groups, written)
    return Policy(
        name=name,
        hash=sha256(canonical(normal)),
        normal=normal,
        root=root,
        servers=servers,
        reviewers=groups,
        terms=context.defaults,
        warnings=tuple(report.problems),
    )


def _head(document: Mapping[str, Any], report: Report) -> None:
    if "version" not in document:
        report.error("/version", "`version` is missing.", 'Write "version": "1".')
    elif document["version"] != "1":
        what = f"The version {shown(document['version'])} is not known."
        report.error("/version", what, 'Write "version": "1", in quotes.')
    if "default" not in document:
        report.error(
            "/default",
            "`default` is missing: what happens to tools that are listed nowhere?",
            'Write "default": "deny" (or allow, or require_approval).',
        )
    if "$schema" in document:
        reading.text(document["$schema"], "/$schema", report, what="`$schema`")


def _approval(
    document: Mapping[str, Any], groups: reviewers.Groups, report: Report
) -> dict[str, Any]:
    place = "/approval"
    known = reading.members(
        document.get("approval", {}), place, vocabulary.TERMS, report, what="`approval`"
    )
    written = terms.read(known or {}, place, groups, report)
    if isinstance(written.get("risk"), dict):
        what = "`set` here would lower the risk of every call that is held."
        report.error(step(place, "risk"), what, "Write it in the rule that it is meant for.")
    return written


def _root(document: Mapping[str, Any], context: Context) -> Section:
    default = _default(document, "", context.report)
    return _section(document, "", "", default, context)


def _server(server: str, raw: Any, pointer: str, context: Context) -> Section:
    if not server.strip():
        context.report.error(pointer, "A server needs a name.", "Write its name in servers.json.")
    known = reading.members(
        raw, pointer, vocabulary.SERVER, context.report, what="A server's section"
    )
    section = known or {}
    default = _default(section, pointer, context.report)
    return _section(section, pointer, f"{server}.", default, context)


def _default(section: Mapping[str, Any], pointer: str, report: Report) -> Default | None:
    if "default" not in section:
        return None
    place = step(pointer, "default")
    found: Default | None = reading.one_of(
        section["default"], place, vocabulary.DEFAULTS, report, what="`default`"
    )
    return found


def _section(
    raw: Mapping[str, Any], pointer: str, prefix: str, default: Default | None, context: Context
) -> Section:
    report = context.report
    hide = _hide(raw.get("hide", []), step(pointer, "hide"), context)
    exact: dict[str, Entry] = {}
    globs: list[Entry] = []
    place = step(pointer, "tools")
    tools = reading.mapping(raw.get("tools", {}), place, report, what="`tools`")
    for name, entry in tools.items():
        at = step(place, name)
        reading.pattern(name, at, report, what="The name")
        read, hides = read_entry(name, entry, at, f"{prefix}{name}_rate", context)
        if hides:
            hide.append(name)
        elif read is not None and is_glob(name):
            globs.append(read)
        elif read is not None:
            exact[name] = read
    all_tools = read_all_tools(raw.get("all_tools", {}), step(pointer, "all_tools"), context)
    if "limits" in raw:  # of a server: the same as in its all_tools
        more = read_limits(raw["limits"], step(pointer, "limits"), report)
        all_tools = _with_limits(all_tools, more)
    return Section(
        pointer=pointer,
        default=default,
        hide=tuple(dict.fromkeys(hide)),
        all_tools=all_tools,
        exact=exact,
        globs=tuple(sorted(globs, key=lambda entry: specific_first(entry.name))),
        redact=read_paths(raw.get("redact", []), step(pointer, "redact"), report),
    )


def _with_limits(entry: Entry, more: tuple[Any, ...]) -> Entry:
    return Entry(
        name=entry.name,
        pointer=entry.pointer,
        deny_if=entry.deny_if,
        require=entry.require,
        approve=entry.approve,
        approve_if=entry.approve_if,
        limits=(*more, *entry.limits),
    )


def _hide(raw: Any, pointer: str, context: Context) -> list[str]:
    hidden: list[str] = []
    for place, name in reading.items(raw, pointer, context.report, what="`hide`"):
        found = reading.pattern(name, place, context.report, what="The name")
        if found in hidden:
            context.report.warn(place, f"{shown(found)} is hidden twice.", "Keep one.")
        elif found is not None:
            hidden.append(found)
    return hidden
