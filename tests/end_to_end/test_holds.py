"""How long a held call waits in place, and what becomes of it when no one waits any more."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.enforcement import grants
from gateway.enforcement.grants import Grant
from tests.end_to_end.conftest import Scene
from tests.support.agents import CLIENTS, Agent
from tests.support.live_gateway import Site, eventually, witness
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("holds")
LONG = 180  # seconds; longer than any wait of a test
TOOLS: dict[str, Any] = {
    "held": {"require_approval": True},
    "free": {"require_approval": {"hold": "1s", "when_detached": "execute"}},
    "slow": {"require_approval": {"hold": "1s", "when_detached": "withdraw"}},
    "broken": {"require_approval": {"hold": "3s"}},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("holds")
    with witness(folder) as server:
        site = Site(folder, {"SIGNOFF_HOLD": "2", "SIGNOFF_PROGRESS": "0.5"})
        site.policy(tools=TOOLS)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


def known(scene: Scene, label: str) -> Grant:
    """The grant as it stands on record."""
    with scene.site.record() as database:
        found = database.read_now(grants.listing)
    return next(grant for grant in found if grant.label == label)


def held_for(agent: Agent, tool: str, key: str) -> float:
    """Seconds until a call no one decides on is let go."""
    began = time.monotonic()
    assert agent.call(tool, key=key).text.startswith("Not executed yet")
    return time.monotonic() - began


def test_the_hold_is_the_rules_or_the_grants_or_the_gateways(scene: Scene, key: str) -> None:
    token = scene.site.grant("patient", hold=LONG)
    with scene.agent("py2-legacy") as agent, scene.agent("py2-legacy", token=token) as patient:
        waits = patient.begin("held", key=f"{key} grant")
        row = scene.desk.waiting(f"{key} grant")
        assert held_for(agent, "held", f"{key} default") > 1.9
        assert held_for(patient, "broken", f"{key} rule") > 2.9
        assert not waits.done
        scene.desk.approve(row["id"])
        assert waits.answer().text == f"held {key} grant"


def test_a_grant_whose_client_gives_up_at_the_same_time_twice_holds_no_longer_than_that(
    scene: Scene, key: str
) -> None:
    token = scene.site.grant("hasty", hold=LONG)

    def gave_up(place: int) -> bool:
        """Whether it is known for how long this client waits, after one more time."""
        held = agent.begin("held", timeout=1.5, key=f"{key} {place}")
        assert "timed out" in held.answer().error.lower()
        return known(scene, "hasty").patience is not None

    with scene.agent("py2-legacy", token=token) as agent:
        assert not gave_up(0)
        # On a busy machine two times in a row may differ by more than a second.
        places = itertools.count(1)
        eventually(lambda: gave_up(next(places)))
        patience = known(scene, "hasty").patience
        assert patience is not None
        least = max(patience, 5)  # seconds; a hold is never made shorter
        assert held_for(agent, "held", f"{key} more") > least - 0.1
    told = scene.site.run("grant", "list").stdout
    assert f"at most {least} s: its client gives up after {patience} s" in told
    assert "grant_patience_learned" in scene.desk.events()
    scene.site.run("grant", "hold", "hasty", "30")
    again = known(scene, "hasty")
    assert (again.hold, again.patience) == (30, None)


def test_a_single_crash_teaches_nothing(scene: Scene, key: str) -> None:
    token = scene.site.grant("unlucky", hold=LONG)
    with scene.agent("py2-modern", token=token) as agent:
        agent.begin("held", key=key)
        row = scene.desk.waiting(key)
        agent.kill()
    scene.desk.left(row["id"])
    assert known(scene, "unlucky").patience is None


@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern"])
def test_an_approved_call_runs_without_its_agent_only_where_the_rule_says_so(
    scene: Scene, key: str, client: str
) -> None:
    token = scene.site.grant(client)
    with scene.agent(client, token=token) as agent:
        kept, runs = agent.call("held", key=f"{key} kept"), agent.call("free", key=f"{key} runs")
    for one in (kept, runs):
        scene.desk.approve(one.decision["approval_id"])
    eventually(lambda: scene.ran(f"{key} runs") == 1)
    eventually(
        lambda: scene.desk.approval(runs.decision["approval_id"])["execution"] == "succeeded"
    )
    assert scene.ran(f"{key} kept") == 0
    with scene.agent(client, token=token) as agent:
        answer = agent.call("free", key=f"{key} runs")
        assert (answer.text, answer.refused) == (f"free {key} runs", False)
        assert agent.call("held", key=f"{key} kept").text == f"held {key} kept"
    assert (scene.ran(f"{key} runs"), scene.ran(f"{key} kept")) == (1, 1)


def test_an_agent_that_waits_runs_its_own_call_also_where_it_need_not(
    scene: Scene, key: str
) -> None:
    with scene.agent("py2-legacy", token=scene.site.grant("here", hold=LONG)) as agent:
        held = agent.begin("free", key=key)
        scene.desk.approve(scene.desk.waiting(key)["id"])
        assert held.answer().text == f"free {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_what_is_withdrawn_when_its_agent_leaves_cannot_be_approved(scene: Scene, key: str) -> None:
    with scene.agent("py2-modern", token=scene.site.grant("gone", hold=LONG)) as agent:
        agent.begin("slow", key=key)
        row = scene.desk.waiting(key)
        agent.kill()
    eventually(lambda: scene.desk.approval(row["id"])["state"] == "withdrawn")
    assert scene.ran(key) == 0


def test_claude_code_gets_a_grant_that_holds_240_seconds(scene: Scene) -> None:
    made = scene.site.run("connect", "claude-code", "witness")
    token = made.stdout.partition("Bearer ")[2].split('"')[0]
    url = f"{scene.site.url}/mcp/witness"
    assert made.stdout.splitlines()[-1] == (
        f'claude mcp add --transport http witness {url} --header "Authorization: Bearer {token}"'
    )
    assert "a held call waits up to 240 s" in made.stderr
    assert known(scene, f"claude-code@{socket.gethostname()}").hold == 240
    with scene.agent(CLIENTS[0], token=token) as agent:
        assert "held" in agent.tools()
