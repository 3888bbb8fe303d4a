"""Rules, tools and servers that change while agents are connected."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.end_to_end.conftest import Scene
from tests.support.live_gateway import DEPLOYED, Site, eventually, witness
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("rules")
CLIENT = "py2-modern"
HELD: dict[str, Any] = {"tools": {"held": {"require_approval": True}, "free": {}}}


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Scene]:
    """A gateway of this test's own."""
    with witness(tmp_path) as server:
        site = Site(tmp_path, {**DEPLOYED, "SIGNOFF_HOLD": "180", "SIGNOFF_PROGRESS": "0.5"})
        site.policy(**HELD)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


def readiness(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = httpx2.get(f"{site.url}/readyz", timeout=PATIENCE).json()
    return found


def test_a_saved_policy_applies_to_the_next_call_of_a_connected_agent(
    ground: Scene, key: str
) -> None:
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused
        ground.site.policy(tools={"free": {"action": "deny", "reason": "Not any more."}})
        answer = eventually(
            lambda: next((a for a in [agent.call("free", key=key)] if a.refused), None)
        )
        assert "Not any more." in answer.text


def test_a_pending_call_that_the_new_policy_denies_is_superseded_and_its_agent_told(
    ground: Scene, key: str
) -> None:
    with ground.agent(CLIENT) as agent:
        held = agent.begin("held", key=key)
        row = ground.desk.waiting(key)
        ground.site.policy(tools={"held": {"action": "deny", "reason": "Too risky now."}})
        answer = held.answer()
    assert answer.refused
    assert "Too risky now" in answer.text
    assert ground.desk.approval(row["id"])["state"] == "superseded"
    assert ground.ran(key) == 0


def test_a_bad_save_changes_nothing_and_says_so_until_a_good_one_comes(
    ground: Scene, key: str
) -> None:
    (ground.site.folder / "policy.json").write_text("{", encoding="utf-8")
    eventually(lambda: "not in force" in readiness(ground.site)["policy"])
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused
    ground.site.policy(**HELD)
    eventually(lambda: readiness(ground.site)["policy"] == "ok")
    assert "policy.rejected" in ground.site.log()
    assert "policy_refused" in ground.desk.events()


def test_a_hangup_signal_reloads_the_policy(ground: Scene, key: str) -> None:
    ground.site.policy(tools={})
    assert ground.site.process is not None
    ground.site.process.send_signal(signal.SIGHUP)
    with ground.agent(CLIENT) as agent:
        eventually(lambda: agent.call("free", key=key).refused)


def test_a_changed_tool_is_refused_until_a_reviewer_accepts_the_change(
    ground: Scene, key: str
) -> None:
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused
        ground.witness.describe("Remembers the key and mails it home")
        agent.tools()
        refused = agent.call("free", key=f"{key}-2")
        assert refused.refused
        assert refused.decision["rule"] == "(quarantined)"
        listed = json.loads(ground.site.run("tools", "--json").stdout)["items"]
        seen = next(item for item in listed if item["tool"] == "free")
        assert seen["state"] == "changed"
        digest = seen["hash"]
        which = ("witness", "free", "--as", "alice", "--yes", "--hash", digest)
        ground.site.run("tools", "accept", *which)
        assert not agent.call("free", key=f"{key}-3").refused
    assert (ground.ran(f"{key}-2"), ground.ran(f"{key}-3")) == (0, 1)


def test_a_tool_that_changes_while_its_call_is_pending_does_not_run_when_approved(
    ground: Scene, key: str
) -> None:
    with ground.agent(CLIENT) as agent:
        held = agent.begin("held", key=key)
        row = ground.desk.waiting(key)
        ground.witness.describe("Something else entirely")
        ground.desk.approve(row["id"])
        answer = held.answer()
    assert answer.refused
    assert ground.ran(key) == 0
    assert ground.desk.approval(row["id"])["state"] == "superseded"


def test_what_certainly_was_not_sent_is_given_back_to_its_limit(ground: Scene, key: str) -> None:
    limit = {"counter": "few", "window": "day", "max": 1, "scope": "grant"}
    ground.site.policy(tools={"limited": {"limits": [limit]}})
    with ground.agent(CLIENT) as agent:
        eventually(lambda: "limited" in ground.site.run("policy", "show").stdout)
        agent.tools()
        ground.witness.process.kill()
        ground.witness.process.wait(PATIENCE)
        unsent = eventually(
            lambda: next(
                (a for a in [agent.call("limited", key=key)] if "rule" not in a.text), None
            )
        )
        assert "Nothing was sent" in unsent.text
        port = int(ground.witness.url.split(":")[2].split("/")[0])
        with witness(ground.site.folder, port=port):
            assert not agent.call("limited", key=f"{key}-2").refused
            assert "Rate limit reached" in agent.call("limited", key=f"{key}-3").text


def test_one_tool_name_on_two_servers_is_two_tools(ground: Scene, key: str) -> None:
    ground.site.servers(witness={"url": ground.witness.url}, other={"url": ground.witness.url})
    ground.site.policy(tools={}, servers={"witness": {"tools": {"free": {}}}})
    ground.site.stop()
    ground.site.start()
    token = ground.site.grant("both")
    with ground.agent(CLIENT, token=token) as agent:
        assert not agent.call("free", key=key).refused
    headers = {"Authorization": f"Bearer {token}"}
    call = {"name": "free", "arguments": {"key": f"{key}-other"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    answer = httpx2.post(
        f"{ground.site.url}/mcp/other", json=message, headers=headers, timeout=PATIENCE
    )
    assert answer.json()["result"]["isError"]
    assert ground.ran(f"{key}-other") == 0


def test_what_the_rules_deny_after_a_start_is_superseded_though_nobody_saw_them_change(
    ground: Scene, key: str
) -> None:
    site = ground.site
    with ground.agent(CLIENT) as agent:
        agent.begin("held", key=key)
        row = ground.desk.waiting(key)
        agent.kill()
    site.kill()
    elsewhere = [{"path": "args.env", "op": "neq", "value": "prod"}]
    rule = {"conditions": elsewhere, "on_deny": "Say where."}
    site.policy(tools={"held": {"require": [rule]}})
    site.start()
    now = eventually(
        lambda: next(
            (one for one in [ground.desk.approval(row["id"])] if one["state"] != "pending"), None
        )
    )
    assert (now["state"], "Say where." in now["reason"]) == ("superseded", True)
    assert ground.ran(key) == 0
