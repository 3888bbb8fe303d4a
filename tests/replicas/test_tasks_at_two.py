"""Tasks with two gateways on one PostgreSQL: begun at one, told, run and cancelled by either."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from tests.support.bare_agent import Agent
from tests.support.live_gateway import Site, eventually
from tests.tasks.conftest import Scene, scene_in

pytestmark = pytest.mark.postgres


@pytest.fixture
def one(tmp_path: Path, postgres: URL) -> Iterator[Scene]:
    url = postgres.render_as_string(hide_password=False)
    with scene_in(tmp_path, SIGNOFF_DATABASE_URL=url) as made:
        yield made


@pytest.fixture
def other(one: Scene) -> Iterator[Site]:
    """A second gateway of the same record, not started."""
    made = Site(one.site.folder, one.site.environ)
    yield made
    if made.process is not None:
        made.stop()


def test_a_task_begun_at_one_is_run_once_and_told_by_both(
    one: Scene, other: Site, request: pytest.FixtureRequest
) -> None:
    other.start()
    token = one.site.grant("both")
    here, there = one.agent(token=token), Agent(f"{other.url}/mcp/jobs", token)
    keys = [f"{request.node.name}-{number}" for number in range(10)]
    begun = [(here if number % 2 else there).begin("slow_compute", key=key, seconds=0.05)
             for number, key in enumerate(keys)]  # fmt: skip
    for key in keys:
        one.approve(key)
    for task, key in zip(begun, keys, strict=True):
        told = there.ended(task)["result"]
        assert told["content"][0]["text"] == f"computed {key}"
        assert here.ended(task)["result"] == told
        assert one.happened("came", key) == 1


def test_cancelling_at_one_reaches_what_the_other_runs(one: Scene, other: Site) -> None:
    token = one.site.grant("both")
    task = one.agent(token=token).begin("slow_compute", key="far", seconds=60)
    one.approve("far")
    eventually(lambda: one.happened("came", "far"))
    other.start()
    there = Agent(f"{other.url}/mcp/jobs", token)
    there.cancel(task)
    eventually(lambda: one.happened("cancelled", "far"))
    assert there.ended(task)["status"] == "cancelled"


def test_a_question_asked_at_one_is_answered_at_the_other(one: Scene, other: Site) -> None:
    other.start()
    token = one.site.grant("both")
    task = one.agent(token=token).begin("confirm_delete", key="file")
    one.approve("file")
    there = Agent(f"{other.url}/mcp/jobs", token)
    (named,) = there.until(task, "input_required")["inputRequests"]
    there.update(task, **{named: {"action": "accept"}})
    assert one.agent(token=token).ended(task)["result"]["content"][0]["text"] == "deleted file"
    assert one.happened("done", "file") == 1
