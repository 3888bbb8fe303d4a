"""Tasks need nothing of the server: one on pipes, and one of 2025-11-25, have them as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bare_agent import Agent
from tests.support.live_gateway import Site, eventually
from tests.support.reference_gateway import BY_PIPE
from tests.support.reviewer_desk import Desk

pytestmark = pytest.mark.xdist_group("tasks")

SERVERS: dict[str, dict[str, Any]] = {
    "modern": {**BY_PIPE, "args": [*BY_PIPE["args"], "modern"]},
    "legacy": {**BY_PIPE, "args": [*BY_PIPE["args"], "legacy"]},
}
ANSWER = {"action": "accept", "content": {"username": "me", "email": "me@example.com"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("pipes"))
    made.policy(tools={"*": {"require_approval": True}})
    made.servers(**SERVERS)
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def desk(site: Site) -> Iterator[Desk]:
    made = Desk(site.url, site.reviewer())
    yield made
    made.close()


def approved(agent: Agent, desk: Desk, tool: str) -> str:
    """A task that someone has approved."""
    task = agent.begin(tool)
    row = eventually(lambda: next(iter(desk.everything()), None))
    desk.approve(row["id"])
    return task


@pytest.mark.parametrize("server", SERVERS)
def test_a_call_to_it_is_a_task_that_the_gateway_runs(site: Site, desk: Desk, server: str) -> None:
    agent = Agent(f"{site.url}/mcp/{server}", site.grant(server))
    done = agent.ended(approved(agent, desk, "test_simple_text"))
    assert done["status"] == "completed"
    assert done["result"]["content"][0]["type"] == "text"
    assert done["result"]["resultType"] == "complete"


def test_what_an_older_server_asks_while_it_runs_is_asked_by_the_task(
    site: Site, desk: Desk
) -> None:
    agent = Agent(f"{site.url}/mcp/legacy", site.grant("asked"))
    task = approved(agent, desk, "test_elicitation")
    asked = agent.until(task, "input_required")["inputRequests"]
    assert [one["method"] for one in asked.values()] == ["elicitation/create"]
    agent.update(task, **dict.fromkeys(asked, ANSWER))
    done = agent.ended(task)
    assert (done["status"], "isError" in done["result"]) == ("completed", False)
    assert "me" in done["result"]["content"][0]["text"]
