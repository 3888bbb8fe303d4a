"""Every key of policy.json is read by someone: with it, some call goes otherwise.

The keys are taken from the schema that `signoff policy schema` prints, so a new one fails here
until it has an experiment; and an experiment fails when nothing reads its key. It compares what is
done (judged, counted, held, decided, run, announced) under two policies that differ in that key
alone, and never what is shown of the policy, nor the terms an approval merely carries.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from approvals import decide, queue
from approvals.detached import deserted
from approvals.digest import canonical, digest_of, sha256
from approvals.effects import EffectState
from approvals.headline import headline
from approvals.model import Approval, ArgumentEdit, Call, Choice, Client, Reviewer, Vote
from approvals.moves import effect_ended
from approvals.permission import may_review, refusal
from approvals.processes import enter
from approvals.record.database import Transaction
from approvals.reveal import reveal
from approvals.slack.api import SlackApi
from approvals.slack.config import SlackConfig
from approvals.slack.health import SlackHealth
from approvals.slack.notifier import SlackNotifier
from gateway.enforcement.recording import (
    Admission,
    Allowed,
    Held,
    RefusedByPolicy,
    Spent,
    Unasked,
    record_allowed,
    record_held,
)
from gateway.policy import vocabulary
from gateway.policy.document import load
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.judge import Allow, Deny, hidden, judge, redact_paths
from gateway.policy.rules import Policy
from gateway.policy.schema import schema
from tests.approvals.conftest import sqlite_record, sqlite_url  # noqa: F401 - fixtures
from tests.support.grant import agent_grant
from tests.support.record import START, Record

Document = dict[str, Any]
Part = Mapping[str, Any]

SILENT = {"$schema", "version", "description"}
"""The format's name, and what the schema itself says changes nothing."""

PEOPLE = tuple(Reviewer(id=name, role="approver", verified="session") for name in ("alice", "bob"))
ADMIN = Reviewer(id="root", role="admin", verified="session")
WHEN = [{"path": "args.a", "op": "gt", "value": 5}]
LIMIT = {"counter": "c", "window": "minute", "max": 1, "scope": "grant"}
HELD = {"require_approval": {"hold": "50s"}}


def document(tool: Part | None = None, **more: Any) -> Document:
    return {"version": "1", "default": "deny", "tools": {"t": tool or {}}, **more}


def held(**terms: Any) -> Document:
    return document({"require_approval": {"hold": "50s", **terms}})


def limited(**changed: Any) -> Document:
    both = {"limits": [{**LIMIT, **changed}]}
    return document(both, tools={"t": both, "u": {"limits": [LIMIT]}})


def condition(**changed: Any) -> Document:
    return document({"deny_if": [{"conditions": [{**WHEN[0], **changed}]}]})


EXPERIMENTS: Mapping[str, tuple[Document, Document]] = {
    "default": (document(default="allow"), document()),
    "hide": (document(hide=["t"]), document()),
    "reviewers": (held(reviewers=["alice"]), held()),
    "approval": (document(HELD, approval={"quorum": 2}), document(HELD)),
    "redact": (document({"redact": ["args.a"]}), document()),
    "all_tools": (document(all_tools={"deny_if": [{"conditions": WHEN}]}), document()),
    "tools": (document(), document(tools={})),
    "servers": (document(servers={"s": {"hide": ["t"]}}), document()),
    "members": (
        document(held(reviewers=["g"])["tools"]["t"], reviewers={"g": {"members": ["alice"]}}),
        document(held(reviewers=["g"])["tools"]["t"], reviewers={"g": {"members": ["bob"]}}),
    ),
    "channel": (held(channel="#money"), held()),
    "quorum": (held(quorum=2), held()),
    "expires": (held(expires="1h"), held()),
    "approval_timeout": (held(approval_timeout=60), held()),
    "hold": (held(hold="7s"), held()),
    "undo": (held(undo="2s"), held()),
    "use_within": (held(use_within="1m"), held()),
    "when_detached": (held(when_detached="execute"), held()),
    "editable": (held(editable=["args.a"]), held()),
    "reveal": (
        document({"redact": ["args.a"], "require_approval": {"hold": "50s", "reveal": "admin"}}),
        document({"redact": ["args.a"], "require_approval": {"hold": "50s"}}),
    ),
    "summary": (held(summary="Take {args.a}"), held()),
    "risk": (held(risk="critical"), held()),
    "set": (held(risk={"set": "low"}), held()),
    "not_owner": (held(not_owner=True), held()),
    "deny_memory": (held(deny_memory=0), held()),
    "allow_duplicates": (held(allow_duplicates=True), held()),
    "web_only": (held(web_only=True), held()),
    "limits": (limited(), document(tools={"t": {}, "u": {}})),
    "counter": (limited(), limited(counter="d")),
    "window": (limited(), limited(window="day", counter="d")),
    "max": (limited(), limited(max=2)),
    "scope": (limited(counter="d"), limited(counter="d", scope="session")),
    "increment_from": (limited(max=15), limited(max=15, increment_from="args.a")),
    "deny_if": (document({"deny_if": [{"conditions": WHEN}]}), document()),
    "require": (document({"require": [{"conditions": WHEN}]}), document()),
    "approve_if": (document({"approve_if": [{"conditions": WHEN}]}), document()),
    "require_approval": (document({"require_approval": True}), document()),
    "effect": (document({"effect": "e:{args.a}"}), document()),
    "effect_for": (
        document({"effect": "e:{args.a}", "effect_for": "1m"}),
        document({"effect": "e:{args.a}"}),
    ),
    "effect_again": (
        document({"effect": "e:{args.a}", "effect_again": "ask"}),
        document({"effect": "e:{args.a}"}),
    ),
    "conditions": (condition(), document({"deny_if": [{"conditions": []}]})),
    "path": (condition(), condition(path="args.b")),
    "op": (condition(), condition(op="lt")),
    "value": (condition(), condition(value=99)),
    "match": (
        condition(path="args.list[*]", match="every"),
        condition(path="args.list[*]", match="any"),
    ),
    "on_deny": (
        document({"deny_if": [{"conditions": WHEN, "on_deny": "So."}]}),
        document({"deny_if": [{"conditions": WHEN}]}),
    ),
    "reason": (held(reason="Because."), held()),
    "action": (document({"action": "deny"}), document()),
    "rate_limit": (document({"rate_limit": "1/minute"}), document()),
}


def keys() -> Iterator[str]:
    """Every key that some object of the schema may have."""
    left: list[Any] = [schema()]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if "if" in part:  # which value goes with which operator: no object of its own
                continue
            if isinstance(part.get("properties"), dict):
                yield from part["properties"]
                left += part["properties"].values()
            left += [value for name, value in part.items() if name not in ("properties", "enum")]
        elif isinstance(part, list):
            left += part


def test_every_key_of_the_schema_has_an_experiment_and_every_experiment_a_key() -> None:
    assert set(keys()) - SILENT == set(EXPERIMENTS)


def test_the_reader_knows_no_key_that_the_schema_does_not() -> None:
    read = {
        *vocabulary.POLICY,
        *vocabulary.SERVER,
        *vocabulary.TOOL,
        *vocabulary.GROUP,
        *vocabulary.CONDITION,
        *vocabulary.LIMIT,
        *vocabulary.DENY_RULE,
        *vocabulary.HOLD_RULE,
        *vocabulary.HOLD,
        *vocabulary.RATE_LIMIT,
    }
    assert read <= set(keys())


@pytest.mark.parametrize("key", sorted(EXPERIMENTS))
def test_some_call_goes_otherwise_with_the_key(sqlite_record: Record, key: str) -> None:  # noqa: F811
    one, other = (
        list(done(sqlite_record, load(json.dumps(document).encode()), f"{key}{number}"))
        for number, document in enumerate(EXPERIMENTS[key])
    )
    assert one != other


def done(record: Record, policy: Policy, grant: str) -> Iterator[Any]:
    """What happens to some calls of this grant under the policy, step by step."""
    record.write(lambda tx: enter(tx, f"gw_{grant}", name=grant, lease_ms=3_600_000))
    yield hidden(policy, "s", "t"), redact_paths(policy, "s", "t")
    for tool, session, seconds, args in (
        ("t", "1", 0, {"a": 10, "b": 1, "list": [3, 9]}),
        ("t", "1", 0, {"a": 10, "b": 1, "list": [3, 9]}),
        ("t", "2", 0, {"a": 1, "b": 9, "list": [7, 9]}),
        ("u", "1", 0, {"a": 2}),
        ("t", "1", 61, {"a": 10, "b": 1, "list": [3, 9]}),
    ):
        record.clock.pass_(seconds=seconds)
        found = admitted(record, policy, grant, tool, session, args)
        yield told(found)
        if isinstance(found, Held):
            again = admitted(record, policy, grant, tool, session, args)  # while it is waited for
            yield isinstance(again, Held) and again.approval.id == found.approval.id
            yield from decided(record, found)
        if isinstance(found, Allowed) and found.verdict.claim is not None:
            record.write(lambda tx, one=found: effect_ended(tx, one.call_id, EffectState.DONE))  # type: ignore[misc]


def admitted(
    record: Record,
    policy: Policy,
    grant: str,
    tool: str,
    session: str,
    args: Document,
) -> Allowed | Held | RefusedByPolicy | Spent | Unasked | str:
    call = Call(
        grant=grant, grant_label="agent", server="s", tool=tool, arguments=canonical(args),
        tool_hash="t", client=Client("x", "1"), session=session,
    )  # fmt: skip
    facts = ToolFacts(name=tool, risk="medium")
    verdict = judge(policy, call, tool=facts, grant=GrantFacts(label="agent"), args=args)
    if isinstance(verdict, Deny):
        return verdict.ruling.reason
    admission = Admission(
        call=call, redact=redact_paths(policy, "s", tool), masked=call.arguments.decode(),
        digest=digest_of(call),
        arguments_digest=sha256(call.arguments), max_pending=50,
        grant=agent_grant(id=grant, owner="alice", created_at=START),
        tool_risk="medium", hold=50, process=f"gw_{grant}", follow=None, retried=None,
        call_id=f"call_{grant}{record.clock.now()}{session}{tool}", told=True, max_withdrawn=50,
    )  # fmt: skip
    if isinstance(verdict, Allow):
        return record.write(lambda tx: record_allowed(admission, verdict, policy, tx))
    return record.write(lambda tx: record_held(admission, verdict, tx))


def told(found: Any) -> Any:
    match found:
        case Held(approval, hold):
            return "held", hold, approval.ruling.reason, approval.attempts
        case RefusedByPolicy(refusal_):
            return "refused", refusal_.meta["verdict"], refusal_.meta.get("status")
        case Allowed():
            return "allowed"
    return found


def decided(record: Record, found: Held) -> Iterator[Any]:
    """What reviewers may do with a held call, and what comes of it. No one waits for it then."""
    record.write(lambda tx: queue.detach(tx, found.approval.id))
    one, now = record.now_is(found.approval.id), record.clock.now()
    yield one.expires_at - now, one.risk, announced(record, one)
    yield headline(one.call.tool, one.terms.summary, json.loads(one.masked)).text
    yield type(record.write(lambda tx: reveal(tx, one.id, reviewer=ADMIN, via="page")))
    for person in PEOPLE:
        grant = one.call.grant
        yield refusal(one.terms, person, grant=grant, owner="alice", approving=True)
        yield record.read(
            lambda connection, who=person: may_review(  # type: ignore[misc]
                connection, one, who, approving=True, via="slack"
            )
        )
    edit = ArgumentEdit(
        revision=one.revision, reviewer=PEOPLE[0], arguments=canonical({"a": 6}), via="page"
    )
    edited = record.write(
        lambda tx: decide.edit(tx, one.id, edit, judge_again=lambda *_: "not now")
    )
    yield str(getattr(edited, "why", type(edited).__name__))
    for person in PEOPLE:
        vote = Vote(revision=one.revision, reviewer=person, choice=Choice.APPROVE, via="page")
        yield type(record.write(lambda tx, v=vote: decide.decide(tx, one.id, v)))  # type: ignore[misc]
    stands = record.now_is(one.id)
    yield (stands.use_by or 0) - now
    yield len(record.read(lambda connection: deserted(connection, record.clock.now())))
    queue_of = record.write(lambda tx: denied_once(tx, one))
    yield queue_of


def denied_once(tx: Transaction, one: Approval) -> bool:
    """Whether a denial of such a call is remembered."""
    call = Call(
        grant=f"{one.call.grant}-denied", grant_label="", server="s", tool="t",
        arguments=canonical({"at": tx.now}), tool_hash="t",
    )  # fmt: skip
    other = queue.open_approval(tx, call=call, ruling=one.ruling, terms=one.terms)
    vote = Vote(revision=1, reviewer=PEOPLE[1], choice=Choice.DENY, reason="No.", via="page")
    if type(decide.decide(tx, other.id, vote)).__name__ != "Moved":
        return False
    return queue.remembered_denial(tx, other.asked, tx.now) is not None


def announced(record: Record, approval: Approval) -> tuple[str, ...]:
    """Where Slack announces it."""
    config = SlackConfig(
        bot_token="xoxb-1", app_token="xapp-1", channel="#usual", public_url="http://127.0.0.1:1"
    )
    nobody = cast("SlackApi", None)  # nothing is sent
    notifier = SlackNotifier(
        config, nobody, database=record.database, clock=record.clock, health=SlackHealth()
    )
    return notifier._targets(approval, PEOPLE)  # noqa: SLF001 - the one place that says so
