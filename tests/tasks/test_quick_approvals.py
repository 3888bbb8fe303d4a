"""With SIGNOFF_TASK_HOLD a decision within the first seconds is answered plainly, not by a task."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.bare_agent import Reply
from tests.support.live_gateway import eventually
from tests.support.patience import PATIENCE
from tests.tasks.conftest import Scene, scene_in

pytestmark = pytest.mark.xdist_group("tasks")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("quick"), SIGNOFF_TASK_HOLD="3") as made:
        yield made


def test_a_quick_approval_is_answered_with_the_result(quick: Scene, key: str) -> None:
    answers: list[Reply] = []
    agent = quick.agent()
    waiting = threading.Thread(target=lambda: answers.append(agent.call("slow_compute", key=key)))
    waiting.start()
    quick.approve(key)
    waiting.join(PATIENCE)
    assert (answers[0].text, answers[0].result["resultType"]) == (f"computed {key}", "complete")
    assert quick.happened("came", key) == 1


def test_a_slow_approval_is_answered_with_a_task(quick: Scene, key: str) -> None:
    agent = quick.agent()
    task = agent.begin("slow_compute", key=key)
    quick.approve(key)
    assert agent.ended(task)["result"]["content"][0]["text"] == f"computed {key}"


def test_who_leaves_before_it_hears_of_the_task_has_none_and_nothing_runs(
    quick: Scene, key: str
) -> None:
    agent = quick.agent()
    body = agent.body("tools/call", {"name": "slow_compute", "arguments": {"key": key}})
    request = httpx2.Request("POST", agent.url, json=body, headers=agent.headers(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", quick.site.port), PATIENCE) as connection:
        line = f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n"
        connection.sendall(line.encode() + request.read())
        row = quick.pending(key)
    quick.desk.left(row["id"])
    quick.desk.approve(row["id"])
    refused = agent.ask("tasks/get", taskId=f"gwt_{row['id'][4:]}")
    assert refused.error["code"] == -32602
    assert quick.desk.approval(row["id"])["execution"] == "none"
    again = agent.call("slow_compute", key=key)  # the repeat is what runs it
    assert again.text == f"computed {key}"
    eventually(lambda: quick.happened("done", key) == 1)
