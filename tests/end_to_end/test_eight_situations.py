"""Eight situations in which a gateway may lose a held call, run it twice, or run another one; and
the swap. Anyone can run them: `.venv/bin/pytest tests/end_to_end/test_eight_situations.py`.

Everything is real: `signoff up` on SQLite, an MCP client of the official SDK, and a server that
writes one fsynced line per execution. That file, not anyone's answer, says what ran.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.end_to_end.conftest import Scene
from tests.support.live_gateway import Site, eventually, witness
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Row, at_work

pytestmark = pytest.mark.xdist_group("eight situations")
CLIENT = "py2-modern"
TOOLS: dict[str, Any] = {
    "held": {"require_approval": {"reason": "A person decides."}},
    "slow": {"require_approval": True},
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A gateway of its own for each situation, for most of them kill it."""
    with witness(tmp_path) as server:
        # The lease is what tells a run that outlives its gateway; short, so that it is told soon.
        site = Site(tmp_path, {"SIGNOFF_HOLD": "180", "SIGNOFF_LEASE_SECONDS": "3"})
        site.policy(tools=TOOLS)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


def pending(scene: Scene, key: str) -> Row:
    (row,) = eventually(lambda: scene.desk.pending(key))
    return row


def test_1_an_agent_that_gives_up_and_repeats_gets_the_one_execution(
    scene: Scene, key: str
) -> None:
    with scene.agent(CLIENT) as caller:
        row = scene.given_up(caller, "held", key)
        scene.desk.approve(row["id"])
        assert caller.call("held", key=key).text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_2_a_call_that_was_pending_when_the_gateway_was_killed_is_decided_and_runs_once(
    scene: Scene, key: str
) -> None:
    token = scene.site.grant("agent")
    with scene.agent(CLIENT, token=token) as caller:
        caller.begin("held", key=key)
        row = scene.desk.waiting(key)
        scene.site.kill()
    scene.site.start()
    assert scene.desk.approval(row["id"])["state"] == "pending"
    scene.desk.approve(row["id"])
    assert scene.ran(key) == 0
    with scene.agent(CLIENT, token=token) as caller:
        assert caller.call("held", key=key).text == f"held {key}"
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_3_a_call_that_ran_when_the_gateway_was_killed_is_unknown_and_never_run_again(
    scene: Scene, key: str
) -> None:
    token = scene.site.grant("agent")
    with scene.agent(CLIENT, token=token) as caller:
        caller.begin("slow", key=key, seconds=PATIENCE)
        row = scene.desk.waiting(key)
        scene.desk.approve(row["id"])
        eventually(lambda: scene.ran(key))
        scene.site.kill()
    scene.site.start()
    eventually(lambda: scene.desk.approval(row["id"])["execution"] == "outcome_unknown")
    with scene.agent(CLIENT, token=token) as caller:
        answer = caller.call("slow", key=key, seconds=PATIENCE)
    assert answer.refused
    assert answer.text.startswith("Outcome unknown")
    assert scene.ran(key) == 1


def test_4_of_ten_decisions_that_race_one_counts(scene: Scene, key: str) -> None:
    deciders = [f"person-{number}" for number in range(10)]
    tokens = [scene.site.reviewer(name) for name in deciders]
    barrier = threading.Barrier(len(tokens))
    with scene.agent(CLIENT) as caller:
        call = caller.begin("held", key=key)
        row = scene.desk.waiting(key)

        def press(number: int) -> int:
            choice = ("approve", "deny")[number % 2]
            url = f"{scene.site.url}/api/v1/approvals/{row['id']}/{choice}"
            headers = {"Authorization": f"Bearer {tokens[number]}"}
            body = {"revision": row["revision"], "reason": f"said {deciders[number]}"}
            barrier.wait(PATIENCE)
            return httpx2.post(url, json=body, headers=headers, timeout=PATIENCE).status_code

        with ThreadPoolExecutor(len(tokens)) as pool:
            statuses = list(pool.map(press, range(len(tokens))))
        answer = call.answer()
    assert sorted(statuses) == [200] + [409] * 9
    winner = statuses.index(200)
    found = scene.desk.approval(row["id"])
    assert (found["decided_by"], found["state"]) == (
        deciders[winner],
        ("approved", "denied")[winner % 2],
    )
    assert answer.refused == bool(winner % 2)
    assert scene.ran(key) == (winner + 1) % 2


def test_5_two_identical_calls_in_parallel_are_one_question_and_one_execution(
    scene: Scene, key: str
) -> None:
    with scene.agent(CLIENT) as caller:
        twins = [caller.begin("held", key=key), caller.begin("held", key=key)]
        row = eventually(
            lambda: next((row for row in scene.desk.pending(key) if row["attempts"] == 2), None)
        )
        scene.desk.approve(row["id"])
        assert [twin.answer().text for twin in twins] == [f"held {key}"] * 2
    assert (scene.ran(key), scene.desk.opened(key)) == (1, 1)


def test_6_arguments_that_change_after_the_approval_are_another_call(
    scene: Scene, key: str
) -> None:
    with scene.agent(CLIENT) as caller:
        row = scene.given_up(caller, "held", key, amount=5)
        scene.desk.approve(row["id"])
        changed = caller.begin("held", key=key, amount=5000)
        other = pending(scene, key)
        assert other["id"] != row["id"]
        scene.desk.deny(other["id"], "Not so much.")
        assert "Not so much." in changed.answer().text
        assert scene.ran(key) == 0
        assert caller.call("held", key=key, amount=5).text == f"held {key}"
    assert scene.witness.arguments() == [{"key": key, "amount": 5}]


def test_7_a_denied_call_that_is_repeated_is_refused_in_the_reviewers_words(
    scene: Scene, key: str
) -> None:
    with scene.agent(CLIENT) as caller:
        call = caller.begin("held", key=key)
        scene.desk.deny(scene.desk.waiting(key)["id"], "Wrong account.")
        assert "Wrong account." in call.answer().text
        for _ in range(3):
            again = caller.call("held", key=key)
            assert (again.refused, "Wrong account." in again.text) == (True, True)
    assert (scene.ran(key), scene.desk.opened(key)) == (0, 1)


def test_8_fifty_calls_held_at_once_are_all_asked_and_each_runs_once(
    scene: Scene, key: str
) -> None:
    keys = [f"{key} {number:02}" for number in range(50)]
    with scene.agent(CLIENT) as caller:
        calls = [caller.begin("held", key=each) for each in keys]
        rows = eventually(
            lambda: rows if len(rows := scene.desk.everything()) == len(keys) else None
        )
        for row in rows:
            scene.desk.approve(row["id"])
        assert [call.answer().text for call in calls] == [f"held {each}" for each in keys]
    assert sorted(scene.witness.ran()) == [("held", each) for each in keys]


SWAPS = {
    "the sealed bytes of another call": (
        "UPDATE approval SET arguments_sealed = "
        "(SELECT arguments_sealed FROM approval WHERE id = :other) WHERE id = :id"
    ),
    "a byte of the sealed bytes": (
        "UPDATE approval SET arguments_sealed = "
        "CAST(substr(arguments_sealed, 1, length(arguments_sealed) - 1) || x'00' AS BLOB) "
        "WHERE id = :id"
    ),
    "the bytes and every digest of another call": (
        "UPDATE approval SET (arguments_sealed, masked, digest, asked, arguments_digest) = "
        "(SELECT arguments_sealed, masked, digest, asked, arguments_digest FROM approval "
        "WHERE id = :other) WHERE id = :id"
    ),
    "the tool": "UPDATE approval SET tool = 'slow' WHERE id = :id",
}
"""What someone who can write the database, and has no key, makes of a held call."""


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("moment", ["pending", "approved"])
def test_bytes_of_a_held_call_that_are_edited_while_the_gateway_is_down_never_run(
    scene: Scene, key: str, moment: str, swap: str
) -> None:
    token, others = scene.site.grant("agent"), scene.site.grant("other")
    held, other = f"{key} held", f"{key} other"
    with scene.agent(CLIENT, token=token) as caller, scene.agent(CLIENT, token=others) as second:
        row = scene.given_up(caller, "held", held, amount=5)
        evil = scene.given_up(second, "held", other, amount=5000)
    if moment == "approved":
        scene.desk.approve(row["id"])
    assert scene.site.stop(signal.SIGTERM) == 0
    _edit(scene.site, SWAPS[swap], id=row["id"], other=evil["id"])
    scene.site.start()
    if moment == "pending":
        _press(scene, row["id"], "approve")
    _press(scene, evil["id"], "deny")
    with scene.agent(CLIENT, token=token) as caller:
        again = caller.begin("held", key=held, amount=5)
        # Answered, or asked again: whichever, it has been dealt with.
        eventually(lambda: again.done or scene.desk.everything())
    ran = list(zip(scene.witness.ran(), scene.witness.arguments(), strict=True))
    assert ran in ([], [(("held", held), {"key": held, "amount": 5})])


def _press(scene: Scene, approval_id: str, choice: str) -> None:
    """A decision, whatever the gateway says to it."""
    url = f"{scene.site.url}/api/v1/approvals/{approval_id}/{choice}"
    headers = {"Authorization": f"Bearer {scene.site.reviewer('carol')}"}
    httpx2.post(url, json={"revision": 1, "reason": "No."}, headers=headers, timeout=PATIENCE)


def _edit(site: Site, sql: str, **values: str) -> None:
    with closing(sqlite3.connect(site.data / "signoff.db")) as database, database:
        assert database.execute(sql, values).rowcount == 1
