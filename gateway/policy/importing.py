"""YAML policies of the open-source Go proxy family (Intercept and its kin) as our policy. Pure.

    import_rules(text) -> (policy document, notes)        raises BadYaml

The result is no laxer than the source. A rule that has no counterpart here holds every call of its
tool for a person, and a note says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.policy.conditions import NEGATIVE
from gateway.policy.document import check
from gateway.policy.problems import shown
from gateway.policy.reading import TOOL_NAME
from gateway.policy.yamltext import BadYaml, read_yaml

__all__ = ["BadYaml", "import_rules"]

_TOP = ("version", "description", "default", "hide", "tools", "approvals", "mode")
_RULE = {
    "name",
    "action",
    "rate_limit",
    "conditions",
    "on_deny",
    "state",
    "approval_timeout",
    "description",
}
_WINDOWS = ("minute", "hour", "day")
Document = dict[str, Any]


@dataclass(slots=True)
class _Tool:
    """One tool's rules while they are translated."""

    name: str
    place: str
    notes: list[str]
    parts: dict[str, list[Document]] = field(default_factory=dict)

    def add(self, key: str, rule: Document) -> None:
        self.parts.setdefault(key, []).append(rule)

    def note(self, text: str) -> None:
        self.notes.append(f"{self.place}: {text}")

    def hold(self, why: str, name: str) -> None:
        """What cannot be translated asks a person."""
        self.note(f"{why} Every call is held for a person instead; write the rule by hand.")
        reason = f"The imported rule {shown(name)} has to be written by hand."
        self.add("approve_if", {"conditions": [], "reason": reason})


def import_rules(text: str) -> tuple[Document, tuple[str, ...]]:
    """The policy document, and what a person should look at.

    Raises:
        BadYaml: the text is not such a policy at all.
    """
    source = read_yaml(text)
    if not isinstance(source, dict) or not isinstance(source.get("tools", {}), dict):
        raise BadYaml("This is no policy: a mapping with `tools` was expected.")
    notes: list[str] = []
    policy: Document = {"version": "1", **_head(source, notes)}
    tools: Document = {}
    for name, body in (source.get("tools") or {}).items():
        tool = _Tool(name, f"tools.{name}", notes)
        _rules(body, tool)
        if name == "*":
            if tool.parts:
                policy["all_tools"] = tool.parts
        elif TOOL_NAME.fullmatch(name):
            tools[name] = tool.parts
        else:
            tool.note("this is no tool name here; left out, so `default` applies to it.")
    policy["tools"] = tools
    written = json.dumps(policy)
    if '"scope": "grant"' in written:
        notes.append(
            "limits: counted for each grant here, for the whole process there; "
            'write "scope": "global" to share them.'
        )
    notes += [str(problem) for problem in check(written.encode())]
    return policy, tuple(notes)


def _head(source: Document, notes: list[str]) -> Document:
    head: Document = {}
    if source.get("version") not in ("1", 1):
        notes.append(f"version: {shown(source.get('version'))} was read as version 1.")
    if isinstance(source.get("description"), str) and source["description"].strip():
        head["description"] = source["description"][:1000]
    default = source.get("default")
    if default == "deny":
        head["default"] = "deny"
    elif default in (None, "", "allow"):
        head["default"] = "allow"
        notes.append('default: tools listed nowhere pass, as in the source; consider "deny".')
    else:
        head["default"] = "deny"
        notes.append(f"default: {shown(default)} is unknown; written as deny.")
    hide = source.get("hide") or []
    if hide:
        names = [str(name) for name in hide] if isinstance(hide, list) else [str(hide)]
        head["hide"] = list(dict.fromkeys(names))
    timeout = (source.get("approvals") or {}) if isinstance(source.get("approvals"), dict) else {}
    if "default_timeout" in timeout:
        head["approval"] = {"expires": timeout["default_timeout"]}
    if "approvals" in source:
        notes.append("approvals: where to ask is set up elsewhere here; webhooks were left out.")
    if source.get("mode") not in (None, "enforce"):
        notes.append(f"mode: {shown(source['mode'])} has no counterpart; every rule is enforced.")
    notes.extend(f"{key}: unknown here; left out." for key in source if key not in _TOP)
    return head


def _rules(body: Any, tool: _Tool) -> None:
    rules = body.get("rules") if isinstance(body, dict) else body
    if isinstance(body, dict):
        strange = sorted(str(key) for key in body if key != "rules")
        if strange:
            tool.hold(f"{', '.join(strange)} has no counterpart.", tool.name)
    if rules is None:
        rules = []
    if not isinstance(rules, list):
        tool.hold("its rules are no list.", tool.name)
        return
    for index, rule in enumerate(rules):
        place = _Tool(tool.name, f"{tool.place}.rules[{index}]", tool.notes, tool.parts)
        if isinstance(rule, dict):
            _rule(rule, place)
        else:
            place.hold("the rule is no mapping.", tool.name)


def _rule(rule: Document, tool: _Tool) -> None:
    name = str(rule.get("name") or f"{tool.name} {rule.get('action', '')}".strip())
    strange = sorted(rule.keys() - _RULE)
    if strange:
        tool.hold(f"{', '.join(strange)} has no counterpart.", name)
    label: Document = {"description": name[:1000]} if rule.get("name") else {}
    told = rule.get("on_deny")
    text: Document = {"on_deny": str(told)[:1000]} if told else {}
    action = rule.get("action") or "evaluate"
    conditions = rule.get("conditions") or []
    if not isinstance(conditions, list):
        tool.hold("its conditions are no list.", name)
    elif action == "deny":
        told_or_name = text or {"on_deny": f"Denied by rule {shown(name)}."}
        meant = _meant(conditions, tool)
        tool.add("deny_if", {**label, "conditions": meant, **told_or_name})
    elif action == "require_approval":
        _approval(rule, conditions, label, tool, name)
    elif action != "evaluate":
        tool.hold(f"the action {shown(action)} is unknown.", name)
    elif "rate_limit" in rule:
        _rate(rule, label, tool, name)
    else:
        _evaluate(rule, conditions, {**label, **text}, tool, name)


def _approval(
    rule: Document, conditions: list[Any], label: Document, tool: _Tool, name: str
) -> None:
    if any(_is_state(one) for one in conditions) or "state" in rule or "rate_limit" in rule:
        tool.hold("an approval that depends on a counter has no counterpart.", name)
        return
    hold: Document = {**label, "conditions": _meant(conditions, tool)}
    if rule.get("on_deny"):
        hold["reason"] = str(rule["on_deny"])[:1000]
    elif rule.get("name"):
        hold["reason"] = f"Rule {shown(name)}."
    if "approval_timeout" in rule:
        hold["expires"] = rule["approval_timeout"]
    tool.add("approve_if", hold)


def _rate(rule: Document, label: Document, tool: _Tool, name: str) -> None:
    count, slash, window = str(rule["rate_limit"]).partition("/")
    good = slash and count.isascii() and count.isdigit() and 0 < len(count) < 16  # noqa: PLR2004
    if not good or window not in _WINDOWS or rule.get("conditions") or rule.get("state"):
        tool.hold(f"rate_limit {shown(rule['rate_limit'])} cannot be read.", name)
        return
    tool.add(
        "limits",
        {
            **label,
            "counter": _counter(tool.name, f"rate_{window}"),
            "window": window,
            "max": int(count),
            "scope": "grant",
        },
    )


def _evaluate(
    rule: Document, conditions: list[Any], texts: Document, tool: _Tool, name: str
) -> None:
    """Conditions must hold: `require`; those on the rule's own counter become a limit."""
    states = [one for one in conditions if _is_state(one)]
    others = [one for one in conditions if not _is_state(one)]
    if others:
        tool.add("require", {**texts, "conditions": [_any(one, tool) for one in others]})
    elif not states:
        tool.note("the rule has no conditions and does nothing; left out.")
    if states or "state" in rule:
        _limit(rule, states, tool, name)


def _limit(rule: Document, states: list[Document], tool: _Tool, name: str) -> None:
    state = rule.get("state")
    if not isinstance(state, dict):
        tool.hold("it reads a counter that another rule keeps.", name)
        return
    scope = "_global" if tool.name == "*" else tool.name
    own = f"state.{scope}.{state.get('counter')}"
    bounds = [
        _bound(one) for one in states if one.get("path") == own and one.get("op") in ("lt", "lte")
    ]
    if not states:
        tool.note("it counts and limits nothing; left out.")
        return
    if len(bounds) != len(states) or None in bounds or state.get("window") not in _WINDOWS:
        tool.hold("its counter is compared in a way a limit cannot say.", name)
        return
    most = min(bound for bound in bounds if bound is not None)
    limit: Document = {
        "counter": _counter(tool.name, str(state["counter"])),
        "window": state["window"],
        "max": most,
        "scope": "grant",
    }
    increment = state.get("increment", 1)
    if "increment_from" in state:
        limit["increment_from"] = state["increment_from"]
    elif isinstance(increment, int) and increment > 1:
        limit["max"] = most // increment
        tool.note(f"each call counted {increment} of {most}; written as {limit['max']} calls.")
    if rule.get("on_deny"):
        limit["description"] = str(rule["on_deny"])[:1000]
    tool.add("limits", limit)


def _meant(conditions: list[Any], tool: _Tool) -> list[Any]:
    """The conditions of a rule that stops a call, as the source reads them: there an absent value
    meets no negative operator, so an `exists` stands beside each.
    """
    meant: list[Any] = []
    for one in conditions:
        meant.append(one)
        if isinstance(one, dict) and one.get("op") in NEGATIVE:
            exists = {"path": one.get("path"), "op": "exists", "value": True}
            if exists not in (*conditions, *meant):
                meant.append(exists)
                tool.note(
                    f"a call without {shown(one.get('path'))} passes, as in the source: remove the "
                    "`exists` beside it to stop such calls, too."
                )
    return meant


def _any(condition: Any, tool: _Tool) -> Any:
    """A condition that has to hold: in the source one element of a list is enough."""
    if not isinstance(condition, dict) or "[*]" not in str(condition.get("path", "")):
        return condition
    tool.note(
        f"one element of {shown(condition['path'])} is enough, as in the source: remove "
        '"match": "any" to ask it of every element.'
    )
    return {**condition, "match": "any"}


def _bound(condition: Document) -> int | None:
    value = condition.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return max(0, int(value) - (1 if condition["op"] == "lt" else 0))


def _counter(tool: str, counter: str) -> str:
    return f"all_tools_{counter}" if tool == "*" else f"{tool}_{counter}"


def _is_state(condition: Any) -> bool:
    return isinstance(condition, dict) and str(condition.get("path", "")).startswith("state.")
