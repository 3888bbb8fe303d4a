"""Findings as text for people: secrets masked, hidden characters made visible. Pure."""

from __future__ import annotations

from typing import Any

from approvals.digest import canonical
from approvals.redact import masked, visible
from gateway.policy.conditions import Finding, kind
from gateway.policy.paths import Path, covers

_ROOM = 256  # characters of a value that are looked at; no more than these are ever shown
_NO_KEY = b"\0" * 32  # the fingerprint is thrown away


def finding_text(finding: Finding, redacted: tuple[Path, ...]) -> str:
    """The condition with its value. Masked: what the policy redacts, and what looks like a secret
    by its name or its form.
    """
    path = finding.condition.path
    hide = any(covers(one, path) or covers(path, one) for one in redacted)
    return visible(finding.text(masked=hide or _looks_secret(path, finding.value)))


def _looks_secret(path: Path, value: Any) -> bool:
    if path.root != "args" or kind(value) is None:
        return False
    name = next((step for step in reversed(path.steps) if isinstance(step, str)), "")
    seen = {name: value[:_ROOM] if isinstance(value, str) else value}
    try:
        plain = canonical(seen)
    except ValueError:  # half a character, or a number too long to write
        return True
    return masked(plain, (), key=_NO_KEY) != plain.decode()
