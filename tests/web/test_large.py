"""Large foreign text is never scanned on the event loop: reviewers and agents share it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from approvals import execution
from approvals.aside import LARGE
from approvals.digest import canonical
from approvals.model import Choice, Execution, Terms, Vote
from approvals.redact import visible
from tests.support.review_scene import Scene
from tests.web.conftest import Door

ROOT = Path(__file__).parents[2]
SCANNERS = tuple(
    str(ROOT / name)
    for name in (
        *("approvals/redact.py", "approvals/lookalike.py", "approvals/slack/text.py"),
        *("gateway/protocol/strict_json.py", "web/views/render.py", "web/views/answer.py"),
        *(str(one.relative_to(ROOT)) for one in (ROOT / "web/views/viewers").glob("*.py")),
    )
)
HOSTILE = "eyJ-\u202e\u200d\U0001f468a\u0430b\n" * 20_000


@contextmanager
def watched() -> Iterator[set[str]]:
    """The scanners that this thread, the event loop's, gives a large text to."""
    found: set[str] = set()

    def look(frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call" or frame.f_code.co_filename not in SCANNERS:
            return
        values = frame.f_locals.values()
        if any(isinstance(one, (str, bytes)) and len(one) > LARGE for one in values):
            found.add(f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}")

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


def test_the_watch_sees_a_scan() -> None:
    with watched() as found:
        visible(HOSTILE)
    assert {"redact.py visible", "redact.py runs"} <= found
    with watched() as found:
        other = threading.Thread(target=visible, args=(HOSTILE,))
        other.start()
        other.join()
    assert found == set()


@pytest.mark.parametrize("path", ["/", "/approvals/{id}", "/approvals/{id}/card", "/history"])
async def test_no_page_scans_it_on_the_loop(scene: Scene, door: Door, path: str) -> None:
    held = scene.held("run", {"command": HOSTILE}, terms=Terms(editable=("args.command",)))
    visit = await door.signed_in("alice")
    with watched() as found:
        answer = await visit.get(path.replace("{id}", held.id))
    assert answer.status_code == 200
    assert found == set()


async def test_no_api_or_look_behind_masks_scans_it_on_the_loop(scene: Scene, door: Door) -> None:
    held = scene.held("run", {"command": HOSTILE, "api_key": "abc"})
    visit = await door.signed_in("alice")
    form = await visit.form(held.id)
    with watched() as found:
        full = await visit.get(f"/api/v1/approvals/{held.id}")
        shown = await visit.post(f"/approvals/{held.id}/reveal", {"csrf": form["csrf"]})
    assert (full.status_code, shown.status_code) == (200, 200)
    assert full.json()["id"] == held.id
    assert found == set()


async def test_no_result_is_scanned_on_the_loop(scene: Scene, door: Door) -> None:
    held = scene.held("run", {"n": 1}, terms=Terms(risk="low"))
    bob = await scene.people.add("bob", role="approver")
    await scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, via="page")
    )
    result = canonical({"content": [{"type": "text", "text": HOSTILE}]})
    write = scene.database.journal.write_now
    write(
        lambda tx: execution.claim(
            tx, held.id, owner="gw", lease_ms=60_000, recheck=lambda *_: execution.Proceed(None)
        )
    )
    write(
        lambda tx: execution.finish(
            tx,
            held.id,
            execution.RunEnd(Execution.SUCCEEDED, result, "r" * 64, latency_ms=1),
            owner="gw",
        )
    )
    visit = await door.signed_in("alice")
    with watched() as found:
        page = await visit.get(f"/approvals/{held.id}")
    assert "eyJ-" in page.text
    assert found == set()
