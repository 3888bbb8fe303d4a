"""A server made by others and started as a command: mcp-server-git on a scratch repository."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.agents import agent
from tests.support.live_gateway import Site, eventually
from tests.support.reviewer_desk import Desk, at_work

pytestmark = pytest.mark.xdist_group("every_client")


@dataclass(frozen=True)
class Repository:
    """A scratch repository behind a gateway."""

    path: Path
    site: Site
    desk: Desk

    def commits(self) -> list[str]:
        return git(self.path, "log", "--format=%s").splitlines()


def git(path: Path, *args: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), *args], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    folder = tmp_path_factory.mktemp("git")
    path = folder / "repository"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    git(path, "config", "user.name", "Agent")
    git(path, "config", "user.email", "agent@example.com")
    git(path, "commit", "--quiet", "--allow-empty", "--message=Begin")
    site = Site(folder, {"SIGNOFF_HOLD": "180"})
    site.policy(
        hide=["git_checkout"],
        tools={
            "git_status": {},
            "git_reset": {"action": "deny", "reason": "Not for agents."},
            "git_commit": {"require_approval": {"reason": "Commits need a person."}},
        },
    )
    command = str(Path(sys.executable).parent / "mcp-server-git")
    site.servers(git={"command": command, "args": ["--repository", str(path)]})
    with at_work(site) as desk:
        yield Repository(path, site, desk)


@pytest.fixture
def repository(guarded: Repository) -> Repository:
    """With its gateway running, also after a test that stopped it."""
    process = guarded.site.process
    if process is None or process.poll() is not None:
        guarded.site.start()
    return guarded


@pytest.mark.parametrize("client", ["py2-legacy", "py2-modern", "ts1"])
def test_a_command_server_is_guarded_like_any_other(repository: Repository, client: str) -> None:
    site, desk = repository.site, repository.desk
    where, subject = str(repository.path), f"By {client}"
    (repository.path / client).write_text("new\n", encoding="utf-8")
    git(repository.path, "add", ".")
    url, token = f"{site.url}/mcp/git", site.grant(client)
    with agent(client, url, token, log=site.folder / "agents.log") as connected:
        listed = connected.tools()
        assert "git_checkout" not in listed
        assert {"git_status", "git_commit", "signoff_await_approval"} <= set(listed)
        assert client in connected.call("git_status", repo_path=where).text
        denied = connected.call("git_reset", repo_path=where)
        assert denied.text == "Policy violation: Not for agents. (rule /tools/git_reset)"
        held = connected.begin("git_commit", repo_path=where, message=subject)
        row = desk.waiting(subject)
        assert subject not in repository.commits()
        site.run("approve", row["id"], "--as", "alice", "--yes", "--hash", row["digest"])
        answer = held.answer()
        assert (answer.refused, "committed" in answer.text) == (False, True)
    assert repository.commits().count(subject) == 1
    eventually(lambda: desk.approval(row["id"])["delivery"] == "delivered")


@pytest.mark.parametrize("client", ["py2-legacy", "ts1"])
def test_a_stop_ends_the_streams_that_agents_keep_open(repository: Repository, client: str) -> None:
    site, where = repository.site, str(repository.path)
    url, token = f"{site.url}/mcp/git", site.grant(client)
    with agent(client, url, token, log=site.folder / "agents.log") as connected:
        held = connected.begin("git_commit", repo_path=where, message=f"Stopped {client}")
        repository.desk.waiting(f"Stopped {client}")
        assert site.stop() == 0
        assert held.answer().decision["status"] == "pending"
    assert "Traceback" not in site.log()
    assert (
        "graceful shutdown exceeded" not in site.log()
    )  # what the server says of what it had to cut
