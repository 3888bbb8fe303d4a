"""What a row of the history says: who did it, and about whom or what. For lists that people read;
the row itself stays as it was written. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from approvals.model import RISKS, Event, Risk

OPERATOR: Final = "an operator"
GATEWAY: Final = "the gateway"

_OWN: Final = frozenset({"link_used", "session_issued"})
"""Of a person, done by that person; anything else about one is the operator's doing."""


@dataclass(frozen=True, slots=True)
class Told:
    """One row as a person reads it."""

    who: str
    about: str  # the person, agent or effect it is about, where no tool says it; or ""
    approval_id: str  # the approval it belongs to, or ""


def told_of(event: Event, names: Mapping[str, str]) -> Told:
    """`names` are what people call the agents' grants, by id."""
    said, approval = _data(event), event.approval_id or ""
    if event.event == "effect_marked":
        holder, key = str(said.get("holder", "")), str(said.get("effect", ""))
        about = f"{key}: {said.get('state', '')}" if key else ""
        return Told(GATEWAY, about, holder if holder.startswith("apr_") else approval)
    if event.actor_kind == "gateway":
        return Told(GATEWAY, "", approval)
    if event.actor_kind == "agent":
        return Told(names.get(event.grant) or names.get(event.actor, event.actor), "", approval)
    person = said.get("reviewer")
    if event.actor_kind == "operator" and isinstance(person, str) and person == event.actor:
        own = event.event in _OWN
        return Told(person, "", approval) if own else Told(OPERATOR, person, approval)
    about = "" if event.tool or approval else names.get(event.grant, event.grant)
    who = names.get(event.actor, event.actor)
    return Told(who or (OPERATOR if event.actor_kind == "operator" else ""), about, approval)


def held_risk(event: Event) -> Risk | None:
    """The risk under which a call was held, as its row says it."""
    said = _data(event).get("risk") if event.event == "held" else None
    return next((risk for risk in RISKS if risk == said), None)


def _data(event: Event) -> Mapping[str, Any]:
    if event.data is None:
        return {}
    found = json.loads(event.data)
    return found if isinstance(found, dict) else {}
