"""The risk of a held call is that of its tool and its rule, the same wherever it is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from approvals.record.history import HistoryQuery, search
from tests.end_to_end.conftest import Scene
from tests.support.live_gateway import Site, eventually, witness
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("risk_shown")

WORDS = "Permanently deletes every record of a customer. This cannot be undone."
TOOLS: dict[str, Any] = {
    "held": {"require_approval": True},
    "free": {"require_approval": {"risk": "low"}},
    "slow": {"require_approval": {"risk": {"set": "low"}}},
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("risk")
    with witness(folder) as server:
        server.describe(WORDS)
        site = Site(folder, {"SIGNOFF_HOLD": "1"})
        site.policy(tools=TOOLS)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


def held(scene: Scene, tool: str, key: str) -> dict[str, Any]:
    """The one approval this call opened; its agent has gone."""
    with scene.agent("py2-legacy") as agent:
        assert agent.call(tool, key=key).text.startswith("Not executed yet")
    (row,) = scene.desk.pending(key)
    return scene.desk.approval(row["id"])


def told(scene: Scene, approval_id: str) -> dict[str, Any]:
    """What the history kept when it was opened."""
    with scene.site.record() as database:
        page = database.read_now(
            lambda c: search(c, HistoryQuery(approval_id=approval_id, event="held"))
        )
    found: dict[str, Any] = json.loads(page.rows[0].event.data or "{}")
    return found


def test_a_rule_without_a_risk_or_with_a_lower_one_leaves_the_tools(scene: Scene, key: str) -> None:
    for tool in ("held", "free"):
        row = held(scene, tool, f"{key} {tool}")
        assert (row["risk"], row["risk_lowered_from"]) == ("critical", None)
        assert told(scene, row["id"])["risk"] == "critical"
        assert f"{row['id'][:10]}" in scene.site.run("pending").stdout
        shown = scene.site.run("show", row["id"]).stdout
        assert "CRITICAL" in shown


def test_a_rule_that_sets_it_lowers_it_and_says_so(scene: Scene, key: str) -> None:
    row = held(scene, "slow", key)
    assert (row["risk"], row["risk_lowered_from"]) == ("low", "critical")
    assert told(scene, row["id"]) | {"risk": "low", "tool_risk": "critical"} == told(
        scene, row["id"]
    )
    shown = scene.site.run("show", row["id"]).stdout
    assert "LOW" in shown
    assert "The rule sets this risk. By its class the tool is of critical risk." in shown


def test_the_riskiest_waits_first_whatever_was_asked_first(scene: Scene, key: str) -> None:
    low, critical = held(scene, "slow", f"{key} one"), held(scene, "held", f"{key} two")
    order = [row["id"] for row in scene.desk.everything()]
    assert order.index(critical["id"]) < order.index(low["id"])


def test_a_class_settled_on_the_command_line_is_the_running_gateways(
    scene: Scene, key: str
) -> None:
    scene.site.run("reviewer", "add", "root", "--role", "admin")
    refused = scene.site.run(
        "tools", "class", "witness", "held", "Write", "--as", "alice", check=False
    )
    assert refused.returncode != 0
    assert "no administrator" in refused.stderr
    unknown = scene.site.run(
        "tools", "class", "witness", "held", "Nice", "--as", "root", check=False
    )
    assert unknown.returncode != 0
    assert "is no class" in unknown.stderr
    done = scene.site.run("tools", "class", "witness", "held", "Write", "--as", "root")
    assert done.returncode == 0, done.stderr
    assert "Write, medium risk" in done.stdout
    listed = json.loads(scene.site.run("tools", "list", "--json").stdout)["items"]
    mine = next(one for one in listed if one["tool"] == "held")
    assert (mine["class"], mine["risk"], mine["class_settled_by"]) == ("write", "medium", "root")
    counter = iter(range(100))
    eventually(
        lambda: held(scene, "held", f"{key} {next(counter)}")["risk"] == "medium" or None, 30
    )
    assert "tool_classified" in scene.desk.events()
    assert scene.site.run("tools", "class", "witness", "held", "guess", "--as", "root").stdout
    eventually(
        lambda: held(scene, "held", f"{key} g{next(counter)}")["risk"] == "critical" or None, 30
    )


def test_the_policys_own_check_knows_the_form(scene: Scene) -> None:
    checked = scene.site.run("policy", "check")
    assert checked.returncode == 0, checked.stdout
    schema = json.loads(scene.site.run("policy", "schema").stdout)
    assert {"set"} == set(
        schema["$defs"]["hold_rule"]["properties"]["risk"]["anyOf"][1]["required"]
    )
