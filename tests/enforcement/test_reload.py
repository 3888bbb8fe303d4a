"""policy.json while the gateway runs: a good save counts, a bad one changes nothing."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from gateway.enforcement.policy_file import MOST, PolicyFile
from gateway.policy.document import PolicyInvalid, load
from gateway.policy.rules import Policy
from tests.support.patience import PATIENCE
from tests.support.record import HandClock

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
async def watched(policies: PolicyFile) -> AsyncIterator[asyncio.Event]:
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
        PolicyFile(path, HandClock())


async def test_a_missing_policy_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"policy\.json"):
        PolicyFile(tmp_path / "policy.json", HandClock())


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_bad_save_keeps_the_old_policy_and_says_so(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text(tools={"a": {}}))
    policies = PolicyFile(path, HandClock())
    before = policies.current
    path.write_bytes(broken)
    assert not policies.reload()
    assert policies.current is before
    assert policies.rejected is not None
    assert policies.rejected.text


async def test_the_next_good_save_after_a_bad_one_is_picked_up(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = PolicyFile(path, HandClock())
    path.write_bytes(b"{")
    policies.reload()
    path.write_bytes(text(tools={"b": {}}))
    assert policies.reload()
    assert policies.rejected is None
    assert "b" in policies.current.root.exact


async def test_a_deleted_file_keeps_the_old_policy(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text(tools={"a": {}}))
    policies = PolicyFile(path, HandClock())
    path.unlink()
    assert not policies.reload()
    assert "a" in policies.current.root.exact
    assert policies.rejected is not None


async def test_a_save_is_in_force_and_is_announced(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text())
    policies = PolicyFile(path, HandClock())
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
    policies = PolicyFile(path, HandClock())
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
    policies = PolicyFile(path, HandClock())
    path.write_bytes(text())
    assert not policies.reload()


HELD = {"tools": {"pay": {"require_approval": True}}}


def confirming(path: Path, **rules: object) -> PolicyFile:
    path.write_bytes(text(**rules))
    return PolicyFile(path, HandClock(), confirmed=text(**rules))


async def test_what_is_no_file_in_the_rules_place_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    policies = confirming(path, **HELD)
    path.unlink()
    os.mkfifo(path)  # anyone who opens it waits for a writer
    assert not await policies.refresh_aside() or policies.rejected is not None
    assert policies.rejected is not None
    assert "no file" in policies.rejected.text
    path.unlink()
    path.symlink_to("/dev/zero")
    await policies.refresh_aside()
    assert "no file" in policies.rejected.text
    path.unlink()
    with path.open("wb") as file:
        file.truncate(MOST + 1)
    await policies.refresh_aside()
    assert policies.rejected is not None
    assert "larger than" in policies.rejected.text
    assert policies.current.hash == load(text(**HELD)).hash


async def test_a_confirmation_that_comes_while_a_file_is_read_is_what_it_is_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.json"
    policies = confirming(path, default="allow")
    path.write_bytes(text(default="allow", hide=["pay"]))  # closes, as things stand
    looked = policies._look  # noqa: SLF001 - the moment between reading and settling
    confirmed_meanwhile = text(**HELD)

    def look() -> object:
        found = looked()
        if policies.confirmed_text != confirmed_meanwhile:
            loop.call_soon_threadsafe(policies.confirm, confirmed_meanwhile)
            while policies.confirmed_text != confirmed_meanwhile:
                time.sleep(0.001)
        return found

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(policies, "_look", look)
    await policies.reload_aside()
    assert policies.waiting is not None  # against the new rules it opens
    assert policies.current.hash == load(confirmed_meanwhile).hash


async def test_what_closed_stays_while_a_file_that_opens_waits(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    policies = confirming(path, **HELD)
    closed = text(**HELD, hide=["pay"])
    path.write_bytes(closed)
    assert policies.reload()
    assert policies.unconfirmed == closed
    path.write_bytes(text(default="allow"))
    assert not policies.reload()
    assert policies.waiting is not None
    assert policies.current.hash == load(closed).hash
    path.write_bytes(text(**HELD))  # what was confirmed
    assert policies.reload()
    assert policies.unconfirmed is None


async def test_whoever_listens_is_told_when_a_file_begins_to_wait_and_when_it_ends(
    tmp_path: Path,
) -> None:
    path = tmp_path / "policy.json"
    policies = confirming(path, **HELD)
    heard: list[bool] = []
    policies.listen(lambda: heard.append(policies.waiting is not None))
    path.write_bytes(text(default="allow"))
    policies.reload()
    policies.reload()
    assert heard == [True]
    policies.confirm(text(default="allow"))
    assert heard == [True, False]
    assert policies.current.hash == load(text(default="allow")).hash


async def test_reviewers_too_few_for_a_quorum_are_no_closing(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    rules = {"pay": {"require_approval": {"reviewers": ["alice", "bob"]}}}
    path.write_bytes(text(tools=rules))

    def staffed(policy: Policy) -> bool:
        return "alice" in str(policy.normal)

    policies = PolicyFile(path, HandClock(), confirmed=text(tools=rules), staffed=staffed)
    path.write_bytes(text(tools={"pay": {"require_approval": {"reviewers": ["bob"]}}}))
    policies.reload()
    assert policies.waiting is not None  # bob alone is no one here
    path.write_bytes(text(tools={"pay": {"require_approval": {"reviewers": ["alice"]}}}))
    assert policies.reload()


async def test_an_account_that_is_nobody_on_record_is_given_no_decision_by_the_file(
    tmp_path: Path,
) -> None:
    """A Slack account decides under a rule that names it, and under no open one."""
    path = tmp_path / "policy.json"
    path.write_bytes(text(**HELD))
    policies = PolicyFile(
        path, HandClock(), confirmed=text(**HELD), people=lambda: frozenset({"alice"})
    )
    for name in ("slack:T1/UEVIL", "slack-group:T1/S1", "mallory"):
        path.write_bytes(text(tools={"pay": {"require_approval": {"reviewers": ["alice", name]}}}))
        assert not policies.reload()
        assert policies.waiting is not None
    path.write_bytes(text(tools={"pay": {"require_approval": {"reviewers": ["alice"]}}}))
    assert policies.reload()
    assert policies.waiting is None


async def test_a_number_that_becomes_a_truth_waits(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"

    def held(*values: object) -> dict[str, object]:
        when = [{"path": "args.amount", "op": "in", "value": values}]
        return {"tools": {"pay": {"approve_if": [{"conditions": when}]}}}

    policies = confirming(path, **held(1, 2, 3))
    path.write_bytes(text(**held(True, 2, 3)))
    assert not policies.reload()
    assert policies.waiting is not None
