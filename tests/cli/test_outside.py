"""The record lies outside the project, and what a folder brings along is not believed."""

from __future__ import annotations

import http.server
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import HERE, Command
from tests.cli.folder import Folder

ENTRY = {"command": sys.executable, "args": [str(HERE / "server.py")]}


@pytest.fixture
def heard() -> Iterator[tuple[str, list[str]]]:
    """A server that notes the bearers it is sent, and its address."""
    bearers: list[str] = []

    class Note(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bearers.append(self.headers.get("Authorization", ""))
            self.send_response(404)
            self.end_headers()

        do_GET = do_POST  # noqa: N815 - as http.server names it

        def log_message(self, *_: object) -> None:
            """Silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Note) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", bearers
        finally:
            server.shutdown()
            thread.join()


def test_a_fresh_folders_record_lies_outside_it(signoff: Command, tmp_path: Path) -> None:
    assert signoff("reviewer", "add", "alice").code == 0
    assert not (tmp_path / ".signoff").exists()
    [record] = (tmp_path / ".local" / "state" / "signoff").iterdir()
    assert record.name.startswith(f"{tmp_path.name[:64]}-")
    assert {one.name for one in record.iterdir()} >= {"signoff.db", "signoff.key"}
    assert record.stat().st_mode & 0o777 == 0o700
    assert "alice" in signoff("reviewer", "list").out


def test_xdg_state_home_says_where(
    signoff: Command, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("state")
    assert signoff("reviewer", "add", "alice", XDG_STATE_HOME=str(elsewhere)).code == 0
    assert [one.name for one in elsewhere.iterdir()] == ["signoff"]


def test_a_record_inside_the_project_goes_on_and_doctor_warns(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="admin")
    assert "alice" in signoff("reviewer", "list").out
    assert not (folder.path / ".local").exists()
    said = signoff("doctor", "--no-servers").out
    assert "lies inside the project" in said
    assert "mv .signoff" in said
    assert "owns the gateway" in said


def test_a_token_from_the_environment_goes_only_where_the_environment_says(
    signoff: Command, folder: Folder, heard: tuple[str, list[str]]
) -> None:
    url, bearers = heard
    folder.people(alice="admin")  # so there is a key beside the address
    (folder.data / "gateway.url").write_text(url)
    port = url.rpartition(":")[2]
    (folder.path / "signoff.toml").write_text(f'port = {port}\npublic_url = "{url}"\n')
    done = signoff("connect", "all", SIGNOFF_TOKEN="sgn_secret")
    assert (done.code, "SIGNOFF_URL" in done.err) == (2, True)
    assert bearers == []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    signoff("connect", "all", SIGNOFF_TOKEN="sgn_secret", SIGNOFF_URL=nobody)
    assert bearers == []


@pytest.mark.parametrize("fault", ["no key", "a key of others", "not of this machine"])
def test_an_address_that_came_with_a_folder_is_not_believed(
    signoff: Command, folder: Folder, fault: str
) -> None:
    folder.people(alice="admin")
    told = folder.data / "gateway.url"
    told.write_text("http://127.0.0.1:9")
    assert ":9/signin" in signoff("reviewer", "link", "alice").out
    if fault == "no key":
        (folder.data / "signoff.key").unlink()
    elif fault == "a key of others":
        (folder.data / "signoff.key").chmod(0o644)
    else:
        told.write_text("http://evil.example:9")
    shown = signoff.typed("connect", "all").out
    assert "127.0.0.1:8788" in shown
    assert ":9/" not in shown


def test_settings_of_a_folder_are_named_where_an_address_is_made_of_them(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="admin")
    (folder.path / "signoff.toml").write_text('public_url = "https://evil.example"\n')
    done = signoff("connect", "cursor")
    assert "signoff.toml sets public_url" in done.err
    ignored = signoff("connect", "nobody")
    assert "is not read here" in ignored.err


def marking(tmp_path: Path) -> tuple[dict[str, object], Path]:
    mark = tmp_path / "started"
    (tmp_path / "mark.py").write_text("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()")
    return {"command": sys.executable, "args": ["mark.py", str(mark)]}, mark


@pytest.mark.parametrize("argv", [("init",), ("doctor",), ("scan", "evil")])
def test_what_a_folder_names_is_shown_and_not_started_unasked(
    signoff: Command, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    entry, mark = marking(tmp_path)
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"evil": entry}}))
    assert "mark.py" in signoff(*argv).said()
    assert not mark.exists()
    (tmp_path / "policy.json").unlink(missing_ok=True)
    refused = signoff.typed(*argv, answer="n\n", after="[y/N]")
    assert "mark.py" in refused.out
    assert not mark.exists()
    (tmp_path / "policy.json").unlink(missing_ok=True)
    signoff.typed(*argv, answer="y\n", after="[y/N]")
    assert mark.exists()


def test_what_was_confirmed_is_not_asked_about_again(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    folder.policy()
    (folder.path / "servers.json").write_text(json.dumps({"mcpServers": {"crm": ENTRY}}))
    assert signoff("scan", "crm").code == 4
    [item] = json.loads(signoff("server", "list", "--json").out)["items"]
    done = signoff("server", "confirm", "crm", "--yes", "--hash", item["hash"])
    assert done.code == 0, done.err
    assert signoff("scan", "crm").code == 0
    changed = {**ENTRY, "args": [*ENTRY["args"], "loud"]}
    (folder.path / "servers.json").write_text(json.dumps({"mcpServers": {"crm": changed}}))
    assert signoff("scan", "crm").code == 4


def test_doctor_warns_of_servers_and_people_that_reach_the_rules(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="admin")
    folder.policy()
    files = {"command": "npx", "args": ["server-filesystem", f"--root={folder.path}"]}
    (folder.path / "servers.json").write_text(json.dumps({"mcpServers": {"files": files}}))
    (folder.path / "policy.json").chmod(0o666)
    said = signoff("doctor", "--no-servers").out
    assert "files is started in or led to" in said
    assert "policy.json may be written by other users" in said
