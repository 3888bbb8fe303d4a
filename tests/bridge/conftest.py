"""One gateway in front of four servers that know one era only: at a URL and as a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.bridge.crossing import Era, command, served
from tests.support.agents import Agent, agent
from tests.support.live_gateway import ROOT, Site, eventually
from tests.support.reviewer_desk import Desk, at_work

HOLD = 180  # seconds; longer than any wait of a test
POLICY: dict[str, Any] = {
    "approval": {"expires": "10m"},
    "tools": {
        "plain": {},
        "greet": {
            "approve_if": [{"conditions": [{"path": "args.key", "op": "regex", "value": "^held"}]}],
        },
        "whereabouts": {},
        "compose": {
            "require_approval": True,
            "approve_if": [
                {
                    "conditions": [{"path": "args.key", "op": "regex", "value": "^brief"}],
                    "hold": "1s",
                }
            ],
        },
        "slow": {"action": "deny", "reason": "Not for agents."},
    },
}
"""`compose` asks its agent after a person has approved it; a brief one is let go soon."""

ERAS: dict[str, Era] = {
    "old": "legacy",
    "old-pipe": "legacy",
    "new": "modern",
    "new-pipe": "modern",
}


@dataclass
class Scene:
    """A running gateway, the four servers, and the person who decides."""

    site: Site
    desk: Desk

    def url(self, server: str) -> str:
        return f"{self.site.url}/mcp/{server}"

    @contextmanager
    def agent(
        self, client: str, server: str, name: str = "Ada", token: str = ""
    ) -> Iterator[Agent]:
        """A client that answers what it is asked, in this name."""
        grant = token or self.site.grant(client)
        log = self.site.folder / f"{client}.log"
        with agent(client, self.url(server), grant, log=log, answer_as=name) as connected:
            yield connected

    def did(self, server: str, key: str) -> list[str]:
        """What the server did for this key, in order."""
        file = self.site.folder / f"{server}.jsonl"
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        seen = [json.loads(line) for line in text.splitlines()]
        return [line[0] for line in seen if line[2] == key]

    def approve(self, key: str) -> str:
        """Approve the call with this key, once it waits; its id."""
        row = eventually(lambda: next(iter(self.desk.pending(key)), None))
        self.desk.approve(row["id"])
        return str(row["id"])


@contextmanager
def scene_in(folder: Path) -> Iterator[Scene]:
    def by_pipe(server: str) -> dict[str, Any]:
        program, *args = [*command(ERAS[server], folder / f"{server}.jsonl"), "stdio"]
        return {"command": program, "args": args, "cwd": str(ROOT)}

    with (
        served("legacy", folder / "old.jsonl") as old,
        served("modern", folder / "new.jsonl") as new,
    ):
        site = Site(folder, {"SIGNOFF_HOLD": str(HOLD), "SIGNOFF_PROGRESS": "0.5"})
        site.policy(**POLICY)
        pipes = {name: by_pipe(name) for name in ("old-pipe", "new-pipe")}
        site.servers(old={"url": old}, new={"url": new}, **pipes)
        with at_work(site) as desk:
            yield Scene(site, desk)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("bridge")) as made:
        yield made
