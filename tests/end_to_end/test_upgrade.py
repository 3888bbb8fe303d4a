"""A gateway of the first edition is stopped, and today's started on its record: whatever waited is
decided and runs, no matter who might do something still may, and nothing is quarantined again.

`first_edition.json` is the record that one left after real use, its key, and the tokens it gave;
it is never made again. The clock of today's gateway stands a minute after the last of its rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import MetaData, insert

from approvals.record.engines import parse, writer_engine
from approvals.record.migrate import migrate
from tests.approvals.conftest import server, url  # noqa: F401 - fixtures
from tests.support.agents import Agent, agent
from tests.support.live_gateway import Site, Witness, eventually, witness
from tests.support.patience import PATIENCE
from tests.support.reviewer_desk import Desk

HERE = Path(__file__).parent
FIRST: dict[str, Any] = json.loads((HERE / "first_edition.json").read_text(encoding="utf-8"))
NAMES: dict[str, str] = FIRST["names"]
TOKENS: dict[str, str] = FIRST["tokens"]
REVISION = "0004"
THEN = FIRST["tables"]["history"][-1]["at"] + 60_000


def install(database: str) -> None:
    """The first edition's schema, and its rows as they were."""
    engine = writer_engine(parse(database), migrating=True)
    migrate(engine, to=REVISION)
    tables = MetaData()
    with engine.connect() as connection:
        tables.reflect(connection)
        connection.exec_driver_sql("BEGIN")
        for name, rows in FIRST["tables"].items():
            if name == "alembic_version":
                continue
            for row in rows:
                values = {column: _plain(value) for column, value in row.items()}
                connection.execute(insert(tables.tables[name]).values(values))
        connection.exec_driver_sql("COMMIT")
    engine.dispose()


def _plain(value: Any) -> Any:
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


@dataclass(frozen=True)
class Upgraded:
    """Today's gateway on that record, and the server it guards."""

    site: Site
    witness: Witness

    def desk(self, name: str) -> Desk:
        return Desk(self.site.url, TOKENS[name])

    def caller(self, name: str, server_name: str = "witness") -> Any:
        url_ = f"{self.site.url}/mcp/{server_name}"
        return agent("py2-modern", url_, TOKENS[name], log=self.site.folder / f"{name}.log")


@pytest.fixture
def upgraded(url: str, tmp_path: Path) -> Iterator[Upgraded]:  # noqa: F811
    install(url)
    with witness(tmp_path) as remembering:
        environ = {"SIGNOFF_DATABASE_URL": url, "SIGNOFF_HOLD": "180", "THEN": str(THEN)}
        site = Site(tmp_path / "site", environ, signoff=(sys.executable, str(HERE / "then.py")))
        site.data.mkdir(parents=True, mode=0o700)
        key = site.data / "signoff.key"
        key.touch(0o600)
        key.write_bytes(_plain(FIRST["key"]))
        (site.folder / "policy.json").write_text(json.dumps(FIRST["policy"]), encoding="utf-8")
        # `other` had changed its descriptions when the first edition was stopped.
        site.servers(witness={"url": remembering.url}, other={"url": remembering.url})
        site.start()
        try:
            yield Upgraded(site, remembering)
        finally:
            site.stop()


def test_what_the_first_edition_left_goes_on(upgraded: Upgraded) -> None:
    alice, bob, root = (upgraded.desk(name) for name in ("alice", "bob", "root"))
    assert {row["id"] for row in alice.everything()} >= {
        NAMES[name] for name in ("waiting", "quorum", "edited", "of second")
    }
    with upgraded.caller("agent") as caller:
        _what_was_approved_runs_once(caller, upgraded)
        _what_waits_is_decided_and_runs(caller, alice, bob)
        _what_is_over_stays_so(caller, upgraded)
    with upgraded.caller("second") as second:
        root.approve(NAMES["of second"])
        assert second.call("held", key="of second").text == "held of second"
    _who_may_still_may(upgraded)
    _the_freeze_stands_and_so_does_the_quarantine(upgraded)
    _the_history_is_whole(upgraded)
    for desk in (alice, bob, root):
        desk.close()


def _what_was_approved_runs_once(caller: Agent, upgraded: Upgraded) -> None:
    assert caller.call("held", key="approved", amount=3).text == "held approved"
    assert upgraded.witness.arguments() == [{"key": "approved", "amount": 3}]


def _what_waits_is_decided_and_runs(caller: Agent, alice: Desk, bob: Desk) -> None:
    alice.approve(NAMES["waiting"])
    bob.approve(NAMES["quorum"])  # alice's vote was given under the first edition
    alice.approve(NAMES["edited"])  # her earlier vote was for the revision before
    bob.approve(NAMES["edited"])
    assert caller.call("held", key="waiting", amount=10).text == "held waiting"
    assert caller.call("secret", key="quorum", amount=5).text == "secret quorum"
    assert caller.call("secret", key="edited", amount=5).text.startswith("secret edited")


def _what_is_over_stays_so(caller: Agent, upgraded: Upgraded) -> None:
    denied = caller.call("held", key="denied")
    assert denied.refused
    unknown = caller.call("slow", key="unfinished", seconds=60)
    assert unknown.refused
    ran = [key for _, key in upgraded.witness.ran()]
    assert sorted(ran) == ["approved", "edited", "quorum", "waiting"]
    assert upgraded.witness.arguments()[-1]["amount"] in (5, 7, 10)
    assert caller.call("limited", key="l2").text == "limited l2"


def _who_may_still_may(upgraded: Upgraded) -> None:
    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {TOKENS[token]}"}
        found = httpx2.get(f"{upgraded.site.url}/api/v1/me", headers=headers, timeout=PATIENCE)
        return found.status_code

    assert [status(name) for name in ("alice", "bob", "root", "gone")] == [200, 200, 200, 401]
    cookie = {"Cookie": f"signoff={TOKENS['session']}"}
    page = httpx2.get(upgraded.site.url, headers=cookie, timeout=PATIENCE, follow_redirects=False)
    assert page.status_code in (302, 303, 401)  # a session without a key of its page has ended
    message = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Authorization": f"Bearer {TOKENS['revoked']}"}
    revoked = httpx2.post(
        f"{upgraded.site.url}/mcp/witness", json=message, headers=headers, timeout=PATIENCE
    )
    assert revoked.status_code == 401


def _the_freeze_stands_and_so_does_the_quarantine(upgraded: Upgraded) -> None:
    with upgraded.caller("agent", "other") as caller:
        assert caller.call("free", key="frozen").refused
        upgraded.site.run("thaw", "server", "other", "--as", "root")
        quarantined = eventually(  # the running gateway hears of it from the record
            lambda: (
                "stopped this server" not in (told := caller.call("free", key="frozen")).text
                and told
            )
        )
    assert "must accept it first" in quarantined.text
    assert "frozen" not in [key for _, key in upgraded.witness.ran()]


def _the_history_is_whole(upgraded: Upgraded) -> None:
    eventually(lambda: upgraded.site.run("history", "verify").stdout.startswith("Intact"))
    audit = upgraded.site.folder / "audit"
    upgraded.site.run("history", "export", "-o", str(audit))
    script = subprocess.run(
        [sys.executable, "-I", str(audit / "verify.py"), str(audit)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert script.returncode == 0, script.stdout + script.stderr
