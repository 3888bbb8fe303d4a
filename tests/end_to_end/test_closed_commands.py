"""SIGNOFF_CLI_DECIDES=false locks no one out: its first start says who still may."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from approvals.reviewers import People
from gateway.enforcement.confirmations import commands_decide
from tests.end_to_end.test_confirming import RULES, Admin
from tests.support.live_gateway import Site, eventually

TOKEN = re.compile(r"rvt_[\w-]+")
VARIABLE = "SIGNOFF_REVIEWER_TOKEN"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, {"SIGNOFF_CLI_DECIDES": "false"})
    made.policy(**RULES)
    made.servers()
    yield made
    if made.process is not None:
        made.stop()


def start(site: Site) -> None:
    """Start the gateway, and have it say all that it says."""
    before = len(site.said)
    site.start()
    last = ("Connect", "Sign in   signoff")
    eventually(lambda: any(line.startswith(last) for line in site.said[before:]))


def tokens(site: Site) -> list[str]:
    return TOKEN.findall("".join(site.said))


def decides(site: Site) -> bool:
    with site.record() as database:
        return asyncio.run(commands_decide(database))


def with_token(site: Site, token: str) -> Site:
    """The same folder, where commands hold this token."""
    return Site(site.folder, {**site.environ, VARIABLE: token}, port=site.port)


def test_the_first_start_prints_an_administrators_token_which_opens_the_commands(
    site: Site,
) -> None:
    start(site)
    [token] = tokens(site)
    refused = site.run("reviewer", "link", "admin", check=False)
    assert refused.returncode == 4
    assert "Do it on the page" not in refused.stderr  # which makes no links
    assert f"an administrator's token in {VARIABLE}" in refused.stderr
    mine = with_token(site, token)
    assert "/signin#lnk_" in mine.run("reviewer", "link", "admin").stdout
    mine.run("reviewer", "add", "bob")
    assert TOKEN.search(mine.run("reviewer", "token", "bob").stdout)
    site.stop()
    start(site)
    assert tokens(site) == [token]  # no later start gives one away
    assert f"signoff reviewer link admin   (with an administrator's token in {VARIABLE})" in (
        "".join(site.said)
    )


def test_an_administrator_who_is_signed_in_makes_a_token_on_the_page(site: Site) -> None:
    start(site)
    with Admin(site) as admin:
        page = admin.page("/agents")
        made = admin.press("/agents/token", page, "csrf")
        [token] = set(TOKEN.findall(made.text))
        assert "claude mcp add" not in made.text
    assert "/signin#lnk_" in with_token(site, token).run("reviewer", "link", "root").stdout


def test_a_start_says_when_no_administrator_holds_a_token_any_more(site: Site) -> None:
    start(site)
    with site.record() as database:
        [token] = tokens(site)
        asyncio.run(People(database, database.clock).end(token))
    site.stop()
    start(site)
    warned = "no administrator holds one: anyone who is signed in makes it on the page"
    eventually(lambda: any(warned in line for line in site.said))
    assert tokens(site) == [token]


def people(site: Site, **roles: str) -> None:
    async def add(people: People) -> None:
        for name, role in roles.items():
            await people.add(name, role=role)  # type: ignore[arg-type]  # one of the three

    with site.record() as database:
        asyncio.run(add(People(database, database.clock)))


def test_a_later_start_that_closes_the_commands_leaves_an_administrator_a_token(
    site: Site,
) -> None:
    people(site, alice="admin", bob="approver")
    start(site)
    [token] = tokens(site)
    me = httpx2.get(f"{site.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["id"] == "alice"
    assert not decides(site)


def test_a_start_that_would_lock_everybody_out_is_refused(site: Site) -> None:
    people(site, bob="approver")
    refused = site.run("up", check=False)
    assert refused.returncode == 3
    assert "signoff reviewer add NAME --role admin" in refused.stderr
    assert decides(site)


def test_a_start_in_an_empty_folder_names_init(tmp_path: Path) -> None:
    refused = Site(tmp_path).run("up", check=False)
    assert refused.returncode == 3
    assert "signoff init" in refused.stderr


def test_an_approver_beside_the_only_administrator_does_not_make_it_unclear_who_is_meant(
    tmp_path: Path,
) -> None:
    site = Site(tmp_path)
    site.policy(**RULES)
    people(site, alice="admin", bob="approver")
    unknown = site.run("tools", "class", "crm", "look", "read", check=False)
    assert "never listed a tool look" in unknown.stderr  # it came as far as the tool
    pinned = site.run("tools", "pin", "crm", "look", check=False)
    assert "never listed" in pinned.stderr
