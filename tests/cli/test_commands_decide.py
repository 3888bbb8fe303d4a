"""SIGNOFF_CLI_DECIDES=false: no one decides at the command line without a reviewer's token."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from approvals.model import State
from approvals.reviewers import People
from gateway.enforcement.confirmations import commands_decide, note_commands
from tests.cli.command import Command
from tests.cli.folder import Folder

CLOSED = {"SIGNOFF_CLI_DECIDES": "false"}


def tokens(folder: Folder, *names: str) -> list[str]:
    database = folder.open()

    async def make() -> list[str]:
        people = People(database, database.clock)
        return [await people.token(name) for name in names]

    try:
        return asyncio.run(make())
    finally:
        database.close_now()


@pytest.fixture
def ready(folder: Folder) -> dict[str, Any]:
    folder.people(alice="admin", bob="approver")
    folder.policy()
    (folder.path / "servers.json").write_text('{"mcpServers": {"a": {"url": "https://a/mcp"}}}')
    held = folder.held()
    admin, approver = tokens(folder, "alice", "bob")
    digest = hashlib.sha256((folder.path / "policy.json").read_bytes()).hexdigest()
    return {
        "held": held,
        "admin": admin,
        "approver": approver,
        "commands": [
            ("approve", held.id, "--yes", "--hash", held.digest, "--as", "alice"),
            ("deny", held.id, "--reason", "No.", "--as", "alice"),
            ("take-back", held.id, "--as", "alice"),
            ("extend", held.id, "--by", "10m", "--as", "alice"),
            ("reviewer", "add", "carol"),
            ("reviewer", "token", "alice"),
            ("reviewer", "link", "alice"),
            ("reviewer", "remove", "bob"),
            ("grant", "create", "mine"),
            ("connect", "cursor"),
            ("policy", "confirm", "--as", "alice", "--yes", "--hash", digest),
            ("thaw", "everything", "--as", "alice"),
        ],
    }


def test_every_deciding_command_is_refused(
    signoff: Command, folder: Folder, ready: dict[str, Any]
) -> None:
    assert signoff("freeze", "everything", **CLOSED).code == 0  # stopping needs no one's leave
    for argv in ready["commands"]:
        done = signoff(*argv, **CLOSED)
        assert (done.code, "Commands do not decide here" in done.err) == (4, True), (argv, done)
        wrong = signoff(*argv, **CLOSED, SIGNOFF_REVIEWER_TOKEN="rvw_made-up")
        assert (wrong.code, "no reviewer's token" in wrong.err) == (4, True), (argv, wrong)
    assert folder.state(ready["held"].id)[0] is State.PENDING
    assert "carol" not in signoff("reviewer", "list", **CLOSED).out
    assert signoff("pending", **CLOSED).code == 0


def test_a_reviewers_token_opens_what_its_role_allows(
    signoff: Command, folder: Folder, ready: dict[str, Any]
) -> None:
    held = ready["held"]
    bob = {**CLOSED, "SIGNOFF_REVIEWER_TOKEN": ready["approver"]}
    for argv in (("reviewer", "add", "carol"), ("grant", "create", "mine")):
        done = signoff(*argv, **bob)
        assert (done.code, "takes an administrator" in done.err) == (4, True), done
    mask = signoff("approve", held.id, "--as", "alice", "--yes", "--hash", held.digest, **bob)
    assert (mask.code, "is bob's, not alice's" in mask.err) == (4, True)
    done = signoff("approve", held.id, "--yes", "--hash", held.digest, **bob)
    assert done.code == 0, done.err
    assert folder.state(held.id)[2:] == ("bob", "cli")
    alice = {**CLOSED, "SIGNOFF_REVIEWER_TOKEN": ready["admin"]}
    assert signoff("grant", "create", "mine", **alice).code == 0


def test_an_environment_of_ones_own_is_no_way_round_it(
    signoff: Command, folder: Folder, ready: dict[str, Any]
) -> None:
    """What the gateway was started with is on record."""
    database = folder.open()
    try:
        asyncio.run(note_commands(database, decide=False))
    finally:
        database.close_now()
    done = signoff("reviewer", "add", "carol", SIGNOFF_CLI_DECIDES="true")
    assert (done.code, "Commands do not decide here" in done.err) == (4, True)
    database = folder.open()
    try:
        asyncio.run(note_commands(database, decide=True))  # a gateway started otherwise
        assert asyncio.run(commands_decide(database)) is False
        asyncio.run(note_commands(database, decide=True, admin=True))
    finally:
        database.close_now()
    assert signoff("reviewer", "add", "carol").code == 0


def test_an_approver_cannot_confirm_rules_or_servers(
    signoff: Command, folder: Folder, ready: dict[str, Any]
) -> None:
    argv = next(one for one in ready["commands"] if one[:2] == ("policy", "confirm"))
    named = tuple("bob" if word == "alice" else word for word in argv)
    assert signoff(*named).code == 4
    assert signoff("server", "confirm", "--as", "bob", "--yes", "--hash", "0" * 12, "a").code == 4
    assert signoff(*argv).code == 0
