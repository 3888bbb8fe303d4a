"""Runs the official suite against one URL and reads what it found.

Needs Node and what package-lock.json names; says why where it is missing. Knows no gateway.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
NODE: Final = HERE / "node_modules" / ".bin" / "node"
SUITE: Final = HERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
LEG_SECONDS: Final = 180
FOLDER: Final = re.compile(r"server-(.+?)-\d{4}-\d\d-\d\dT[\d-]+Z")

LOGGED: Final = frozenset(
    {"outgoing-request", "incoming-response", "incoming-sse-event", "stream-closed"}
)
"""Notes the suite takes on the way and writes among its checks."""

Check = tuple[str, str]
"""Id and status of one check; several may have the same."""


def missing() -> str:
    """Why the suite cannot run here; "" where it can."""
    if shutil.which("npm") is None:
        return "Node: npm is not installed"
    if not (NODE.exists() and SUITE.exists()):
        return "Node: run make setup-node"
    return ""


@dataclass(frozen=True)
class Leg:
    """What the suite found for one revision at one URL."""

    scenarios: Mapping[str, Counter[Check]]
    output: str

    @property
    def checks(self) -> int:
        """Checks that succeeded: what the suite prints as passed."""
        return sum(
            found[check] for found in self.scenarios.values() for check in found if check[1] == GOOD
        )

    def trouble(self) -> dict[str, list[Check]]:
        """Scenario to its checks that failed or gave a warning."""
        found = {
            scenario: sorted(check for check in checks if check[1] not in (GOOD, *NEUTRAL))
            for scenario, checks in self.scenarios.items()
        }
        return {scenario: checks for scenario, checks in found.items() if checks}


GOOD: Final = "SUCCESS"
NEUTRAL: Final = ("INFO", "SKIPPED")


def run(
    url: str, revision: str, folder: Path, *, usual: Mapping[str, list[Check]] | None = None
) -> Leg:
    """Every server scenario of `revision` against `url`; the suite's files go to `folder`.

    What is in trouble beyond the `usual` runs again, at most thrice: the suite gives some events
    half a second, which a machine that is busy with other tests may not have.
    """
    leg = _found(folder, _said(url, folder, "--suite", "all", "--spec-version", revision))
    for turn in range(3):
        troubled = [name for name in leg.trouble() if name not in (usual or {})]
        if not troubled:
            break
        files = folder / f"again{turn}"
        said = [
            _said(url, files, "--scenario", name, "--spec-version", revision) for name in troubled
        ]
        again = _found(files, "".join(said))
        leg = Leg({**leg.scenarios, **again.scenarios}, leg.output + again.output)
    return leg


def run_these(url: str, scenarios: Iterable[str], folder: Path) -> Leg:
    """These scenarios alone, one after the other: those of extensions belong to no revision."""
    said = [_said(url, folder, "--scenario", scenario) for scenario in scenarios]
    return _found(folder, "".join(said))


def _said(url: str, folder: Path, *which: str) -> str:
    done = subprocess.run(
        [str(NODE), str(SUITE), "server", "--url", url, *which, "-o", str(folder)],
        check=False, capture_output=True, text=True, timeout=LEG_SECONDS,
    )  # fmt: skip
    return done.stdout + done.stderr


def _found(folder: Path, output: str) -> Leg:
    scenarios = {}
    for file in sorted(folder.glob("*/checks.json")):
        named = FOLDER.fullmatch(file.parent.name)
        if named is None:
            raise RuntimeError(f"the suite wrote {file.parent.name}")
        checks = json.loads(file.read_text(encoding="utf-8"))
        scenarios[named[1]] = Counter(
            (check["id"], check["status"]) for check in checks if check["id"] not in LOGGED
        )
    return Leg(scenarios, output)
