"""The official suite's scenarios of the tasks extension, in front of a server without a runtime for
tasks: the gateway holds its calls, someone approves them after 50 ms, and the gateway runs them.

`greet` is allowed, as the suite wants a call that is no task; so is `test_tool_with_task`, whose
task is the server's own and passes through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from tests.conformance import suite
from tests.support.reference_gateway import approving, gateway, jobs

WHY_NOT: Final = suite.missing()
pytestmark = [
    pytest.mark.node,
    pytest.mark.xdist_group("conformance"),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "Node"),
]

SCENARIOS: Final = (
    "tasks-lifecycle",
    "tasks-capability-negotiation",
    "tasks-wire-fields",
    "tasks-request-state-removal",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-dispatch-and-envelope",
    "tasks-required-task-error",
    "tasks-mrtr-composition",
)
"""All but tasks-status-notifications, which the suite itself skips: see test_listening."""

CHECKS: Final = 44

HELD: Final = ("slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input")


def test_calls_that_are_held_and_approved_pass_every_tasks_scenario(tmp_path: Path) -> None:
    tools: dict[str, Any] = {name: {"require_approval": True} for name in HELD}
    with (
        jobs(tmp_path / "jobs.jsonl") as url,
        gateway(tmp_path, {"url": url}, tools=tools) as front,
        approving(front.site) as desk,
    ):
        found = suite.run_these(front.url, SCENARIOS, tmp_path / "found")
        unasked = [tool for tool in HELD if desk.events(event="allowed", tool=tool)]
        never = [tool for tool in HELD if not desk.events(event="claimed", tool=tool)]
    assert found.trouble() == {}, found.output
    assert (len(found.scenarios), found.checks) == (len(SCENARIOS), CHECKS), found.output
    assert (unasked, never) == ([], [])
