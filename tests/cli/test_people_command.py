"""reviewer, grant, freeze, thaw, connect."""

import json

import pytest

from tests.cli.command import Command
from tests.cli.folder import Folder


def test_adding_a_reviewer_makes_the_record_and_prints_a_link(
    signoff: Command, folder: Folder
) -> None:
    done = signoff("reviewer", "add", "alice", "--identity", "slack:T024/U07", SIGNOFF_PORT="9999")
    assert done.code == 0
    assert "alice is approver, also slack:T024/U07" in done.out
    assert "Sign in: http://signoff.localhost:9999/signin#lnk_" in done.out
    [data] = (folder.path / ".local" / "state" / "signoff").iterdir()
    assert data.stat().st_mode & 0o777 == 0o700
    [one] = json.loads(signoff("reviewer", "list", "--json").out)["items"]
    assert one == {"id": "alice", "role": "approver", "identities": ["slack:T024/U07"]}


def test_the_links_address_is_the_public_one(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    done = signoff("reviewer", "link", "alice", SIGNOFF_PUBLIC_URL="https://ok.example.com")
    assert done.out.startswith("https://ok.example.com/signin#lnk_")
    done = signoff("reviewer", "link", "alice", SIGNOFF_PAGE_URL="https://page.example.com")
    assert done.out.startswith("https://page.example.com/signin#lnk_")


def test_a_removed_reviewer_decides_no_more(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin", bob="approver")
    held = folder.held()
    assert signoff("reviewer", "remove", "bob").code == 0
    done = signoff("deny", held.id, "--reason", "no", "--as", "bob")
    assert (done.code, "There is no reviewer bob" in done.err) == (4, True)
    assert signoff("reviewer", "remove", "bob").code == 6


@pytest.mark.parametrize("verb", ["link", "token", "remove"])
def test_nobody_of_that_name_is_exit_6(signoff: Command, folder: Folder, verb: str) -> None:
    folder.people(alice="admin")
    assert signoff("reviewer", verb, "mallory").code == 6


def test_a_token_is_printed_alone_on_stdout(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    done = signoff("reviewer", "token", "alice", "--expires", "30d")
    assert done.out.startswith("rvt_")
    assert done.out.count("\n") == 1
    assert "30d" in done.err
    assert signoff("reviewer", "token", "alice", "--expires", "ever").code == 2


def test_a_name_that_is_none_is_refused(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    assert signoff("reviewer", "add", "two words").code == 6
    assert signoff("reviewer", "add", "bob", "--role", "king").code == 2


def test_a_grant_is_made_listed_and_ended_by_its_label(signoff: Command, folder: Folder) -> None:
    made = json.loads(signoff("grant", "create", "claude@laptop", "--server", "git", "--json").out)
    assert made["token"].startswith("sgn_")
    listed = signoff("grant", "list").out
    assert "claude@laptop\tgit\tusable" in listed
    assert made["token"] not in listed
    assert signoff("grant", "revoke", "claude@laptop").out == f"{made['id']} is revoked.\n"
    assert "revoked" in signoff("grant", "list").out
    assert signoff("grant", "revoke", made["id"]).code == 6
    assert signoff("grant", "revoke", "grt_0000").code == 6


def test_freeze_stops_what_exists_and_says_so(signoff: Command, folder: Folder) -> None:
    grant = folder.granted()
    folder.people(alice="admin")
    (folder.path / "servers.json").write_text('{"mcpServers": {"git": {"command": "x"}}}')
    assert signoff("freeze", "grant", "claude@laptop").code == 0
    assert signoff("freeze", "server", "git").code == 0
    assert signoff("freeze", "everything").code == 0
    assert "already" in signoff("freeze", "everything").out
    items = json.loads(signoff("freeze", "--json").out)["items"]
    assert {(item["what"], item["name"]) for item in items} == {
        ("everything", ""),
        ("grant", grant),
        ("server", "git"),
    }
    rows = json.loads(signoff("history", "--event", "frozen", "--json").out)["items"]
    assert {row["actor"] for row in rows} == {"alice"}


def test_a_mistyped_freeze_does_not_look_like_one(signoff: Command, folder: Folder) -> None:
    folder.granted()
    (folder.path / "servers.json").write_text('{"mcpServers": {"git": {"command": "x"}}}')
    assert signoff("freeze", "server", "gti").code == 6
    assert signoff("freeze", "grant", "claude@lapdog").code == 6
    assert signoff("freeze", "grant").code == 2
    assert signoff("freeze", "everything", "git").code == 2
    assert json.loads(signoff("freeze", "--json").out)["items"] == []


def test_thaw_lets_go_on(signoff: Command, folder: Folder) -> None:
    folder.granted()
    signoff("freeze", "everything")
    assert signoff("thaw", "everything").code == 0
    assert signoff("thaw", "everything").code == 6


def test_freezing_needs_no_reviewer(signoff: Command, folder: Folder) -> None:
    folder.granted()
    assert signoff("freeze", "everything").code == 0
    assert signoff("freeze", "grant", "claude@laptop", "--as", "nobody").code == 4


def test_connect_prints_lines_for_every_program(signoff: Command) -> None:
    out = signoff("connect", "git", "--token", "sgn_x").out
    assert "claude mcp add --transport http git http://127.0.0.1:8788/mcp/git" in out
    for program in ("Cursor", "VS Code", "Codex"):
        assert f"# {program}" in out


def test_connect_makes_a_grant_that_fits_the_program(signoff: Command, folder: Folder) -> None:
    folder.granted()
    made = signoff("connect", "claude-code")
    assert "a held call waits up to 240 s in place" in made.err
    token = made.out.partition("Bearer ")[2].split('"')[0]
    assert made.out.splitlines()[-1] == (
        "claude mcp add --transport http signoff http://127.0.0.1:8788/mcp "
        f'--header "Authorization: Bearer {token}"'
    )
    assert "up to 50 s" in signoff("connect", "cursor").err
    desktop = signoff("connect", "claude-desktop").out.partition("\n")[2]
    entry = json.loads(desktop)["mcpServers"]["signoff"]
    assert entry["args"] == ["connect", "all"]
    assert entry["env"]["SIGNOFF_TOKEN"].startswith("sgn_")


def test_the_hold_of_a_grant_is_set_anew(signoff: Command, folder: Folder) -> None:
    folder.granted()
    signoff("grant", "create", "patient", "--hold", "240")
    assert signoff("grant", "hold", "patient", "90").code == 0
    assert "patient\t*\tusable\t90 s\t" in signoff("grant", "list").out
    assert signoff("grant", "hold", "patient").code == 0
    assert "patient\t*\tusable\tdefault\t" in signoff("grant", "list").out
    assert signoff("grant", "hold", "nobody", "9").code == 6
