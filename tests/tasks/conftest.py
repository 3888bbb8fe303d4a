"""One gateway in front of the server of jobs for each module of this folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.bare_agent import Agent
from tests.support.live_gateway import DEPLOYED, Site, eventually
from tests.support.reference_gateway import jobs
from tests.support.reviewer_desk import Desk, Row, at_work
from tests.support.task_server import TOOLS

HOLD = 180  # seconds; longer than any wait of a test
FLEETING: dict[str, Any] = {
    "conditions": [{"path": "args.kind", "op": "eq", "value": "fleeting"}],
    "expires": "1s",
}
HELD_KIND = {"path": "args.kind", "op": "eq", "value": "held"}
ONCE = {"counter": "once", "window": "day", "max": 1, "scope": "grant"}


def policy() -> dict[str, Any]:
    """Every tool is held; of kind `fleeting` only shortly. `steps` of kind "free" is not held."""
    held: dict[str, Any] = {
        name: {"require_approval": True, "approve_if": [FLEETING]} for name in TOOLS
    }
    held["steps"] = {"approve_if": [{"conditions": [HELD_KIND]}], "limits": [ONCE]}
    return {"default": "deny", "approval": {"expires": "10m"}, "tools": held}


@dataclass
class Scene:
    """A running gateway, what it guards, and the person who decides."""

    site: Site
    file: Path
    desk: Desk

    def agent(self, *, tasks: bool = True, token: str = "") -> Agent:
        url = f"{self.site.url}/mcp/jobs"
        return Agent(url, token or self.site.grant("agent"), tasks=tasks)

    def happened(self, what: str, key: object) -> int:
        """How often this was remembered of calls with this key."""
        return sum(1 for line in self.lines() if line[0] == what and line[2] == key)

    def lines(self) -> list[list[Any]]:
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]

    def pending(self, key: str) -> Row:
        """The approval that waits for a decision on the call with this key."""
        return eventually(lambda: next(iter(self.desk.pending(key)), None))

    def approve(self, key: str) -> Row:
        return self.desk.approve(self.pending(key)["id"])


@contextmanager
def scene_in(folder: Path, **environ: str) -> Iterator[Scene]:
    with jobs(folder / "jobs.jsonl") as url:
        site = Site(
            folder,
            {**DEPLOYED, "SIGNOFF_HOLD": str(HOLD), "SIGNOFF_PROGRESS": "0.5", **environ},
        )
        site.policy(**policy())
        site.servers(jobs={"url": url})
        with at_work(site) as desk:
            yield Scene(site, folder / "jobs.jsonl", desk)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("gateway")) as made:
        yield made
