"""kill -9 of the gateway under tasks: none is lost, none runs twice, none unapproved."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from approvals import decide
from approvals.model import Choice, Moved, Reviewer, Vote
from tests.support.bare_agent import ENDED, Agent
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.tasks.conftest import Scene, scene_in

pytestmark = pytest.mark.xdist_group("tasks")

YES = {"action": "accept", "content": {"confirm": "yes"}}


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A gateway to be killed."""
    with scene_in(tmp_path_factory.mktemp("killed"), SIGNOFF_LEASE_SECONDS="1") as made:
        yield made


def restart(scene: Scene) -> None:
    scene.site.kill()
    scene.site.start()


def approve_beside(scene: Scene, approval_id: str) -> None:
    """Approve it while no gateway runs, as another process may."""
    alice = Reviewer(id="alice", role="approver")
    decided = scene.site.write(
        lambda tx: decide.decide(
            tx, approval_id, Vote(revision=1, reviewer=alice, choice=Choice.APPROVE, via="cli")
        )
    )
    assert isinstance(decided, Moved)


def test_a_task_outlives_its_gateway_and_is_approved_after(own: Scene, key: str) -> None:
    agent = own.agent()
    task = agent.begin("slow_compute", key=key)
    restart(own)
    assert agent.get(task)["status"] == "working"
    own.approve(key)
    assert agent.ended(task)["result"]["content"][0]["text"] == f"computed {key}"
    restart(own)
    assert agent.get(task)["result"]["content"][0]["text"] == f"computed {key}"
    assert own.happened("came", key) == 1


def test_what_was_approved_while_no_gateway_ran_runs_by_itself(own: Scene, key: str) -> None:
    agent = own.agent()
    agent.begin("slow_compute", key=key)
    row = own.pending(key)
    own.site.kill()
    approve_beside(own, row["id"])
    assert own.happened("came", key) == 0
    own.site.start()
    eventually(lambda: own.happened("done", key))  # no one asked
    assert own.happened("came", key) == 1


def test_what_ran_when_its_gateway_died_is_unknown_and_never_sent_again(
    own: Scene, key: str
) -> None:
    agent = own.agent()
    task = agent.begin("slow_compute", key=key, seconds=30)
    own.approve(key)
    eventually(lambda: own.happened("came", key))
    restart(own)
    done = agent.ended(task)
    assert (done["status"], done["result"]["isError"]) == ("completed", True)
    assert done["result"]["content"][0]["text"].startswith("Outcome unknown")
    assert own.happened("came", key) == 1


def test_a_question_and_half_its_answer_outlive_their_gateway(own: Scene, key: str) -> None:
    agent = own.agent()
    task = agent.begin("multi_input", key=key)
    own.approve(key)
    first, second = agent.until(task, "input_required")["inputRequests"]
    agent.update(task, **{first: YES})
    restart(own)
    assert list(agent.until(task, "input_required")["inputRequests"]) == [second]
    agent.update(task, **{second: YES})
    assert agent.ended(task)["result"]["content"][0]["text"] == "both"
    assert own.happened("came", key) == 2


def test_a_sealed_question_outlives_its_gateway(own: Scene, key: str) -> None:
    agent = own.agent(tasks=False)
    call = threading.Thread(target=lambda: agent.call("confirm_delete", key=key), daemon=True)
    call.start()
    own.approve(key)
    call.join(PATIENCE)
    asked = agent.call("confirm_delete", key=key)
    restart(own)
    more = {"inputResponses": {"confirm": YES}, "requestState": asked.result["requestState"]}
    assert agent.call("confirm_delete", key=key, more=more).text == f"deleted {key}"
    assert own.happened("came", key) == 2


def test_a_server_that_is_down_gets_the_call_once_it_is_back(own: Scene, key: str) -> None:
    agent = own.agent()
    kept = (own.site.folder / "servers.json").read_text(encoding="utf-8")
    task = agent.begin("slow_compute", key=key)
    own.site.kill()
    own.site.servers(jobs={"url": "http://127.0.0.1:9/mcp"})
    own.site.start()
    own.approve(key)
    assert agent.get(task)["status"] == "working"
    own.site.kill()
    (own.site.folder / "servers.json").write_text(kept, encoding="utf-8")
    own.site.start()
    assert agent.ended(task)["status"] == "completed"
    assert own.happened("came", key) == 1


class Crowd:
    """Agents that begin tasks as fast as they can while their gateway is killed under them."""

    def __init__(self, scene: Scene, count: int, name: str) -> None:
        self.scene = scene
        self.begun: dict[str, str] = {}  # key -> task
        self.approved: set[str] = set()
        self.stop = threading.Event()
        names = [f"{name}agent{number}" for number in range(count)]
        self.agents = {name: scene.agent(token=scene.site.grant(name)) for name in names}
        self.threads = [
            *(threading.Thread(target=self._begin, args=each) for each in self.agents.items()),
            threading.Thread(target=self._approve),
        ]
        for thread in self.threads:
            thread.start()

    def _begin(self, name: str, agent: Agent) -> None:
        number = 0
        while not self.stop.is_set():
            key = f"{name}-{number}"
            try:
                self.begun[key] = agent.begin("slow_compute", key=key, seconds=0.05)
                number += 1
            except (httpx2.HTTPError, AssertionError, ValueError):
                time.sleep(0.02)  # no gateway, or too many pending

    def _approve(self) -> None:
        while not self.stop.is_set():
            try:
                for row in self.scene.desk.everything():
                    self.scene.desk.approve(row["id"])
                    self.approved.add(row["id"])
            except httpx2.HTTPError:
                time.sleep(0.02)

    def join(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_killing_the_gateway_again_and_again_loses_and_doubles_no_task(
    own: Scene, kills: int
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    crowd = Crowd(own, 3, f"k{kills}")
    for number in range(1, kills + 1):
        crowd.stop.wait(chance.uniform(0.1, 0.8))
        # However slow the machine: enough is begun that what a kill leaves unknown is the smaller
        # part of it.
        eventually(lambda number=number: len(crowd.begun) > 6 * number)  # type: ignore[misc]
        restart(own)
    crowd.stop.wait(0.5)
    crowd.join()
    for row in own.desk.everything():
        own.desk.approve(row["id"])
    outcomes: dict[str, int] = {}
    for key, task in crowd.begun.items():
        ended = crowd.agents[key.split("-")[0]].until(task, *ENDED)
        assert ended["status"] == "completed"
        came, unknown = own.happened("came", key), ended["result"].get("isError", False)
        assert came == 1 or (unknown and came == 0), (key, came, ended)
        outcomes["unknown" if unknown else "done"] = 1 + outcomes.get(
            "unknown" if unknown else "done", 0
        )
    print(outcomes)
    assert outcomes["done"] > 10
    ran = [line[2] for line in own.lines() if line[0] == "came" and line[2].startswith(f"k{kills}")]
    assert len(ran) == len(set(ran))
