"""A gateway does not start on rules no one can approve, and says so when that comes later."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httpx2
import pytest

from approvals.reviewers import People
from tests.support.live_gateway import DEPLOYED, Site, eventually
from tests.support.page_key import PageKey, sign_in
from tests.support.patience import PATIENCE

CAROL = {"pay": {"approve_if": [{"conditions": [], "reviewers": ["carol"]}]}}
ANYBODY = {"pay": {"require_approval": True}}
TWO = {"pay": {"approve_if": [{"conditions": [], "quorum": 2}]}}


def queue(site: Site, name: str) -> str:
    """The page this person finds after signing in."""
    link = site.run("reviewer", "link", name).stdout.strip()
    with httpx2.Client(base_url=site.url, timeout=PATIENCE, auth=PageKey()) as browser:
        assert sign_in(browser, link, site.url).status_code == 200
        return browser.get("/").text


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path, DEPLOYED)
    made.servers()
    return made


def ready(site: Site) -> dict[str, Any]:
    with urlopen(f"{site.url}/readyz", timeout=PATIENCE) as answer:  # noqa: S310 - our own gateway
        return dict(json.load(answer))


@pytest.mark.parametrize("there", [(), ("alice",)])
def test_a_rule_whose_reviewers_do_not_exist_refuses_the_start(
    site: Site, there: tuple[str, ...]
) -> None:
    site.policy(tools=CAROL)
    for name in there:
        site.reviewer(name)
    refused = site.run("up", check=False)
    assert refused.returncode == 3
    assert "/tools/pay/approve_if/0" in refused.stderr
    assert "signoff reviewer add carol" in refused.stderr
    added = site.run("reviewer", "add", "carol")
    assert added.returncode == 0
    site.start()
    assert ready(site)["reviewers"] == "ok"
    assert site.stop() == 0


def test_a_first_start_makes_the_one_person_its_rules_need(site: Site) -> None:
    site.policy(tools=ANYBODY)
    site.start()
    assert ready(site)["reviewers"] == "ok"
    site.stop()


def test_one_person_is_too_few_for_a_quorum_of_two(site: Site) -> None:
    site.policy(tools=TWO)
    assert "only 1 person may" in site.run("up", check=False).stderr
    site.reviewer("alice")
    assert "only 1 person may" in site.run("up", check=False).stderr
    site.reviewer("bob")
    site.start()
    site.stop()


def test_a_rule_saved_later_and_a_person_removed_later_are_told_loudly(site: Site) -> None:
    site.policy(tools=ANYBODY)
    site.reviewer("alice")
    site.start()
    try:
        site.policy(tools=CAROL)
        eventually(lambda: ready(site)["reviewers"] != "ok")
        assert ready(site)["ready"] is True
        assert "carol is no approver on record" in queue(site, "alice")
        assert '"policy.unstaffed"' in site.log()
        site.policy(tools=ANYBODY)
        eventually(lambda: ready(site)["reviewers"] == "ok")
        site.reviewer("bob", role="viewer")
        with site.record() as database:
            asyncio.run(People(database, database.clock).remove("alice"))
        eventually(lambda: ready(site)["reviewers"] != "ok")
    finally:
        site.stop()


def test_doctor_names_the_rule_nobody_can_approve(site: Site) -> None:
    site.policy(tools=CAROL)
    site.reviewer("alice")
    examined = json.loads(site.run("doctor", "--json", check=False).stdout)
    (check,) = (one for one in examined["checks"] if one["name"] == "reviewers")
    assert check["state"] == "broken"
    assert "/tools/pay/approve_if/0" in check["found"]
    assert check["do"] == "Add people: signoff reviewer add carol"
