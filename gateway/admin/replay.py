"""Judged calls of the history as a backtest takes them: what is known of each, what is lost.

The history keeps arguments masked. A call is replayed with its masked arguments only where the new
policy reads none of the masked values; what it cannot know (the client's name, the session) is
never guessed. Reads only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from approvals.model import Call, HistoryRow, Millis
from approvals.record.history import HISTORY, Far, HistoryQuery, head, matching, row_of, walk
from gateway.enforcement import grants
from gateway.enforcement.catalogue import Catalogue
from gateway.policy.backtest import Past, Was
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import plan_of
from gateway.policy.limit import Step
from gateway.policy.paths import Path
from gateway.policy.rules import Plan, Policy

_MASK = re.compile(r"\[redacted, (\d+ chars|[a-z]+), fp [0-9a-f]{8}\]")
_UNKNOWN = ("client.name", "session.calls")
_WAS: Mapping[str, Was] = {"allowed": "allow", "denied": "deny", "held": "hold", "limited": "allow"}

_NO_PLACE = ("max_pending", "max_withdrawn")
_EFFECT = ("effect_taken", "effect_done")

At = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """Turns rows of the history into past calls, for one new policy."""

    policy: Policy
    catalogue: Catalogue
    labels: Mapping[str, str]  # of grants, by id
    trusted: frozenset[str]  # servers whose annotations may loosen rules

    def past(self, row: HistoryRow) -> Past | None:
        """The call; None for rows that no policy judged."""
        event = row.event
        was = _WAS.get(event.event)
        if was is None or event.actor_kind != "agent" or event.rule == "(frozen)":
            return None
        if event.outcome in _NO_PLACE:  # held, had there been room to wait
            was = "hold"
        elif event.outcome in _EFFECT:  # what another call does or did; what the rules said is told
            said = json.loads(event.data or "{}").get("was")
            was = "hold" if said == "hold" else "allow"
        label = self.labels.get(event.grant, event.actor)
        call = Call(
            grant=event.grant,
            grant_label=label,
            server=event.server,
            tool=event.tool,
            arguments=b"",
            tool_hash="",
        )
        known = self.catalogue.tool(event.server, event.tool)
        facts = ToolFacts(name=event.tool)
        if known is not None:  # what a server changed since is no matter of the policy's
            facts = replace(known.facts(self.trusted), quarantined=False)
        return Past(
            seq=row.seq,
            call=call,
            was=was,
            args=self._arguments(event.server, event.tool, event.arguments),
            tool=facts,
            grant=GrantFacts(label=label),
        )

    def _arguments(self, server: str, tool: str, stored: str | None) -> Mapping[str, Any] | None:
        """The arguments if the policy reads nothing of them that is masked, else None."""
        if stored is None:
            return None
        args = json.loads(stored)
        if not isinstance(args, dict):
            return None
        plan = plan_of(self.policy, server, tool)
        reads = tuple(_reads(plan))
        if any(path.root in _UNKNOWN for path in reads):
            return None
        masked = tuple(_masked(args))
        wanted = [path.steps for path in reads if path.root == "args"]
        wanted += [limit.increment_from for limit in plan.limits if limit.increment_from]
        if any(_touch(steps, at) for steps in wanted for at in masked):
            return None
        return args


def labels(connection: Connection) -> dict[str, str]:
    """The label of every grant there ever was, by id."""
    return {grant.id: grant.label for grant in grants.listing(connection)}


def rows_since(
    connection: Connection,
    since: Millis,
    *,
    latest: int | None = None,
    far: Far | None = None,
) -> Iterator[HistoryRow]:
    """Every row from then on, oldest first, in flat memory; of the `latest` ones only."""
    query = HistoryQuery(since=since)
    if latest is None:
        return (row_of(row) for row in matching(connection, query, far=far))
    start = max(1, head(connection).seq - latest + 1)
    return (
        row_of(row)
        for row in walk(connection, start=start, where=(HISTORY.c.at >= since,), far=far)
    )


def _reads(plan: Plan) -> Iterator[Path]:
    """Every path whose value can change the verdict."""
    for rule in (*plan.deny_if, *plan.require, *plan.holds):
        for condition in rule.conditions:
            yield condition.path
    if plan.effect is not None:
        for part in plan.effect.parts:
            if not isinstance(part, str):
                yield part


def _masked(value: Any, at: At = ()) -> Iterator[At]:
    """Where the masked values are. A masked key hides what is at its whole object."""
    if isinstance(value, dict):
        for key, member in value.items():
            if _MASK.fullmatch(key):
                yield at
            yield from _masked(member, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _masked(item, (*at, index))
    elif isinstance(value, str) and _MASK.fullmatch(value):
        yield at


def _touch(steps: tuple[Step, ...], at: At) -> bool:
    """Whether the path leads to the place, into it, or to something that holds it."""
    return all(
        step == found or (step is None and isinstance(found, int))
        for step, found in zip(steps, at, strict=False)
    )
