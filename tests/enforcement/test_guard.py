"""The guard's steps of a call, on a real record and without processes or servers.

The steps are those of gateway/README.md: judge, record, hold, claim, finish. What is sent is up to
the relay; here a call counts as sent when the guard lets go of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from approvals import processes
from approvals.decide import decide
from approvals.digest import canonical, digest_of, sha256
from approvals.execution import RunEnd
from approvals.model import (
    Approval,
    Call,
    Choice,
    Event,
    Execution,
    Moved,
    Reviewer,
    State,
    Vote,
)
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.record.history import HistoryQuery, search
from approvals.rows import load
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes, Kind, freeze, thaw
from gateway.enforcement.guard import Guard
from gateway.enforcement.policy_file import PolicyFile
from gateway.enforcement.recording import Allowed, Held, RefusedByPolicy, Spent, Unasked
from gateway.enforcement.runs import ClaimLost, Run
from tests.support.grant import agent_grant
from tests.support.record import KEYS, HandClock
from tests.support.scratch_record import lay_sqlite

pytestmark = pytest.mark.anyio

ALICE = Reviewer(id="alice", role="approver", verified="session")
BOB = Reviewer(id="bob", role="approver", verified="session")
GRANT = agent_grant(id="grt_a")
TOOLS = ("read", "denied", "secret", "few", "pay", "charge", "order", "pair")
POLICY: dict[str, Any] = {
    "version": "1",
    "default": "deny",
    "hide": ["secret"],
    "tools": {
        "read": {},
        "denied": {"action": "deny", "reason": "Not for agents."},
        "few": {"limits": [{"counter": "few", "max": 1, "window": "hour", "scope": "grant"}]},
        "pay": {
            "require_approval": {"reason": "Payments need a person.", "hold": 20},
            "limits": [{"counter": "pays", "max": 1, "window": "hour", "scope": "grant"}],
        },
        "pair": {"require_approval": {"reason": "Two people.", "quorum": 2}},
        "charge": {"require_approval": True, "effect": "charge:{args.order}"},
        "order": {"effect": "order:{args.order}"},
    },
}


def definition(tool: str, description: str = "As it was.") -> dict[str, Any]:
    return {"name": tool, "description": description, "inputSchema": {"type": "object"}}


@dataclass(frozen=True)
class Post:
    """A guard with everything it asks, and what an agent, reviewers and an operator do to it."""

    guard: Guard
    database: Database
    clock: HandClock
    policies: PolicyFile
    catalogue: Catalogue
    freezes: Freezes
    folder: Path

    def call(self, tool: str, **arguments: Any) -> Call:
        pinned = self.catalogue.tool("srv", tool)
        return Call(
            grant=GRANT.id,
            grant_label=GRANT.label,
            server="srv",
            tool=tool,
            arguments=canonical(arguments),
            tool_hash=pinned.call_hash if pinned is not None else "",
        )

    async def admit(
        self, tool: str, **arguments: Any
    ) -> Allowed | Held | RefusedByPolicy | Spent | Unasked:
        return await self.guard.admit(self.call(tool, **arguments), arguments, grant=GRANT)

    async def allowed(self, tool: str, **arguments: Any) -> Allowed:
        ruled = await self.admit(tool, **arguments)
        assert isinstance(ruled, Allowed), ruled
        return ruled

    async def held(self, tool: str, **arguments: Any) -> Approval:
        ruled = await self.admit(tool, **arguments)
        assert isinstance(ruled, Held), ruled
        return ruled.approval

    async def refused(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What machines are told of the refusal."""
        ruled = await self.admit(tool, **arguments)
        assert isinstance(ruled, RefusedByPolicy), ruled
        return ruled.refusal.meta

    async def vote(
        self, approval: Approval, by: Reviewer = ALICE, choice: Choice = Choice.APPROVE
    ) -> Any:
        vote = Vote(
            revision=approval.revision, reviewer=by, choice=choice, reason="So.", via="page"
        )
        return await self.database.journal.write(lambda tx: decide(tx, approval.id, vote))

    async def approved(self, tool: str, **arguments: Any) -> Approval:
        decided = await self.vote(await self.held(tool, **arguments))
        assert isinstance(decided, Moved), decided
        return decided.approval

    async def run(self, approval: Approval) -> Run:
        claimed = await self.guard.claim(approval.id)
        assert isinstance(claimed, Run), claimed
        return claimed

    async def finish(self, run: Run, execution: Execution) -> Approval:
        body = None if execution in (Execution.NOT_EXECUTED, Execution.OUTCOME_UNKNOWN) else b"{}"
        digest = "" if body is None else sha256(body)
        end = RunEnd(execution, result=body, result_digest=digest, latency_ms=1)
        recorded = await self.guard.finish(run, end)
        self.guard.let_go(run)
        return recorded

    async def settle_policy(self, change: dict[str, Any]) -> None:
        """Another policy.json is in force, and what waits was judged by it."""
        rules = {**POLICY, "tools": {**POLICY["tools"], **change}}
        (self.folder / "policy.json").write_text(json.dumps(rules), encoding="utf-8")
        assert self.policies.reload()

    async def freeze(self, kind: Kind, name: str = "") -> None:
        await self.database.journal.write(lambda tx: freeze(tx, kind, name, by="alice"))
        await self.freezes.load()

    async def thaw(self, kind: Kind, name: str = "") -> None:
        await self.database.journal.write(lambda tx: thaw(tx, kind, name, by="alice"))
        await self.freezes.load()

    async def now(self, approval: Approval) -> Approval:
        found = await self.database.read(lambda connection: load(connection, approval.id))
        assert found is not None
        return found

    async def history(self) -> list[Event]:
        """Every row about calls, oldest first, once what was posted is written."""
        await self.database.journal.write(lambda _tx: None)
        page = self.database.read_now(lambda connection: search(connection, HistoryQuery()))
        return [row.event for row in reversed(page.rows) if row.event.event != "tool_pinned"]

    async def events(self) -> list[str]:
        return [one.event for one in await self.history()]

    async def break_the_record(self) -> None:
        """The next write cannot be committed."""

        def turn(tx: Transaction) -> None:
            tx.connection.exec_driver_sql("PRAGMA query_only = ON")

        await self.database.journal.write(turn)


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    clock = HandClock()
    database = Database.open(lay_sqlite(tmp_path / "signoff.db"), key=KEYS, clock=clock)
    await database.journal.write(
        lambda tx: processes.enter(tx, "gw1", name="gw", lease_ms=86_400_000)
    )
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY), encoding="utf-8")
    policies, catalogue = PolicyFile(file, clock), Catalogue(database)
    freezes = Freezes(database)
    await catalogue.observe("srv", [definition(one) for one in TOOLS], complete=True)
    guard = Guard(
        database=database,
        policies=policies,
        catalogue=catalogue,
        freezes=freezes,
        trusted=frozenset(),
        default_hold=50,
        max_pending=3,
        lease_seconds=30,
        process="gw1",
    )
    yield Post(guard, database, clock, policies, catalogue, freezes, tmp_path)
    database.close_now()


# Steps 3 to 5: judged, recorded, refused.


async def test_an_allowed_call_is_on_record_before_the_guard_answers(post: Post) -> None:
    allowed = await post.allowed("read", path="a")
    (row,) = await post.history()
    assert (row.event, row.verdict, row.call_id) == ("allowed", "allow", allowed.call_id)
    assert row.presented_digest == digest_of(post.call("read", path="a"))


async def test_the_end_of_an_allowed_call_is_tied_to_its_verdict(post: Post) -> None:
    allowed = await post.allowed("read")
    post.guard.passed(allowed, Execution.SUCCEEDED, "d" * 64, 12)
    verdict, end = await post.history()
    assert (end.event, end.call_id) == ("succeeded", verdict.call_id)
    assert (end.result_digest, end.latency_ms) == ("d" * 64, 12)


async def test_a_denied_call_is_told_its_rule_and_recorded(post: Post) -> None:
    meta = await post.refused("denied")
    assert (meta["verdict"], meta["reason"]) == ("deny", "Not for agents.")
    (row,) = await post.history()
    assert (row.event, row.rule) == ("denied", meta["rule"])


async def test_a_call_that_no_rule_names_is_denied(post: Post) -> None:
    assert (await post.refused("nowhere"))["rule"] == "(default deny)"


async def test_a_hidden_tool_is_in_no_list_and_refused_if_called(post: Post) -> None:
    assert post.guard.rules.hidden("srv", "secret")
    assert not post.guard.rules.hidden("srv", "read")
    assert (await post.refused("secret"))["rule"] == "(hidden)"


async def test_a_tool_called_like_the_gateways_own_is_hidden_whatever_the_policy_says(
    post: Post,
) -> None:
    await post.settle_policy({"Signoff-Await_Approval": {}})
    assert post.guard.rules.hidden("srv", "Signoff-Await_Approval")


async def test_a_call_over_a_limit_is_refused_until_the_window_ends(post: Post) -> None:
    await post.allowed("few", n=1)
    meta = await post.refused("few", n=2)
    assert meta["verdict"] == "limited"
    post.clock.pass_(seconds=meta["retry_after_seconds"])
    await post.allowed("few", n=2)
    assert await post.events() == ["allowed", "limited", "allowed"]


async def test_an_allowed_call_that_was_not_sent_gives_its_place_back(post: Post) -> None:
    first = await post.allowed("few", n=1)
    post.guard.passed(first, Execution.NOT_EXECUTED, "", 0)
    await post.allowed("few", n=2)


# Steps 6 and 7: held, waited for.


async def test_a_held_call_is_a_row_with_its_sealed_bytes_and_its_history(post: Post) -> None:
    ruled = await post.admit("pay", amount=5)
    assert isinstance(ruled, Held)
    assert ruled.hold == 20
    found = await post.database.read(
        lambda connection: load(connection, ruled.approval.id, keys=KEYS)
    )
    assert found is not None
    assert (found.state, found.call.arguments) == (State.PENDING, b'{"amount":5}')
    assert (found.attached_to, await post.events()) == ("gw1", ["held"])


async def test_an_identical_call_attaches_to_the_row_of_the_first(post: Post) -> None:
    first = await post.held("pay", amount=5)
    again = await post.held("pay", amount=5)
    other = await post.held("pay", amount=6)
    assert (again.id, again.attempts) == (first.id, 2)
    assert other.id != first.id
    assert await post.events() == ["held", "attached", "held"]


async def test_an_agent_that_left_is_no_longer_waited_for_until_it_comes_back(post: Post) -> None:
    held = await post.held("pay", amount=5)
    await post.guard.left(held.id)
    now = post.clock.now()
    assert ((await post.now(held)).attached_until or 0) <= now
    back = await post.held("pay", amount=5)
    assert back.id == held.id
    assert (back.attached_until or 0) > now


async def test_no_more_calls_wait_for_people_than_a_grant_may_have(post: Post) -> None:
    for n in range(3):
        await post.held("pay", n=n)
    meta = await post.refused("pay", n=3)
    assert meta["verdict"] == "limited"
    assert (await post.history())[-1].outcome == "max_pending"


async def test_a_denial_is_remembered_for_the_identical_call_alone(post: Post) -> None:
    held = await post.held("pay", amount=5)
    await post.vote(held, choice=Choice.DENY)
    assert (await post.refused("pay", amount=5))["approval_id"] == held.id
    await post.held("pay", amount=6)
    post.clock.pass_(seconds=601)
    assert (await post.held("pay", amount=5)).id != held.id


# Step 8: claimed.


async def test_nothing_is_claimed_before_enough_people_approved(post: Post) -> None:
    held = await post.held("pair")
    assert isinstance(await post.guard.claim(held.id), ClaimLost)
    await post.vote(held)
    assert isinstance(await post.guard.claim(held.id), ClaimLost)
    await post.vote(held, by=BOB)
    run = await post.run(held)
    assert run.approval.call.arguments == b"{}"


async def test_of_many_who_claim_at_once_one_runs(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    claims = await asyncio.gather(*(post.guard.claim(approved.id) for _ in range(8)))
    assert sum(isinstance(one, Run) for one in claims) == 1
    assert sum(isinstance(one, ClaimLost) for one in claims) == 7
    assert (await post.events()).count("claimed") == 1


async def test_a_finished_run_is_never_claimed_again(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    await post.finish(await post.run(approved), Execution.SUCCEEDED)
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    stored = await post.guard.stored_result(approved.id, attached_at=post.clock.now())
    assert stored == b"{}"


async def test_a_run_that_was_not_sent_may_be_claimed_again_and_counts_once(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    await post.finish(await post.run(approved), Execution.NOT_EXECUTED)
    again = await post.run(approved)  # its limit allows one an hour
    assert (await post.finish(again, Execution.SUCCEEDED)).execution is Execution.SUCCEEDED


async def test_a_full_limit_leaves_the_permit_standing(post: Post) -> None:
    first, second = await post.approved("pay", n=1), await post.approved("pay", n=2)
    await post.run(first)
    refused = await post.guard.claim(second.id)
    assert isinstance(refused, RefusedByPolicy)
    assert refused.refusal.meta["verdict"] == "limited"
    stands = await post.now(second)
    assert (stands.state, stands.execution) == (State.APPROVED, Execution.NONE)
    assert "superseded" not in await post.events()


async def test_what_the_policy_denies_between_decision_and_claim_is_superseded(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    await post.settle_policy({"pay": {"action": "deny", "reason": "Not any more."}})
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    ended = await post.now(approved)
    assert (ended.state, ended.reason) == (State.SUPERSEDED, "Not any more.")
    assert "claimed" not in await post.events()


async def test_a_changed_policy_supersedes_what_still_waits_for_people(post: Post) -> None:
    held, kept = await post.held("pay", amount=5), await post.held("pair")
    await post.settle_policy({"pay": {"action": "deny", "reason": "Not any more."}})
    await post.guard.policy_changed()
    assert (await post.now(held)).state is State.SUPERSEDED
    assert (await post.now(kept)).state is State.PENDING


async def test_another_effect_by_the_policy_than_the_card_said_is_superseded(post: Post) -> None:
    approved = await post.approved("charge", order=1)
    other = {"require_approval": True, "effect": "refund:{args.order}"}
    await post.settle_policy({"charge": other})
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    assert (await post.now(approved)).state is State.SUPERSEDED


async def test_a_permit_that_was_not_used_in_time_is_not_claimed(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    post.clock.pass_(seconds=approved.terms.use_within)
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    assert (await post.now(approved)).state is State.EXPIRED


async def test_a_run_whose_lease_ran_out_is_unknown_and_stays_so(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    run = await post.run(approved)
    post.clock.pass_(seconds=31)
    await post.database.journal.write(post.guard.recover)
    late = await post.finish(run, Execution.SUCCEEDED)
    assert late.execution is Execution.OUTCOME_UNKNOWN
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)


async def test_a_run_this_process_is_sending_keeps_its_lease(post: Post) -> None:
    run = await post.run(await post.approved("pay", amount=5))
    post.clock.pass_(seconds=29)
    await post.database.journal.write(post.guard.renew)
    post.clock.pass_(seconds=29)
    await post.database.journal.write(post.guard.recover)
    assert (await post.finish(run, Execution.SUCCEEDED)).execution is Execution.SUCCEEDED


# What is stopped: frozen, quarantined, unpinned.


@pytest.mark.parametrize(
    ("kind", "name"), [("everything", ""), ("server", "srv"), ("grant", "grt_a")]
)
async def test_what_is_frozen_is_refused_until_it_is_thawed(
    post: Post, kind: Kind, name: str
) -> None:
    await post.freeze(kind, name)
    assert (await post.refused("read"))["rule"] == "(frozen)"
    assert (await post.refused("pay", amount=5))["rule"] == "(frozen)"
    await post.thaw(kind, name)
    await post.allowed("read")


async def test_a_freeze_of_another_server_or_grant_stops_nothing_here(post: Post) -> None:
    await post.freeze("server", "other")
    await post.freeze("grant", "grt_b")
    await post.allowed("read")


async def test_a_freeze_between_decision_and_claim_is_a_pause_and_no_judgement(
    post: Post,
) -> None:
    approved = await post.approved("pay", amount=5)
    await post.freeze("everything")
    refused = await post.guard.claim(approved.id)
    assert isinstance(refused, RefusedByPolicy)
    assert refused.refusal.meta["rule"] == "(frozen)"
    await post.guard.policy_changed()  # nor does a look at the rules end it
    assert (await post.now(approved)).state is State.APPROVED
    await post.thaw("everything")
    await post.run(approved)


async def test_a_changed_definition_is_refused_until_it_is_accepted(post: Post) -> None:
    await post.catalogue.observe("srv", [definition("read", "Sends it all.")], complete=False)
    assert (await post.refused("read"))["rule"] == "(quarantined)"
    tool = post.catalogue.tool("srv", "read")
    assert tool is not None
    await post.catalogue.accept("srv", {tool.subject: tool.seen_hash}, by="alice")
    await post.allowed("read")


async def test_a_definition_that_changed_after_the_decision_does_not_run(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    await post.catalogue.observe("srv", [definition("pay", "Pays twice.")], complete=False)
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    assert (await post.now(approved)).state is State.SUPERSEDED


async def test_a_call_held_of_a_tool_no_one_had_listed_does_not_run_once_it_is_pinned(
    post: Post,
) -> None:
    await post.settle_policy({"unseen": {"require_approval": True}})
    approved = await post.approved("unseen")
    assert approved.call.tool_hash == ""
    await post.catalogue.observe("srv", [definition("unseen")], complete=False)
    assert isinstance(await post.guard.claim(approved.id), ClaimLost)
    assert (await post.now(approved)).reason == "The definition of the tool changed."


# Effects: done once.


async def test_an_effect_that_is_being_caused_is_refused_to_a_second_call(post: Post) -> None:
    first = await post.allowed("order", order=1, note="a")
    meta = await post.refused("order", order=1, note="b")
    assert (meta["status"], meta["holder"]) == ("effect_taken", first.call_id)
    await post.allowed("order", order=2)


async def test_an_effect_that_was_caused_is_refused_for_good(post: Post) -> None:
    first = await post.allowed("order", order=1, note="a")
    post.guard.passed(first, Execution.SUCCEEDED, "", 1)
    await post.database.journal.write(lambda _tx: None)
    meta = await post.refused("order", order=1, note="b")
    assert (meta["status"], meta["holder"]) == ("effect_done", first.call_id)


@pytest.mark.parametrize("end", [Execution.NOT_EXECUTED, Execution.TOOL_ERROR])
async def test_an_effect_that_was_not_caused_is_free_again(post: Post, end: Execution) -> None:
    first = await post.allowed("order", order=1, note="a")
    post.guard.passed(first, end, "", 1)
    await post.database.journal.write(lambda _tx: None)
    await post.allowed("order", order=1, note="b")


async def test_an_effect_that_may_have_been_caused_needs_a_person(post: Post) -> None:
    first = await post.allowed("order", order=1, note="a")
    post.guard.passed(first, Execution.OUTCOME_UNKNOWN, "", 1)
    await post.database.journal.write(lambda _tx: None)
    held = await post.held("order", order=1, note="b")
    assert held.effect_after == f"unknown:{first.call_id}"
    assert first.call_id in held.ruling.reason
    await post.vote(held)
    await post.run(held)  # approved by a person who was shown it


async def test_what_a_process_that_is_gone_was_causing_needs_a_person(post: Post) -> None:
    first = await post.allowed("order", order=1, note="a")
    await post.database.journal.write(lambda tx: processes.leave(tx, "gw1"))
    held = await post.held("order", order=1, note="b")
    assert held.effect_after == f"unknown:{first.call_id}"


async def test_of_two_approved_calls_with_one_effect_the_second_waits_and_then_ends(
    post: Post,
) -> None:
    first = await post.approved("charge", order=1, note="a")
    second = await post.approved("charge", order=1, note="b")
    run = await post.run(first)
    waits = await post.guard.claim(second.id)
    assert isinstance(waits, RefusedByPolicy)
    assert first.id in waits.refusal.text
    assert (await post.now(second)).state is State.APPROVED
    await post.finish(run, Execution.SUCCEEDED)
    assert (await post.now(second)).state is State.SUPERSEDED
    assert isinstance(await post.guard.claim(second.id), ClaimLost)


# Whatever cannot be recorded is not sent.


@pytest.mark.parametrize("tool", ["read", "denied", "few", "pay", "order"])
async def test_a_verdict_that_cannot_be_recorded_is_no_verdict(post: Post, tool: str) -> None:
    await post.break_the_record()
    with pytest.raises(RecordUnavailable):
        await post.admit(tool, order=1)
    assert await post.events() == []


async def test_a_claim_that_cannot_be_recorded_runs_nothing_and_spends_nothing(
    post: Post,
) -> None:
    approved = await post.approved("pay", amount=5)
    await post.break_the_record()
    with pytest.raises(RecordUnavailable):
        await post.guard.claim(approved.id)
    assert (await post.now(approved)).execution is Execution.NONE
    await post.run(approved)  # its limit allows one an hour: nothing was taken


async def test_an_effect_whose_verdict_was_not_recorded_is_free(post: Post) -> None:
    await post.break_the_record()
    with pytest.raises(RecordUnavailable):
        await post.admit("order", order=1)
    await post.allowed("order", order=1)


async def test_an_outcome_that_cannot_be_recorded_becomes_unknown(post: Post) -> None:
    approved = await post.approved("pay", amount=5)
    run = await post.run(approved)
    await post.break_the_record()
    with pytest.raises(RecordUnavailable):
        await post.finish(run, Execution.SUCCEEDED)
    post.guard.let_go(run)
    post.clock.pass_(seconds=31)
    await post.database.journal.write(post.guard.renew)
    await post.database.journal.write(post.guard.recover)
    assert (await post.now(approved)).execution is Execution.OUTCOME_UNKNOWN
