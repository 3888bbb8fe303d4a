"""What the demo plays on: a repository to commit to, a policy of each kind, and the proof."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from approvals.record.history import Intact, verify
from gateway.app import Gateway
from gateway.cli.exits import Exit, Stop
from gateway.settings import Settings

SERVER = "git"
POLICY: dict[str, Any] = {
    "version": "1",
    "description": "The demo: one rule of each kind.",
    "default": "deny",
    "hide": ["git_checkout"],
    "tools": {
        "git_status": {},
        "git_diff_unstaged": {},
        "git_log": {
            "limits": [{"counter": "git_log_rate", "window": "minute", "max": 1, "scope": "grant"}]
        },
        "git_commit": {
            "approve_if": [{"conditions": [], "reason": "Commits need a person.", "risk": "medium"}]
        },
        "git_reset": {"action": "deny", "reason": "Resetting is not for agents."},
    },
}


@dataclass(frozen=True, slots=True)
class Scratch:
    """The demo's folder."""

    repository: Path
    settings: Settings


async def proof(gateway: Gateway, scratch: Scratch, *, committed: bool) -> bool:
    """Show, and check, what really happened: in the repository and in the history."""
    commits = int(_git(scratch.repository, "rev-list", "--count", "HEAD"))
    found = await gateway.database.read(
        lambda connection: verify(connection, gateway.database.keys)
    )
    intact = isinstance(found, Intact)
    print(f"\nCommits in the repository: {commits} (1 before the agent came).")
    print(
        f"History: {found.rows} rows, intact." if isinstance(found, Intact) else f"History: {found}"
    )
    return intact and commits == (2 if committed else 1)


def scratch_in(folder: Path, port: int, *, busy: bool) -> Scratch:
    """A repository to commit to, and the settings of a gateway before it."""
    repository = folder / "repository"
    repository.mkdir()
    _git(repository, "init", "--quiet", "--initial-branch=main")
    _git(repository, "config", "user.name", "Demo Agent")
    _git(repository, "config", "user.email", "agent@example.com")
    (repository / "README.md").write_text("# Scratch\n", encoding="utf-8")
    _git(repository, "add", ".")
    _git(repository, "commit", "--quiet", "--message", "Begin")
    (repository / "README.md").write_text("# Scratch\n\nBy an agent.\n", encoding="utf-8")
    _git(repository, "add", ".")
    beside = Path(sys.executable).parent / "mcp-server-git"
    command = str(beside) if beside.exists() else shutil.which("mcp-server-git")
    entry = (
        {"command": command, "args": ["--repository", str(repository)]}
        if command is not None
        else {"command": "uvx", "args": ["mcp-server-git", "--repository", str(repository)]}
    )
    servers, policy = folder / "servers.json", folder / "policy.json"
    servers.write_text(json.dumps({"mcpServers": {SERVER: entry}}), encoding="utf-8")
    policy.write_text(json.dumps(_policy(busy=busy), indent=2), encoding="utf-8")
    settings = Settings(port=port, data=folder / "data", servers=servers, policy=policy, log="text")
    return Scratch(repository, settings)


def _policy(*, busy: bool) -> dict[str, Any]:
    if not busy:
        return POLICY
    from gateway.cli.demo.busy import RULES

    return {**POLICY, "tools": {**POLICY["tools"], **RULES}}


def _git(repository: Path, *args: str) -> str:
    if shutil.which("git") is None:
        raise Stop(Exit.USAGE, "The demo needs git: install it and try again.")
    done = subprocess.run(
        ["git", "-C", str(repository), *args], check=True, capture_output=True, text=True
    )
    return done.stdout


def say(text: str) -> None:
    """One line of the demo's agent."""
    print(f"  {text}", flush=True)
