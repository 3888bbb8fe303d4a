"""Waiting for a decision in place: what the agent is told, and what runs, whatever happens to the
call, the agent or the gateway meanwhile. In one process, on a real guard and record.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from approvals.digest import canonical
from approvals.model import Approval, Call, Choice, Client, Execution, Moved, State
from approvals.record.database import Database
from approvals.service import Approvals
from approvals.wakeup import Wakeup
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grants
from gateway.enforcement.guard import Guard
from gateway.enforcement.policy_file import PolicyFile
from gateway.enforcement.recording import Held
from gateway.enforcement.refusal_texts import META_KEY
from gateway.protocol.jsonrpc import Message, tool_call
from gateway.protocol.message import MODERN_VERSIONS, VERSION_KEY
from gateway.protocol.request_state import RequestStates
from gateway.relay.agents.request import AgentRequest, Backend, Caller
from gateway.relay.agents.sessions import Session
from gateway.relay.methods.client_timeouts import ClientTimeouts
from gateway.relay.methods.execution import Executions
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.pinned_lists import PinnedLists
from gateway.relay.methods.questions import Questions
from gateway.relay.methods.tool_listing import ToolListing
from tests.methods.scripted import Connection, ScriptedUpstream
from tests.support.grant import agent_grant
from tests.support.patience import PATIENCE
from tests.support.record import ALICE, KEYS, HandClock, vote
from tests.support.scratch_record import lay_sqlite

POLICY = {"version": "1", "default": "deny"}
GRANT = agent_grant(label="claude-code")
SESSION = Session(id="s1", mark="s1", client=Client("claude-code", "2.1"), protocol="2025-11-25")


@dataclass(frozen=True, slots=True)
class Waiting:
    """One request for the call, under way."""

    approval: Approval
    connection: Connection
    incoming: AgentRequest
    task: asyncio.Task[None]

    async def over(self) -> None:
        """Until the gateway is done with the request."""
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def told(self) -> dict[str, Any]:
        """The one response to it."""
        await self.over()
        (response,) = self.connection.responses()
        return response


@dataclass(frozen=True, slots=True)
class Scene:
    """An agent, a server with one tool that a person must allow, and the gateway between them."""

    database: Database
    clock: HandClock
    approvals: Approvals
    guard: Guard
    holding: Holding
    caller: Caller
    server: ScriptedUpstream
    tool_hash: str

    async def ask(
        self, rpc_id: int, *, hold: float = PATIENCE, session: Session | None = None
    ) -> Waiting:
        """The agent makes its call: the very same each time, under an id of its own."""
        caller = self.caller
        if session is not None:
            caller = replace(caller, modern=False, revision=session.protocol, session=session)
        arguments = {"amount": 1200}
        meta = {**caller.envelope, "progressToken": rpc_id}
        params = {"name": "refund", "arguments": arguments, "_meta": meta}
        connection = Connection()
        incoming = AgentRequest(
            caller=caller,
            message=Message("request", rpc_id, "tools/call", params),
            receive=connection.receive,
            send=connection.send,
        )
        recorded = Call(
            grant=GRANT.id,
            grant_label=GRANT.label,
            server="payments",
            tool="refund",
            arguments=canonical(arguments),
            tool_hash=self.tool_hash,
            client=caller.client,
        )
        ruled = await self.guard.admit(recorded, arguments, grant=GRANT)
        assert isinstance(ruled, Held)
        work = self.holding.hold(incoming, tool_call(incoming.message), ruled.approval, hold)
        task = asyncio.create_task(work, name=f"request {rpc_id}")
        return Waiting(ruled.approval, connection, incoming, task)

    async def waiting(self, rpc_id: int, *, session: Session | None = None) -> Waiting:
        """The same, once the agent waits for the decision."""
        asked = await self.ask(rpc_id, session=session)
        async with asyncio.timeout(PATIENCE):
            await asked.connection.noted.wait()
        return asked

    async def decide(self, approval: Approval, choice: Choice) -> None:
        await self.database.journal.write(lambda tx: vote(tx, approval, ALICE, choice))

    async def row(self, approval: Approval) -> Approval:
        """The call as it stands on record, once what was posted is written."""
        await self.database.journal.write(lambda _: None)
        found = await self.approvals.get(approval.id)
        assert found is not None
        return found

    def attached(self, row: Approval) -> bool:
        """Whether an agent waits for the call in place, for all the record knows."""
        return row.attached_until is not None and row.attached_until > self.clock.now()


@pytest.fixture
def rule(request: pytest.FixtureRequest) -> Any:
    """What the policy says of the tool."""
    return getattr(request, "param", True)


@pytest.fixture
async def scene(tmp_path: Path, rule: Any) -> AsyncIterator[Scene]:
    file = tmp_path / "policy.json"
    policy = {**POLICY, "tools": {"refund": {"require_approval": rule}}}
    file.write_text(json.dumps(policy), encoding="utf-8")
    clock = HandClock()
    database = Database.open(lay_sqlite(tmp_path / "signoff.db"), key=KEYS, clock=clock)
    wakeup = Wakeup(database)
    catalogue = Catalogue(database)
    guard = Guard(
        database=database,
        policies=PolicyFile(file, clock),
        catalogue=catalogue,
        freezes=Freezes(database),
        trusted=frozenset(),
        default_hold=60,
        max_pending=100,
        lease_seconds=30,
        process="gw1",
    )
    tool_listing = ToolListing(
        pinned=PinnedLists(guard.rules, catalogue),
        catalogue=catalogue,
        max_result=1 << 20,
        max_listing=1 << 20,
        refresh_seconds=60,
    )
    executions = Executions(
        guard=guard, tool_listing=tool_listing, catalogue=catalogue, max_result=1 << 20
    )
    approvals = Approvals(database, wakeup, clock, KEYS)
    holding = Holding(
        approvals=approvals,
        guard=guard,
        executions=executions,
        rounds=Questions(RequestStates(KEYS.state), clock),
        patience=ClientTimeouts(database, Grants(database, clock)),
        clock=clock,
        url="http://127.0.0.1:8788",
        progress_seconds=PATIENCE,
    )
    (version,) = MODERN_VERSIONS
    server = ScriptedUpstream()
    caller = Caller(
        grant=GRANT,
        backend=Backend(name="payments", upstream=server),
        modern=True,
        revision=version,
        session=None,
        envelope={VERSION_KEY: version},
    )
    await tool_listing.ensure(caller)
    tool = catalogue.tool("payments", "refund")
    assert tool is not None
    yield Scene(database, clock, approvals, guard, holding, caller, server, tool.call_hash)
    await executions.aclose(PATIENCE)
    wakeup.close()
    database.close_now()


def text_of(response: dict[str, Any]) -> str:
    (block,) = response["result"]["content"]
    text: str = block["text"]
    return text


async def test_a_call_approved_while_waited_for_answers_with_its_own_result(scene: Scene) -> None:
    asked = await scene.waiting(1)
    assert scene.server.ran == []
    await scene.decide(asked.approval, Choice.APPROVE)
    response = await asked.told()
    assert (response["id"], text_of(response)) == (1, "refund number 1")
    assert scene.server.ran == [asked.approval.id]
    assert (await scene.row(asked.approval)).execution is Execution.SUCCEEDED


@pytest.mark.parametrize("rule", [{"undo": "20s"}], indirect=True)
async def test_a_call_whose_approval_is_taken_back_in_time_is_never_sent(scene: Scene) -> None:
    asked = await scene.waiting(1)
    await scene.decide(asked.approval, Choice.APPROVE)
    taken = await scene.approvals.take_back(asked.approval.id, reviewer=ALICE, via="page")
    assert isinstance(taken, Moved)
    response = await asked.told()
    assert text_of(response) == (
        "Not executed: a reviewer took the approval back before the call started. Nothing ran."
    )
    assert decision_of(response)["verdict"] == "deny"
    assert scene.server.ran == []
    again = await scene.waiting(2)
    assert again.approval.id != asked.approval.id


@pytest.mark.parametrize("rule", [{"undo": "1s"}], indirect=True)
async def test_a_call_whose_rule_has_an_undo_is_sent_in_place_when_that_is_over(
    scene: Scene,
) -> None:
    asked = await scene.waiting(1)
    await scene.decide(asked.approval, Choice.APPROVE)
    assert (await scene.row(asked.approval)).execution is Execution.NONE
    scene.clock.pass_(seconds=1)
    assert text_of(await asked.told()) == "refund number 1"
    assert scene.server.ran == [asked.approval.id]


@pytest.mark.parametrize("rule", [{"undo": "20s"}], indirect=True)
async def test_an_agent_that_is_let_go_meanwhile_is_told_since_when_it_may_run(
    scene: Scene,
) -> None:
    asked = await scene.waiting(1)
    await scene.decide(asked.approval, Choice.APPROVE)
    other = await scene.ask(2, hold=0.01)
    text = text_of(await other.told())
    assert text.startswith(f"Not executed yet: approval {asked.approval.id} was given; ")
    assert scene.server.ran == []
    scene.holding.stop()
    assert "was given" in text_of(await asked.told())


async def test_a_call_denied_while_waited_for_says_so_and_is_never_sent(scene: Scene) -> None:
    asked = await scene.waiting(1)
    await scene.decide(asked.approval, Choice.DENY)
    response = await asked.told()
    assert response["result"]["isError"]
    decision = decision_of(response)
    assert (decision["verdict"], decision["status"]) == ("deny", "denied")
    assert scene.server.ran == []


async def test_when_its_time_is_up_the_agent_gets_a_handle_and_the_call_goes_on_waiting(
    scene: Scene,
) -> None:
    asked = await scene.ask(1, hold=0.01)
    decision = decision_of(await asked.told())
    assert decision["status"] == "pending"
    assert decision["approval_id"] == asked.approval.id
    row = await scene.row(asked.approval)
    assert row.state is State.PENDING
    assert not scene.attached(row)
    assert scene.server.ran == []


async def test_an_agent_that_left_and_comes_back_gets_the_result_of_the_one_run(
    scene: Scene,
) -> None:
    left = await scene.waiting(1)
    left.connection.hang_up()
    await left.over()
    assert left.connection.responses() == []
    await scene.decide(left.approval, Choice.APPROVE)
    assert scene.server.ran == []  # no one waits, and no rule says that it runs all the same
    back = await scene.ask(2)
    response = await back.told()
    assert (response["id"], text_of(response)) == (2, "refund number 1")
    assert scene.server.ran == [left.approval.id]


async def test_hanging_up_while_the_call_runs_ends_the_waiting_and_not_the_run(
    scene: Scene,
) -> None:
    scene.server.may_answer.clear()
    left = await scene.waiting(1)
    await scene.decide(left.approval, Choice.APPROVE)
    async with asyncio.timeout(PATIENCE):
        await scene.server.running.wait()
    left.connection.hang_up()
    await left.over()
    back = await scene.waiting(2)
    scene.server.may_answer.set()
    assert text_of(await back.told()) == "refund number 1"
    assert scene.server.ran == [left.approval.id]


async def test_a_call_its_agent_cancels_is_withdrawn_and_gets_no_response(scene: Scene) -> None:
    asked = await scene.waiting(1, session=SESSION)
    assert not scene.holding.cancelled(cancellation(asked, "no longer needed"))
    await asked.over()
    assert asked.connection.responses() == []
    assert (await scene.row(asked.approval)).state is State.WITHDRAWN
    assert scene.server.ran == []


async def test_a_client_that_lost_patience_leaves_its_call_waiting(scene: Scene) -> None:
    asked = await scene.waiting(1, session=SESSION)
    assert scene.holding.cancelled(cancellation(asked, "Request timed out"))
    await asked.over()
    row = await scene.row(asked.approval)
    assert row.state is State.PENDING
    assert not scene.attached(row)


async def test_a_call_withdrawn_elsewhere_is_told_to_the_agent_that_waits(scene: Scene) -> None:
    asked = await scene.waiting(1)
    assert await scene.approvals.withdraw(asked.approval.id, grant=GRANT.id, why="by a command")
    decision = decision_of(await asked.told())
    assert (decision["verdict"], decision["status"]) == ("deny", "withdrawn")
    assert scene.server.ran == []


async def test_two_that_wait_for_one_call_get_the_answer_of_its_one_run(scene: Scene) -> None:
    first, second = await scene.waiting(1), await scene.waiting(2)
    assert first.approval.id == second.approval.id
    await scene.decide(first.approval, Choice.APPROVE)
    answers = [await first.told(), await second.told()]
    assert [(one["id"], text_of(one)) for one in answers] == [
        (1, "refund number 1"),
        (2, "refund number 1"),
    ]
    assert scene.server.ran == [first.approval.id]


async def test_one_of_two_that_leaves_does_not_detach_the_other(scene: Scene) -> None:
    first, second = await scene.waiting(1), await scene.waiting(2)
    first.connection.hang_up()
    await first.over()
    assert scene.attached(await scene.row(second.approval))
    await scene.decide(second.approval, Choice.APPROVE)
    assert text_of(await second.told()) == "refund number 1"


async def test_a_gateway_that_stops_lets_the_waiting_agent_go_with_its_handle(
    scene: Scene,
) -> None:
    asked = await scene.waiting(1)
    scene.holding.stop()
    decision = decision_of(await asked.told())
    assert (decision["status"], decision["approval_id"]) == ("pending", asked.approval.id)
    assert (await scene.row(asked.approval)).state is State.PENDING
    assert scene.server.ran == []


def decision_of(response: dict[str, Any]) -> dict[str, Any]:
    """What a refusal says for machines."""
    found: dict[str, Any] = response["result"]["_meta"][META_KEY]
    return found


def cancellation(asked: Waiting, reason: str) -> AgentRequest:
    params = {"requestId": asked.incoming.message.id, "reason": reason}
    message = Message("notification", None, "notifications/cancelled", params)
    return replace(asked.incoming, message=message)
