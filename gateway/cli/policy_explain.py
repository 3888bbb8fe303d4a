"""`signoff policy explain`: the trace of one imagined call, with what the record knows of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, select

from approvals.digest import canonical
from approvals.headline import headline
from approvals.model import Call, Terms
from approvals.record.tables import CounterRow
from approvals.redact import masked
from gateway.cli import show
from gateway.cli.config import settings, trusted
from gateway.cli.policy import as_json
from gateway.cli.record import Record, exists, run
from gateway.enforcement.limits import Subject, window_start
from gateway.policy.explain import Trace
from gateway.policy.explain import explain as trace_of
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import redact_paths
from gateway.policy.limit import Charge, plain
from gateway.policy.rules import Policy
from gateway.policy.terms import at_risk
from gateway.policy.verdict import Hold

_COUNTER = CounterRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The trace, and what is left of the limits right now where the record can tell."""

    call: Call
    trace: Trace
    tool: ToolFacts
    known: bool  # the catalogue knows the tool
    left: Mapping[str, str]  # by the limit's pointer; empty without a record
    redact: tuple[str, ...] = ()  # paths that people do not see


@dataclass(frozen=True, slots=True)
class _Facts:
    grant: str
    label: str
    tool: ToolFacts
    known: bool


def explain(
    policy: Policy, *, server: str, tool: str, arguments: Mapping[str, Any], grant: str
) -> Explained:
    """Look up what the record knows of tool and grant, and judge the call without counting it."""
    facts = _Facts("", grant, ToolFacts(name=tool), known=False)
    recorded = exists(settings())
    if recorded:
        facts = run(lambda record: _known(record, server, tool, grant))
    call = Call(
        grant=facts.grant,
        grant_label=facts.label,
        server=server,
        tool=tool,
        arguments=canonical(arguments),
        tool_hash="",
    )
    trace = trace_of(
        policy, call, tool=facts.tool, grant=GrantFacts(label=facts.label), args=arguments
    )
    left: Mapping[str, str] = {}
    if recorded and trace.charges:
        left = run(lambda record: _left(record, call, trace.charges))
    redact = redact_paths(policy, server, tool)
    return Explained(
        call=call, trace=trace, tool=facts.tool, known=facts.known, left=left, redact=redact
    )


async def _known(record: Record, server: str, tool: str, grant: str) -> _Facts:
    from gateway.enforcement import grants
    from gateway.enforcement.catalogue import Catalogue

    catalogue = Catalogue(record.database)
    await catalogue.load()
    everyone = await record.database.read(grants.listing)
    named = [one for one in everyone if grant in (one.id, one.label)]
    found = catalogue.tool(server, tool)
    one = named[0] if len(named) == 1 else None
    return _Facts(
        grant=one.id if one else "",
        label=one.label if one else grant,
        tool=ToolFacts(name=tool) if found is None else found.facts(trusted(record.settings)),
        known=found is not None,
    )


async def _left(record: Record, call: Call, charges: tuple[Charge, ...]) -> dict[str, str]:
    """What each limit still has in its window; a grant's own only where the grant is known."""
    now = record.now()
    subject = Subject.of(call)

    def read(connection: Connection) -> dict[str, str]:
        found = {}
        for charge in charges:
            limit = charge.limit
            if limit.scope in ("grant", "session") and not call.grant:
                continue
            row = connection.execute(
                select(_COUNTER).where(_COUNTER.c.key == subject.key(limit))
            ).first()
            current = row is not None and row.window_start >= window_start(limit, now)
            used = Decimal(row.used) if row is not None and current else Decimal(0)
            found[limit.pointer] = plain(max(Decimal(0), limit.max - used))
        return found

    return await record.database.read(read)


def draw(found: Explained) -> None:
    """Print the verdict, then every rule in the order it was tried."""
    trace = found.trace
    ruling = trace.verdict.ruling
    where = f" on {found.call.server}" if found.call.server else ""
    print(f"{type(trace.verdict).__name__.lower()}   {show.line(found.call.tool + where)}")
    rows = [("rule", show.line(ruling.rule))]
    if ruling.reason:
        rows.append(("reason", show.line(ruling.reason)))
    if ruling.matched:
        rows.append(("matched", show.line(ruling.matched)))
    if isinstance(trace.verdict, Hold):
        terms = trace.verdict.terms
        who = ", ".join(terms.reviewers) or "any reviewer"
        rows.append(("approval", f"{terms.quorum} of {show.line(who)}, within {terms.expires} s"))
        rows.append(("reads", _sentence(found, terms)))
        rows.append(("risk", _risk(found, terms)))
    if trace.entries:
        rows.append(("entries", show.line(", ".join(trace.entries))))
    show.pairs(rows)
    print("tried, in order")
    for step in trace.steps:
        text = f": {show.line(step.text)}" if step.text else ""
        left = found.left.get(step.rule)
        if left is not None and step.kind == "limit":
            text += f"; {left} left now"
        print(f"  {step.outcome:<7} {step.kind:<8} {show.line(step.rule)}{text}")
        for condition in step.conditions:
            print(f"          {show.line(condition)}")
    if not trace.steps:
        print("  nothing: no rule speaks of this call")
    if not found.known:
        show.note("The catalogue does not know this tool: its annotations and risk count as unset.")


def _sentence(found: Explained, terms: Terms) -> str:
    """The call as people would read it, masked as it would be but for fingerprints."""
    shown = masked(found.call.arguments, found.redact, key=b"")
    return headline(found.call.tool, terms.summary, json.loads(shown)).text


def _risk(found: Explained, terms: Terms) -> str:
    """The risk the call would be held under, and where it comes from."""
    tool = found.tool.risk
    risk = at_risk(terms, tool).risk or ""
    if terms.risk_set:
        return f"{risk}, as the rule sets it" + (f"; the tool's class says {tool}" if tool else "")
    stated = f"the rule says {terms.risk}" if terms.risk else "the rule says nothing"
    return f"{risk}: the tool's class says {tool or 'nothing'}, {stated}"


def document(found: Explained) -> dict[str, Any]:
    """`signoff.explain/1`."""
    trace = found.trace
    held = trace.verdict if isinstance(trace.verdict, Hold) else None
    return {
        "server": found.call.server,
        "tool": found.call.tool,
        **as_json(trace.verdict),
        "policy_hash": trace.verdict.ruling.policy_hash,
        "known": found.known,
        "headline": _sentence(found, held.terms) if held is not None else None,
        "risk": at_risk(held.terms, found.tool.risk).risk if held is not None else None,
        "tool_risk": found.tool.risk,
        "entries": list(trace.entries),
        "steps": [
            {
                "rule": step.rule,
                "kind": step.kind,
                "outcome": step.outcome,
                "conditions": list(step.conditions),
                "text": step.text,
            }
            for step in trace.steps
        ],
        "limits": [
            {
                "rule": charge.limit.pointer,
                "counter": charge.limit.counter,
                "takes": plain(charge.amount),
                "max": plain(charge.limit.max),
                "window_seconds": charge.limit.window,
                "left": found.left.get(charge.limit.pointer),
            }
            for charge in trace.charges
        ],
    }
