"""The mission as one story, told by real parts: an MCP client, `signoff up`, a server that writes
down what it executed, Slack's protocol, a browser, the command line and the exported script.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.browser.test_whole_story import reviewing
from tests.slack.test_end_to_end import Town, apart  # noqa: F401 - a fixture
from tests.support.agents import Agent, Answer, agent
from tests.support.live_gateway import Site, Witness, witness
from tests.support.reviewer_desk import Desk

pytestmark = pytest.mark.browser
MINUTE = 60_000  # milliseconds
MOST = 60
POLICY: dict[str, Any] = {
    "default": "deny",
    "tools": {
        "close_session": {
            "limits": [{"counter": "closing", "window": "minute", "max": MOST, "scope": "grant"}]
        },
        "held": {"require_approval": {"reason": "A person decides."}},
    },
}


@pytest.fixture
def stage(apart: Town, tmp_path: Path) -> Iterator[tuple[Town, Site, Witness]]:  # noqa: F811
    """Slack, a server with an unlisted tool, and the gateway between them."""
    (tmp_path / "server").mkdir()
    with witness(tmp_path / "server", tools="close_session held unlisted") as server:
        site = apart.made()
        site.policy(**POLICY)
        site.servers(w={"url": server.url})
        site.start()
        try:
            apart.connected()
            yield apart, site, server
        finally:
            site.stop()


def test_the_mission(
    chromium: Browser,  # noqa: F811
    stage: tuple[Town, Site, Witness],
    tmp_path: Path,
) -> None:
    town, site, server = stage
    desk = Desk(site.url, site.reviewer("auditor", role="viewer"))
    log = tmp_path / "agent.log"
    with (
        reviewing(chromium, site, "carol") as page,
        agent("py2-modern", f"{site.url}/mcp/w", site.grant("an agent"), log=log) as caller,
    ):
        _sixty_a_minute_pass_and_the_next_is_told_when(caller, desk, server)
        refused = caller.call("unlisted", key="u")
        assert (refused.refused, refused.decision["verdict"]) == (True, "deny")
        in_slack = _approved_in_slack(caller, town)
        on_page = _approved_on_the_page(caller, page)
        denied = _denied_on_the_page(caller, page)
    ran = [key for tool, key in server.ran() if tool == "held"]
    assert ran == ["by slack", "by page"]
    assert "unlisted" not in [tool for tool, _ in server.ran()]
    _history_finds_who_decided(site, {"by slack": in_slack, "by page": on_page, "never": denied})
    _history_is_intact(site, tmp_path / "audit")
    desk.close()


def _sixty_a_minute_pass_and_the_next_is_told_when(
    caller: Agent, desk: Desk, server: Witness
) -> None:
    """Calls until one is refused, which a busy machine may not reach within one minute."""
    keys = (str(number) for number in range(20 * MOST))
    passed = 0
    refused: Answer | None = None
    for key in keys:
        answer = caller.call("close_session", key=key)
        if answer.refused:
            refused = answer
            break
        passed += 1
    assert refused is not None
    decision = refused.decision
    assert decision["verdict"] == "limited"
    assert 1 <= decision["retry_after_seconds"] <= 60
    assert f"{decision['retry_after_seconds']} s" in refused.text
    rows = desk.rows(tool="close_session")
    (limited,) = [row for row in rows if row["event"] == "limited"]
    within = [
        row
        for row in rows
        if row["event"] == "allowed" and row["at"] // MINUTE == limited["at"] // MINUTE
    ]
    assert len(within) == MOST
    assert len(server.ran()) == passed
    assert desk.everything() == []  # no person was asked
    assert desk.events(event="held") == []


def _approved_in_slack(caller: Agent, town: Town) -> str:
    call = caller.begin("held", key="by slack")
    card = town.card()
    town.deliver(town.press(card, "approval.approve"))
    assert call.answer().text == "held by slack"
    return "alice"


def _approved_on_the_page(caller: Agent, page: Page) -> str:
    call = caller.begin("held", key="by page")
    card = page.locator(".card", has_text="by page")
    card.get_by_role("button", name="Approve").click()
    assert call.answer().text == "held by page"
    expect(card).to_contain_text("Succeeded")
    return "carol"


def _denied_on_the_page(caller: Agent, page: Page) -> str:
    call = caller.begin("held", key="never")
    card = page.locator(".card", has_text="never")
    card.get_by_text("Deny…").click()
    card.get_by_label("Reason in your own words").fill("not this one")
    card.get_by_role("button", name="Deny", exact=True).click()
    answer = call.answer()
    assert (answer.refused, "not this one" in answer.text) == (True, True)
    return "carol"


def _history_finds_who_decided(site: Site, decided: dict[str, str]) -> None:
    """By the call's own words to its rows, and from there to the person."""
    for key, person in decided.items():
        found = json.loads(site.run("history", "list", "--grep", key, "--json").stdout)["items"]
        (approval,) = {row["approval_id"] for row in found if row["event"] == "held"}
        rows = json.loads(site.run("history", "list", "--approval", approval, "--json").stdout)[
            "items"
        ]
        word = "denied" if key == "never" else "approved"
        (decision,) = [row for row in rows if row["event"] in ("approved", "denied")]
        assert (decision["event"], decision["actor"]) == (word, person)
        ran = [row["event"] for row in rows].count("claimed")
        assert ran == (0 if key == "never" else 1)


def _history_is_intact(site: Site, audit: Path) -> None:
    assert site.run("history", "verify").stdout.startswith("Intact")
    site.run("history", "export", "-o", str(audit))
    script = subprocess.run(
        [sys.executable, "-I", str(audit / "verify.py"), str(audit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert script.returncode == 0, script.stdout + script.stderr
