"""What agents can write into policy.json and servers.json opens nothing until someone confirms."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx2
import pytest

from approvals.reviewers import People
from tests.end_to_end.conftest import Scene
from tests.support.live_gateway import Site, eventually, witness
from tests.support.page_key import PageKey, sign_in
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import at_work

pytestmark = pytest.mark.xdist_group("confirming")
CLIENT = "py2-modern"
RULES: dict[str, Any] = {"tools": {"held": {"require_approval": True}, "free": {}}}
OPEN: dict[str, Any] = {"default": "allow", "tools": {}}
MARK = """import pathlib, sys
pathlib.Path(sys.argv[1]).touch()
"""


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Scene]:
    """A gateway of this test's own."""
    with witness(tmp_path) as server:
        site = Site(tmp_path, {"SIGNOFF_HOLD": "2", "SIGNOFF_PROGRESS": "0.5"})
        site.policy(**RULES)
        site.servers(witness={"url": server.url})
        with at_work(site) as desk:
            yield Scene(site, server, desk)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def readiness(site: Site, part: str = "policy") -> str:
    found: dict[str, Any] = httpx2.get(f"{site.url}/readyz", timeout=30).json()
    return str(found[part])


def waits(site: Site, part: str = "policy") -> bool:
    return "to be confirmed" in readiness(site, part)


def digest(site: Site) -> str:
    return hashlib.sha256((site.folder / "policy.json").read_bytes()).hexdigest()


class Admin:
    """An administrator's browser without script."""

    def __init__(self, site: Site) -> None:
        with site.record() as database:
            people = People(database, database.clock)

            async def invite() -> str:
                await people.add("root", role="admin")
                return await people.invite("root", url=site.url)

            link = asyncio.run(invite())
        self.http = httpx2.Client(
            base_url=site.url, headers={"Origin": site.url}, timeout=PATIENCE, auth=PageKey()
        )
        assert sign_in(self.http, link, site.url).status_code == 200

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def page(self, path: str) -> str:
        answer = self.http.get(path)
        answer.raise_for_status()
        return answer.text

    def field(self, page: str, name: str) -> str:
        return page.rpartition(f'name="{name}" value="')[2].partition('"')[0]

    def press(self, path: str, page: str, *names: str) -> httpx2.Response:
        return self.http.post(path, data={name: self.field(page, name) for name in names})


def test_a_file_that_opens_waits_and_a_terminal_confirms_it(ground: Scene, key: str) -> None:
    site = ground.site
    with ground.agent(CLIENT) as agent:
        site.policy(**OPEN)
        eventually(lambda: waits(site), PATIENCE)
        refused = agent.call("held", key=key)
        assert refused.decision["verdict"] == "hold"
        assert ground.ran(key) == 0
        assert "policy.waiting" in site.log()
        assert "policy_waiting" in ground.desk.events()

        unseen = site.run("policy", "confirm", check=False)
        assert (unseen.returncode, f"--hash {digest(site)}" in unseen.stderr) == (2, True)
        assert "tools listed nowhere" in unseen.stdout  # shown first, then refused
        assert digest(site) in unseen.stdout
        other = site.run("policy", "confirm", "--yes", "--hash", "0" * 12, check=False)
        assert (other.returncode, "another text" in other.stderr) == (4, True)
        assert "default" in other.stdout
        assert waits(site)

        said = site.run("policy", "confirm", "--yes", "--hash", digest(site)).stdout
        assert "It may open:" in said
        eventually(lambda: readiness(site) == "ok", PATIENCE)
        assert not agent.call("held", key=key).refused
    row = next(row for row in ground.desk.rows(event="policy_confirmed") if row["via"] == "cli")
    assert "default" in row["reason"] or "nowhere" in row["reason"]


def test_a_file_that_only_closes_counts_at_once_and_what_was_confirmed_comes_back_with_it(
    ground: Scene, key: str
) -> None:
    site = ground.site
    with ground.agent(CLIENT) as agent:
        site.policy(tools={**RULES["tools"], "free": {"action": "deny", "reason": "Not now."}})
        eventually(lambda: agent.call("free", key=key).refused, PATIENCE)
        assert readiness(site) == "ok"
        site.policy(**RULES)  # what was confirmed is no opening
        eventually(lambda: not agent.call("free", key=key).refused, PATIENCE)


def test_what_closed_stays_closed_when_a_file_that_opens_waits_over_a_restart(
    ground: Scene, key: str
) -> None:
    site = ground.site
    closed = {**RULES, "hide": ["free"]}
    site.policy(**closed)
    with ground.agent(CLIENT) as agent:
        eventually(lambda: agent.call("free", key=key).refused, PATIENCE)
    eventually(lambda: "policy_closed" in ground.desk.events(), PATIENCE)
    site.policy(**closed, default="allow")
    eventually(lambda: waits(site), PATIENCE)
    site.stop()
    site.start()
    with ground.agent(CLIENT) as agent:
        assert agent.call("free", key=key).refused
    site.stop()
    (site.folder / "policy.json").unlink()
    site.start()
    with ground.agent(CLIENT) as agent:
        assert agent.call("free", key=key).refused
        site.policy(**RULES)  # what was confirmed: nothing closes more any longer
        eventually(lambda: not agent.call("free", key=key).refused, PATIENCE)
    again = "The file says again what was confirmed."
    eventually(lambda: again in str(ground.desk.rows(event="policy_closed")), PATIENCE)
    site.run("history", "verify")
    site.stop()
    site.policy(**OPEN)
    site.start()
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key + "2").refused
        assert agent.call("held", key=key).decision["verdict"] == "hold"


def test_what_closed_counts_no_more_once_something_else_is_confirmed(
    ground: Scene, key: str
) -> None:
    site = ground.site
    site.policy(**RULES, hide=["free"])
    eventually(lambda: "policy_closed" in ground.desk.events(), PATIENCE)
    site.policy(**OPEN)
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    site.policy(**RULES)
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    site.stop()
    site.start()
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused


def test_a_closing_text_taken_out_of_the_record_stops_the_start(ground: Scene, key: str) -> None:
    """With a database account, and without the key."""
    site = ground.site
    site.policy(**RULES, hide=["free"])
    eventually(lambda: "policy_closed" in ground.desk.events(), PATIENCE)
    site.stop()
    with sqlite3.connect(site.data / "signoff.db") as database:
        database.execute("DELETE FROM setting WHERE key = 'confirmed:closing'")
    site.policy(**RULES)
    refused = site.run("up", check=False)
    assert refused.returncode == 3
    assert "signoff policy confirm" in refused.stderr
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    site.start()
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused


def test_the_terminal_of_up_leads_with_what_opens_and_says_when_it_is_confirmed(
    ground: Scene,
) -> None:
    site = ground.site

    def said() -> str:
        return "".join(site.said)

    closed = {**RULES, "hide": ["other", "more"]}
    site.policy(**closed)
    eventually(lambda: "confirm to keep it: signoff policy confirm" in said(), PATIENCE)
    site.policy(**closed, default="allow")
    eventually(
        lambda: "may open: tools listed nowhere: deny -> allow and 2 more" in said(), PATIENCE
    )
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    eventually(
        lambda: "Confirmed policy.json says what was confirmed, and is in force" in said(), PATIENCE
    )


def test_the_page_says_of_a_closing_file_that_it_counts_and_how_to_keep_it(
    ground: Scene, stack: ExitStack
) -> None:
    site = ground.site
    admin = stack.enter_context(Admin(site))
    site.policy(**RULES, hide=["free"])
    eventually(lambda: "Confirm to keep it" in admin.page("/"), PATIENCE)
    assert 'href="/policy/confirm"' in admin.page("/")
    shown = admin.page("/policy/confirm")
    assert "it counts at once" in shown
    assert "nothing of it counts" not in shown
    assert "free: is hidden now" in shown
    assert "What may open" not in shown
    assert "waits until an administrator confirms" in admin.page("/policy")
    site.policy(hide=["free"], tools={**RULES["tools"], "held": {}})
    eventually(lambda: waits(site), PATIENCE)
    shown = admin.page("/policy/confirm")
    opens, others = shown.partition("What may open")[2].split("What else changes")
    assert "held: removed: needs approval always" in opens
    assert "approve_if" not in opens
    assert "free: is hidden now" in others
    assert "what an earlier edit closed besides stays closed" in shown
    assert "may open: held: removed" in admin.page("/")


def test_show_and_explain_speak_of_the_rules_in_force_while_a_file_waits(ground: Scene) -> None:
    site = ground.site
    site.policy(**OPEN)
    eventually(lambda: waits(site), PATIENCE)
    shown = site.run("policy", "show")
    assert json.loads(shown.stdout)["default"] == "deny"
    assert shown.stderr.startswith("This is in force: what was confirmed.")
    explained = site.run("policy", "explain", "held", "--server", "witness", "--json")
    assert '"hold"' in explained.stdout
    assert "waits to be confirmed" in explained.stderr
    verdicts = {one["verdict"] for one in json.loads(site.run("tools", "--json").stdout)["items"]}
    assert verdicts <= {"allow", "hold", "deny"}
    named = site.run("policy", "show", str(site.folder / "policy.json"))
    assert json.loads(named.stdout)["default"] == "allow"
    assert named.stderr == ""
    site.policy(**RULES, hide=["free"])
    eventually(lambda: "policy_closed" in ground.desk.events(), PATIENCE)
    shown = site.run("policy", "show")
    assert json.loads(shown.stdout)["hide"] == ["free"]
    assert "closes more than what was confirmed" in shown.stderr
    (site.folder / "policy.json").write_text("{")
    eventually(lambda: "has errors" in readiness(site), PATIENCE)
    shown = site.run("policy", "show")
    assert json.loads(shown.stdout)["hide"] == ["free"]


def test_the_terminal_says_that_a_file_waits_for_want_of_people_as_the_gateway_does(
    ground: Scene,
) -> None:
    """It names no one else, and too few."""
    site = ground.site
    pair: dict[str, Any] = {"reviewers": ["root", "carol"]}
    site.stop()
    site.reviewer("root", "admin")
    site.start()
    site.policy(tools={"held": {"require_approval": pair}})
    site.run("policy", "confirm", "--as", "root", "--yes", "--hash", digest(site))
    site.policy(tools={"held": {"require_approval": {"reviewers": ["carol"]}}})
    eventually(lambda: waits(site), PATIENCE)
    unseen = site.run("policy", "confirm", "--as", "root", check=False)
    assert "It may open:\n  too few people are left to reach a quorum" in unseen.stdout
    assert "too few people are left" in site.run("doctor", check=False).stdout


def test_nobody_confirms_what_nobody_was_shown_and_nothing_waiting_is_said_so(
    ground: Scene,
) -> None:
    nothing = ground.site.run("policy", "confirm")
    assert "nothing waits" in nothing.stderr
    assert "nothing waits" in ground.site.run("server", "confirm").stderr.lower()


def test_a_start_goes_by_what_was_confirmed_and_not_by_the_file(ground: Scene, key: str) -> None:
    site = ground.site
    site.stop()
    site.policy(**OPEN)
    site.start()
    assert waits(site)
    with ground.agent(CLIENT) as agent:
        assert agent.call("held", key=key).decision["verdict"] == "hold"
    assert ground.ran(key) == 0
    site.stop()
    (site.folder / "policy.json").unlink()
    site.start()
    with ground.agent(CLIENT) as agent:
        assert not agent.call("free", key=key).refused


def test_an_older_text_put_back_into_the_record_is_none(ground: Scene, key: str) -> None:
    """With a database account, and without the key."""
    site = ground.site

    def stored() -> tuple[Any, ...]:
        with sqlite3.connect(site.data / "signoff.db") as database:
            query = "SELECT * FROM setting WHERE key = 'confirmed:policy'"
            return tuple(database.execute(query).fetchone())

    site.policy(**OPEN)
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    opened = stored()
    site.policy(**RULES)
    site.run("policy", "confirm", "--yes", "--hash", digest(site))
    site.stop()
    with sqlite3.connect(site.data / "signoff.db") as database:
        database.execute("DELETE FROM setting WHERE key = 'confirmed:policy'")
        marks = ", ".join("?" * len(opened))
        database.execute(f"INSERT INTO setting VALUES ({marks})", opened)  # noqa: S608 - marks
    site.start()  # the file is what was confirmed last, so there are rules to go by
    with ground.agent(CLIENT) as agent:
        assert agent.call("held", key=key).decision["verdict"] == "hold"
    site.stop()
    site.policy(**OPEN)
    refused = site.run("up", check=False)
    assert refused.returncode == 3
    assert "signoff policy confirm" in refused.stderr


def test_an_administrator_confirms_on_the_page_exactly_what_was_shown(
    ground: Scene, key: str, stack: ExitStack
) -> None:
    site = ground.site
    admin = stack.enter_context(Admin(site))
    site.policy(**OPEN)
    eventually(lambda: waits(site), PATIENCE)
    assert "/policy/confirm" in admin.page("/")  # the banner
    shown = admin.page("/policy/confirm")
    assert "tools listed nowhere" in shown
    site.policy(**OPEN, hide=["secret"])
    late = admin.press("/policy/confirm", shown, "csrf", "revision")
    assert late.status_code == 409
    assert waits(site)
    # Saving on the page on top of it would confirm it with the rest, unseen.
    text = admin.page("/policy/text")
    body = {"csrf": admin.field(text, "csrf"), "revision": digest(site), "do": "save"}
    top = {**OPEN, "version": "1", "description": "Mine."}
    form = {name: (None, value) for name, value in {**body, "text": json.dumps(top)}.items()}
    assert admin.http.post("/policy/text", files=form).status_code == 409
    assert waits(site)
    shown = admin.page("/policy/confirm")
    assert admin.press("/policy/confirm", shown, "csrf", "revision").status_code == 303
    assert readiness(site) == "ok"
    with ground.agent(CLIENT) as agent:
        assert not agent.call("held", key=key).refused


def test_what_the_page_saves_is_confirmed_with_it(ground: Scene, stack: ExitStack) -> None:
    site = ground.site
    admin = stack.enter_context(Admin(site))
    text = admin.page("/policy/text")
    wanted = {"version": "1", **OPEN}
    body = {
        "csrf": admin.field(text, "csrf"),
        "revision": digest(site),
        "do": "save",
        "text": json.dumps(wanted),
    }
    form = {name: (None, value) for name, value in body.items()}
    assert admin.http.post("/policy/text", files=form).status_code == 303
    assert readiness(site) == "ok"
    site.stop()
    site.start()
    assert readiness(site) == "ok"


def test_a_command_or_url_that_is_new_or_changed_is_not_used_until_it_is_confirmed(
    ground: Scene, key: str, stack: ExitStack
) -> None:
    site, mark = ground.site, ground.site.folder / "started"
    site.stop()
    (site.folder / "mark.py").write_text(MARK, encoding="utf-8")
    evil = {"command": sys.executable, "args": [str(site.folder / "mark.py"), str(mark)]}
    with witness(site.folder) as moved:
        site.servers(witness={"url": moved.url}, evil=evil)
        site.start()
        assert waits(site, "servers")
        admin = stack.enter_context(Admin(site))
        token = site.grant("both")
        with pytest.raises(RuntimeError), ground.agent(CLIENT, token=token) as agent:
            agent.call("free", key=key)
        assert ground.ran(key) == 0
        assert moved.ran() == []
        listed = json.loads(site.run("server", "list", "--json").stdout)["items"]
        assert [(one["name"], one["state"]) for one in listed] == [
            ("witness", "waits"),
            ("evil", "waits"),
        ]
        digests = {one["name"]: one["hash"] for one in listed}
        unclear = site.run("server", "confirm", check=False)
        assert unclear.returncode == 2
        named = ("--as", "root", "--yes", "--hash", digests["witness"])
        site.run("server", "confirm", "witness", *named)
        eventually(lambda: "/servers/confirm?server=witness" not in admin.page("/"), PATIENCE)
        with ground.agent(CLIENT, token=token) as agent:
            assert not agent.call("free", key=key).refused
        assert not mark.exists()
        # On the page, while it runs.
        shown = admin.page("/servers/confirm?server=evil")
        assert "mark.py" in shown
        pressed = admin.press("/servers/confirm", shown, "csrf", "server", "revision")
        assert pressed.status_code == 303
        assert not waits(site, "servers")
        site.stop()
        site.start()
        assert not waits(site, "servers")


def test_whoever_deploys_the_files_has_them_count_as_they_are(tmp_path: Path, key: str) -> None:
    with witness(tmp_path) as server:
        site = Site(tmp_path, {"SIGNOFF_POLICY_TRUST": "file", "SIGNOFF_HOLD": "1"})
        site.policy(**RULES)
        site.servers()
        with at_work(site) as desk:
            scene = Scene(site, server, desk)
            site.stop()
            site.servers(witness={"url": server.url})
            site.start()
            with scene.agent(CLIENT) as agent:
                assert agent.call("held", key=key).refused
                site.policy(**OPEN)
                eventually(lambda: not agent.call("held", key=key).refused, PATIENCE)


def test_the_file_of_settings_cannot_lower_the_guard(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.policy(**RULES)
    site.servers()
    for line in ('policy_trust = "file"', "cli_decides = true"):
        (tmp_path / "signoff.toml").write_text(line, encoding="utf-8")
        refused = site.run("up", check=False)
        assert refused.returncode == 3
        assert "may not set" in refused.stderr
