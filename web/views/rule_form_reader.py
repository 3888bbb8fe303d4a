"""The filled form of a tool's rules read back as the JSON of policy.json. Pure.

Fields are named by where their value stands in the tool's entry; see `rules`, which shows the form.
What a form does not show stays as the file has it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.policy.conditions import TEXT_ALONE
from gateway.policy.vocabulary import DENY_RULE, EFFECT, LIMIT, RULES, SUMMARY, TERMS

_LISTS: Final = ("reviewers", "editable")
_CONDITIONAL: Final = ("deny_if", "require", "approve_if")
_MOST: Final = 60  # rules or limits of one form


def choice_of(form: Mapping[str, str], kept: Any) -> Any:
    """What the filled form says; `kept` is what the file says now, whose other keys stay."""
    entry = kept if isinstance(kept, dict) else {}
    kind = form.get("choice", "default")
    if kind == "default":
        return None
    if kind == "hide":
        return "hide"
    own: dict[str, Any] = {"redact": _listed(form.get("/redact", ""))}
    own |= {key: form.get(f"/{key}", "").strip() for key in EFFECT}
    own["effect_for"] = scalar(own["effect_for"]) if own["effect_for"] else ""
    if kind != "deny":
        own["limits"] = _limits(form, entry)
    if kind == "deny":
        told = form.get("/on_deny", "").strip()
        own["deny_if"] = [{"conditions": [], **({"on_deny": told} if told else {})}]
    if kind == "hold" or (kind == "custom" and form.get("every")):
        before = entry.get("require_approval")
        terms = _terms(form, "/require_approval", before if isinstance(before, dict) else {})
        own["require_approval"] = terms or True
    if kind == "custom":
        for key in _CONDITIONAL:
            own[key] = _rules(form, key, entry)
    own = {key: value for key, value in own.items() if value not in ("", [], None)}
    shown = (*RULES, "redact", *EFFECT)
    result = {
        key: own.pop(key) if key in own else value
        for key, value in entry.items()
        if key in own or key not in shown
    }
    return result | own


def _rules(form: Mapping[str, str], key: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for number in range(_MOST):
        at = f"/{key}/{number}"
        if f"{at}/keep" not in form:
            break
        before = _before(entry.get(key), form[f"{at}/keep"])
        conditions = _conditions(form, at)
        if key == "approve_if":
            rule = _terms(form, at, before)
        else:
            told = form.get(f"{at}/on_deny", "").strip()
            rule = {name: before[name] for name in before if name not in DENY_RULE[1:]}
            rule |= {"on_deny": told} if told else {}
        if conditions or form.get(f"{at}/always"):
            found.append(_ordered(before, {"conditions": conditions, **rule}))
        elif rule.keys() - before.keys():
            found.append(rule)  # a rule without conditions: the checker says so
    return found


def _conditions(form: Mapping[str, str], at: str) -> list[dict[str, Any]]:
    found = []
    for number in range(_MOST):
        here = f"{at}/conditions/{number}"
        if f"{here}/path" not in form:
            break
        path = form[f"{here}/path"].strip()
        written = form.get(f"{here}/value", "")
        if path or written.strip():
            op = form.get(f"{here}/op", "eq")
            match = form.get(f"{here}/match", "")
            condition = {"path": path, "op": op, "value": _value(op, written)}
            found.append(condition | ({"match": match} if match else {}))
    return found


def _terms(form: Mapping[str, str], at: str, before: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("reason", SUMMARY, *TERMS)
    terms: dict[str, Any] = {}
    for key in dict.fromkeys((*before, *shown)):  # in the file's own order
        if key not in shown:
            terms |= {key: before[key]} if key != "conditions" else {}
            continue
        written = form.get(f"{at}/{key}", "").strip()
        if not written:
            continue
        if key in _LISTS:
            terms[key] = _listed(written)
        elif key == "risk":
            _, exactly, level = written.rpartition("set ")
            terms[key] = {"set": level} if exactly else written
        elif key in ("reason", SUMMARY, "channel"):
            terms[key] = written
        else:
            terms[key] = scalar(written)
    return terms


def _limits(form: Mapping[str, str], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for number in range(_MOST):
        at = f"/limits/{number}"
        if f"{at}/keep" not in form:
            break
        written = {key: form.get(f"{at}/{key}", "").strip() for key in LIMIT[1:]}
        if not any(written[key] for key in ("counter", "max", "increment_from")):
            continue
        if not written["counter"]:
            written["counter"] = f"{form.get('tool', 'calls')}_{written['window'] or 'minute'}"
        before = _before(entry.get("limits"), form[f"{at}/keep"])
        kept = {key: value for key, value in before.items() if key not in LIMIT[1:]}
        stated = {
            key: scalar(value) if key in ("max", "window") else value
            for key, value in written.items()
            if value
        }
        found.append(_ordered(before, {**kept, **stated}))
    return found


def _ordered(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The members in the order the file has them; new ones last."""
    return {key: now[key] for key in dict.fromkeys((*before, *now)) if key in now}


def _before(listed: Any, number: str) -> Mapping[str, Any]:
    """The rule of the file a row of the form was made from; {} for a new one."""
    if isinstance(listed, list) and number.isascii() and number.isdigit() and len(number) < 4:  # noqa: PLR2004  # far above _MOST
        at = int(number)
        if at < len(listed) and isinstance(listed[at], dict):
            found: Mapping[str, Any] = listed[at]
            return found
    return {}


def scalar(written: str) -> Any:
    """A value as it was typed: numbers, true and false and quoted texts as JSON, else a text."""
    text = written.strip()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    fine = isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and math.isfinite(value)
    )
    return value if fine else text


def typed(value: Any) -> str:
    """The other way round: what to type for this value."""
    if isinstance(value, str):
        plain = scalar(value) == value and value == value.strip()
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        simple = all(isinstance(one, str) and typed(one) == one and "," not in one for one in value)
        return ", ".join(value) if simple and value else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def _value(op: str, written: str) -> Any:
    if op in TEXT_ALONE:
        return written
    if op not in ("in", "not_in"):
        return scalar(written)
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        return [scalar(part) for part in written.split(",") if part.strip()]
    return value if isinstance(value, list) else [value]


def _listed(written: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\n]", written) if part.strip()]
