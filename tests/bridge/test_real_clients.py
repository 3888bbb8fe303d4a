"""Real clients in front of servers of the other era, through the whole gateway: what is judged,
held, approved and recorded is what it is without a bridge, and questions reach the agent.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.bridge.conftest import ERAS, Scene
from tests.support.agents import Agent, agent
from tests.support.bare_agent import Agent as Bare

pytestmark = pytest.mark.xdist_group("bridge")

CROSSINGS = [
    *[("py2-modern", server) for server in ("old", "old-pipe")],
    *[(client, "new") for client in ("py2-legacy", "py1", "ts1")],
    ("ts1", "new-pipe"),
]
PER_CALL = {"legacy": ["began", "did"], "modern": ["did"]}
"""What one call of an asking tool is on a server: 2026-07-28 knows no call that waits."""


@pytest.fixture(scope="module", params=CROSSINGS, ids="-to-".join)
def crossing(request: pytest.FixtureRequest, scene: Scene) -> Iterator[tuple[Agent, str]]:
    client, server = request.param
    with scene.agent(client, server) as connected:
        yield connected, server


def test_the_agent_speaks_its_own_revision(crossing: tuple[Agent, str]) -> None:
    agent, server = crossing
    assert agent.protocol == ("2026-07-28" if ERAS[server] == "legacy" else "2025-11-25")
    assert {"plain", "greet", "signoff_await_approval"} <= set(agent.tools())


def test_an_allowed_call_runs_once(crossing: tuple[Agent, str], scene: Scene, key: str) -> None:
    agent, server = crossing
    assert agent.call("plain", key=key).text == f"plain {key}"
    assert scene.did(server, key) == ["did"]


def test_a_denied_call_never_runs(crossing: tuple[Agent, str], scene: Scene, key: str) -> None:
    agent, server = crossing
    answer = agent.call("slow", key=key)
    assert answer.refused
    assert answer.text.startswith("Policy violation: Not for agents.")
    assert scene.did(server, key) == []


@pytest.mark.parametrize(
    ("tool", "said"), [("greet", "Hello Ada"), ("whereabouts", "file:///home/Ada")]
)
def test_what_a_server_asks_the_agent_answers(
    crossing: tuple[Agent, str], scene: Scene, key: str, tool: str, said: str
) -> None:
    agent, server = crossing
    answer = agent.call(tool, key=key)
    assert (answer.text, answer.error) == (said, "")
    assert scene.did(server, key) == PER_CALL[ERAS[server]]


def test_a_held_call_is_approved_once_and_then_asks_its_agent(
    crossing: tuple[Agent, str], scene: Scene, key: str
) -> None:
    agent, server = crossing
    call = agent.begin("compose", key=key, progress=True)
    approval = scene.approve(key)
    assert call.answer().text == "Made: Ada's poem"
    assert scene.did(server, key) == PER_CALL[ERAS[server]]
    assert scene.desk.opened(key) == 1
    asked = ["input_required", "continued"] if ERAS[server] == "legacy" else ["answered"]
    events = ["held", "approved", "claimed", *asked, "succeeded"]
    assert scene.desk.events(approval_id=approval)[: len(events)] == events


def test_a_held_call_that_is_denied_never_runs(
    crossing: tuple[Agent, str], scene: Scene, key: str
) -> None:
    agent, server = crossing
    call = agent.begin("compose", key=key)
    scene.desk.deny(scene.desk.waiting(key)["id"], "Not today")
    assert "Not today" in call.answer().text
    assert scene.did(server, key) == []


def test_a_call_approved_late_is_had_by_asking_for_it(
    crossing: tuple[Agent, str], scene: Scene, key: str
) -> None:
    agent, server = crossing
    brief = f"brief {key}"
    pending = agent.call("compose", key=brief)
    assert pending.decision["status"] == "pending"
    approval = scene.approve(brief)
    answer = agent.call("signoff_await_approval", approval_id=approval)
    assert (answer.text, answer.error) == ("Made: Ada's poem", "")
    assert scene.did(server, brief) == PER_CALL[ERAS[server]]


def test_every_answer_of_an_agent_is_on_record_with_its_call(
    crossing: tuple[Agent, str], scene: Scene
) -> None:
    agent, server = crossing
    told = "continued" if ERAS[server] == "legacy" else "answered"  # by a retry, or meanwhile
    before = len(scene.desk.events(event=told))
    agent.call("greet", key="recorded")
    assert len(scene.desk.events(event=told)) == before + 1


def test_two_agents_answer_for_themselves_alone(scene: Scene, key: str) -> None:
    for client, server in (("py2-modern", "old"), ("py2-modern", "old-pipe"), ("py1", "new")):
        with (
            scene.agent(client, server, "Ada") as first,
            scene.agent(client, server, "Bea") as second,
        ):
            calls = [each.begin("greet", key=key) for each in (first, second) for _ in range(2)]
            said = [call.answer().text for call in calls]
        assert said == ["Hello Ada"] * 2 + ["Hello Bea"] * 2, (client, server)


@pytest.mark.parametrize("server", ["old", "old-pipe"])
def test_a_held_call_becomes_a_task_in_front_of_a_server_that_knows_none(
    scene: Scene, key: str, server: str
) -> None:
    agent = Bare(scene.url(server), scene.site.grant("bare"))
    found = agent.ask("server/discover").result
    assert "io.modelcontextprotocol/tasks" in found["capabilities"]["extensions"]
    task = agent.begin("compose", key=key)
    scene.approve(key)
    done = agent.ended(task)
    # The bare agent does not offer sampling: the tool is told so, and fails by itself.
    assert (done["status"], done["result"]["isError"]) == ("completed", True)
    assert scene.did(server, key) == ["began"]


def test_a_tasks_question_is_answered_by_update(scene: Scene, key: str) -> None:
    agent = Bare(scene.url("old"), scene.site.grant("bare"))
    task = agent.begin("greet", key=f"held {key}")
    scene.approve(f"held {key}")
    asked = agent.until(task, "input_required")
    (named,) = asked["inputRequests"]
    agent.update(task, **{named: {"action": "accept", "content": {"name": "Bea"}}})
    assert agent.ended(task)["result"]["content"][0]["text"] == "Hello Bea"
    assert scene.did("old", f"held {key}") == ["began", "did"]


@pytest.mark.parametrize("client", ["py2-modern", "py1"])
def test_one_url_serves_both_eras_of_servers(scene: Scene, key: str, client: str) -> None:
    grant = scene.site.grant(client)
    log = scene.site.folder / f"{client}-all.log"
    with agent(client, f"{scene.site.url}/mcp", grant, log=log, answer_as="Ada") as connected:
        assert {"old__greet", "new__greet"} <= set(connected.tools())
        for server in ("old", "new"):
            assert connected.call(f"{server}__greet", key=key).text == "Hello Ada"


def test_the_record_of_it_all_holds_together(scene: Scene) -> None:
    assert scene.site.run("history", "verify").returncode == 0
