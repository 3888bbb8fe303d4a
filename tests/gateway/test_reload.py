"""policy.json while the gateway runs: a good save counts, a bad one changes nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gateway.policy.document import PolicyInvalid
from gateway.reload import Policies
from tests.approvals.record import HandClock
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"version": "1"}',
    b'{"version": "2", "default": "deny"}',
    b'{"version": "1", "default": "perhaps"}',
    b'{"version": "1", "default": "allow", "default": "deny"}',
    b'{"version": "1", "default": "deny", "tools": {"a": {"deny_iff": []}}}',
    b'{"version": "1", "default": "deny", "tools": []}',
    b"\xff\xfe{}",
    b'{"version": "1", "default": "deny", "tools": {"a": {"approve_if": [{"reviewers": []}]}}}',
    b'{"version": "1", "default": "deny", "all_tools": {"limits": [{"max": -1}]}}',
]


def text(**policy: object) -> bytes:
    return json.dumps({"version": "1", "default": "deny", **policy}).encode()


@asynccontextmanager
async def watched(policies: Policies) -> AsyncIterator[asyncio.Event]:
    """The file watched; the event is set on every change that counts."""
    changed, stop = asyncio.Event(), asyncio.Event()

    async def note() -> None:
        changed.set()

    task = asyncio.create_task(policies.watch(note, stop))
    try:
        yield changed
    finally:
        stop.set()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_bad_policy_refuses_to_start(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(broken)
    with pytest.raises(PolicyInvalid):
        Policies(path, HandClock())


async def test_a_missing_policy_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"policy\.json"):
        Policies(tmp_path / "policy.json", HandClock())


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_bad_save_keeps_the_old_policy_and_says_so(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text(tools={"a": {}}))
    policies = Policies(path, HandClock())
    before = policies.current
    path.write_bytes(broken)
    assert not policies.reload()
    assert policies.current is before
    assert policies.rejected is not None
    assert policies.rejected.text


async def test_the_next_good_save_after_a_bad_one_is_picked_up(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = Policies(path, HandClock())
    path.write_bytes(b"{")
    policies.reload()
    path.write_bytes(text(tools={"b": {}}))
    assert policies.reload()
    assert policies.rejected is None
    assert "b" in policies.current.root.exact


async def test_a_deleted_file_keeps_the_old_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text(tools={"a": {}}))
    policies = Policies(path, HandClock())
    path.unlink()
    assert not policies.reload()
    assert "a" in policies.current.root.exact
    assert policies.rejected is not None


async def test_a_save_is_in_force_and_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = Policies(path, HandClock())
    async with watched(policies) as changed:
        await asyncio.sleep(0)  # the watch begins
        with anyio.fail_after(PATIENCE):
            while not changed.is_set():  # the first writes may come before the watch is set up
                path.write_bytes(text(tools={"c": {}}))
                await asyncio.sleep(0.2)
        assert "c" in policies.current.root.exact


async def test_an_editors_rename_over_the_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = Policies(path, HandClock())
    async with watched(policies):
        with anyio.fail_after(PATIENCE):
            while "d" not in policies.current.root.exact:
                draft = tmp_path / "policy.json.tmp"
                draft.write_bytes(text(tools={"d": {}}))
                draft.rename(path)
                await asyncio.sleep(0.2)


async def test_the_same_text_again_is_no_change(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = Policies(path, HandClock())
    path.write_bytes(text())
    assert not policies.reload()
