"""An agent calls, a person decides in a browser, the agent is answered and the server ran it once;
also when the gateway dies in between. Everything real: `signoff up`, a server, an MCP client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from approvals.model import Role
from approvals.reviewers import People
from tests.support.agents import agent
from tests.support.live_gateway import Site, Witness, witness
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.browser


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Site, Witness, str]]:
    with witness(tmp_path) as server:
        site = Site(tmp_path, {"SIGNOFF_HOLD": "180"})
        site.policy(tools={"held": {"require_approval": {"reason": "A person decides."}}})
        site.servers(witness={"url": server.url})
        link_of(site, "root", "admin")
        token = site.grant("an agent")
        site.start()
        yield site, server, token
        site.stop()


def link_of(site: Site, name: str, role: Role = "approver") -> str:
    async def invite() -> str:
        with site.record() as database:
            return await People(database, database.clock).invite(name, role=role, url=site.page)

    with ThreadPoolExecutor(1) as aside:  # the browser's loop has this thread
        return str(aside.submit(asyncio.run, invite()).result(PATIENCE))


@contextmanager
def reviewing(browser: Browser, site: Site, name: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    said: list[Any] = []

    def heard(error: Any) -> None:  # playwright takes no built-in method
        said.append(error)

    page.on("pageerror", heard)
    page.goto(link_of(site, name))
    page.wait_for_url(site.page + "/")
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    yield page
    assert said == []
    context.close()


def test_what_a_person_approves_in_the_browser_runs_once_and_the_agent_is_answered(
    chromium: Browser, stage: tuple[Site, Witness, str], tmp_path: Path
) -> None:
    site, server, token = stage
    url, log = f"{site.url}/mcp/witness", tmp_path / "agent.log"
    with (
        reviewing(chromium, site, "alice") as page,
        agent("py2-modern", url, token, log=log) as caller,
    ):
        call = caller.begin("held", key="story")
        card = page.locator(".card", has_text="story")
        card.get_by_role("button", name="Approve").click()
        assert call.answer().text == "held story"
        expect(card).to_contain_text("Succeeded")
        denied = caller.begin("held", key="other")
        card = page.locator(".card", has_text="other")
        card.get_by_text("Deny…").click()
        card.get_by_label("Reason in your own words").fill("wrong day")
        card.get_by_role("button", name="Deny", exact=True).click()
        assert "wrong day" in denied.answer().text
    assert server.ran() == [("held", "story")]


def test_a_gateway_killed_with_the_page_open_loses_neither_call_nor_reviewer(
    chromium: Browser, stage: tuple[Site, Witness, str], tmp_path: Path
) -> None:
    site, server, token = stage
    url, log = f"{site.url}/mcp/witness", tmp_path / "agent.log"
    with reviewing(chromium, site, "alice") as page:
        with agent("py2-modern", url, token, log=log) as caller:
            caller.begin("held", key="survives")
            card = page.locator(".card", has_text="survives")
            expect(card.get_by_role("button", name="Approve")).to_be_enabled()
            site.kill()
            expect(page.locator("#live")).to_contain_text("Stale since")
            expect(card.get_by_role("button", name="Approve")).to_be_disabled()
        site.start()
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        card.get_by_role("button", name="Approve").click()
        expect(card).to_contain_text("Approved")
        with agent("py2-modern", url, token, log=log) as again:
            assert again.call("held", key="survives").text == "held survives"
        expect(card).to_contain_text("Succeeded")
    assert server.ran() == [("held", "survives")]
