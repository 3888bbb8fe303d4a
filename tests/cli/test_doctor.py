"""doctor: what is broken, and what to do."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.checks import _do
from gateway.enforcement.confirmations import FIRST, confirm_policy, note_commands
from tests.cli.command import HERE, Command
from tests.cli.folder import Folder
from tests.support.patience import PATIENCE


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _examined(signoff: Command, *argv: str, **environ: str) -> tuple[int, dict[str, Any], Any]:
    environ.setdefault("SIGNOFF_PORT", _free_port())
    done = signoff("doctor", "--json", *argv, **environ)
    shown = json.loads(done.out)
    return done.code, {check["name"]: check for check in shown["checks"]}, shown["settings"]


def test_a_healthy_installation_is_exit_0(
    signoff: Command, folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder.outside = tmp_path_factory.mktemp("record")
    folder.outside.chmod(0o700)
    folder.people(alice="admin")
    folder.granted()
    folder.policy()
    entry = {"command": sys.executable, "args": [str(HERE / "server.py")]}
    (folder.path / "servers.json").write_text(json.dumps({"mcpServers": {"crm": entry}}))
    code, checks, _ = _examined(signoff, "--yes", SIGNOFF_DATA=str(folder.outside))
    unwell = [check for check in checks.values() if check["state"] != "ok"]
    assert not unwell
    assert code == 0
    assert checks["server"]["found"] == "crm: 3 tools"


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({}, set()),
        ({"SIGNOFF_HOST": "0.0.0.0", "SIGNOFF_PUBLIC_URL": "https://gate.example"}, set()),
        (
            {"SIGNOFF_HOST": "0.0.0.0", "SIGNOFF_PUBLIC_URL": "http://gate.example:8788"},
            {"page", "network"},
        ),
        ({"SIGNOFF_HOST": "0.0.0.0", "SIGNOFF_PUBLIC_URL": "http://127.0.0.1:8788"}, {"network"}),
        ({"SIGNOFF_PAGE_URL": "http://page.example"}, {"page"}),
    ],
)
def test_plain_http_to_other_machines_is_warned_of(
    signoff: Command, folder: Folder, environ: dict[str, str], warned: set[str]
) -> None:
    folder.people(alice="admin")
    _, checks, _ = _examined(signoff, "--no-servers", **environ)
    shown = {name: check for name, check in checks.items() if name in ("page", "network")}
    assert {name for name, check in shown.items() if check["state"] == "warning"} == warned
    for name in warned:
        assert shown[name]["do"].startswith("Use https: ")


def test_an_empty_folder_names_the_next_steps(signoff: Command, tmp_path: Path) -> None:
    code, checks, _ = _examined(signoff)
    assert code == 3
    assert "signoff init" in checks["policy"]["do"]
    assert checks["record"]["state"] == "warning"
    assert not (tmp_path / ".signoff").exists()


def test_each_fault_is_told_with_what_to_do(signoff: Command, folder: Folder) -> None:
    folder.granted()
    folder.policy(default="perhaps")
    (folder.path / "servers.json").write_text('{"mcpServers": {"crm": {"command": "no-such"}}}')
    (folder.path / ".signoff").chmod(0o755)
    signoff("freeze", "everything")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, checks, _ = _examined(signoff, "--yes", SIGNOFF_PORT=port)
    assert code == 3
    assert checks["policy"]["do"] == "signoff policy check"
    assert checks["server"]["state"] == "broken"
    assert checks["reviewers"]["do"] == "signoff reviewer add YOUR-NAME"
    assert checks["data folder"]["do"].startswith("chmod 700")
    assert checks["port"]["state"] == "broken"
    assert "everything" in checks["freeze"]["found"]


def test_a_lost_key_beside_a_record_is_broken_and_no_new_one_is_made(
    signoff: Command, folder: Folder
) -> None:
    folder.held()
    key = folder.path / ".signoff" / "signoff.key"
    key.unlink()
    code, checks, _ = _examined(signoff, "--no-servers")
    assert (code, checks["key"]["state"]) == (3, "broken")
    assert not key.exists()


def test_settings_tell_where_they_come_from_without_secrets(
    signoff: Command, tmp_path: Path
) -> None:
    (tmp_path / "signoff.toml").write_text("hold = 7\n")
    url = "postgresql+psycopg://me:hunter2@127.0.0.1:1/none"
    environ = {"SIGNOFF_DATABASE_URL": url, "SIGNOFF_PORT": _free_port()}
    done = signoff("doctor", "--json", "--no-servers", **environ)
    found = {one["name"]: one for one in json.loads(done.out)["settings"]}
    assert (found["hold"]["value"], found["hold"]["source"]) == ("7", "signoff.toml")
    assert found["port"]["source"] == "SIGNOFF_PORT"
    assert found["max_body"]["source"] == "default"
    assert found["database_url"]["value"] == "set, not shown"
    assert "hunter2" not in done.said()


def test_a_running_gateway_is_asked_how_it_is(signoff: Command, folder: Folder) -> None:
    folder.policy()
    (folder.path / "servers.json").write_text('{"mcpServers": {}}')
    port = _free_port()
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder.path), "SIGNOFF_PORT": port}
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("signoff")), "up"],
        cwd=folder.path,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as gateway:
        assert gateway.stdout is not None
        try:
            assert port in gateway.stdout.readline()
            _, checks, _ = _examined(signoff, "--no-servers", SIGNOFF_PORT=port)
            assert checks["gateway"]["state"] == "ok"
            assert "is ready" in checks["gateway"]["found"]
        finally:
            gateway.send_signal(signal.SIGINT)
            assert gateway.wait(PATIENCE) == 0


def _started_once(folder: Folder) -> None:
    text = folder.policy().read_bytes()
    folder.write(partial(confirm_policy, old=None, new=text, by=FIRST))


def test_a_server_that_waits_is_not_started_and_how_to_confirm_it_is_said(
    signoff: Command, folder: Folder
) -> None:
    folder.people(alice="admin")
    _started_once(folder)
    mark = folder.path / "started"
    entry = {"command": sys.executable, "args": ["-c", f"open({str(mark)!r}, 'w')"]}
    (folder.path / "servers.json").write_text(json.dumps({"mcpServers": {"evil": entry}}))
    for argv in ((), ("--yes",)):
        _, checks, _ = _examined(signoff, *argv)
        for name in ("server", "confirmed"):
            assert checks[name]["do"] == "signoff server confirm evil"
    asked = signoff.typed("doctor", answer="y\n", after="settings")
    assert "doctor --yes" not in asked.out
    assert not mark.exists()


def test_doctor_says_what_of_a_server_changed(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    _started_once(folder)
    there = folder.path / "servers.json"
    entry = {"command": "npx", "env": {"PATH": "/usr/bin"}}
    there.write_text(json.dumps({"mcpServers": {"crm": entry}}))
    signoff.typed("server", "confirm", answer="y\n", after="[y/N]")
    there.write_text(json.dumps({"mcpServers": {"crm": {**entry, "env": {"PATH": "/opt"}}}}))
    _, checks, _ = _examined(signoff, "--no-servers")
    assert "variable PATH: was /usr/bin; is /opt" in checks["confirmed"]["found"]


def test_a_running_gateway_whose_files_wait_is_told_how_to_confirm_them() -> None:
    told = {"ready": True, "record": "ok", "servers": "some wait to be confirmed"}
    assert _do(told) == "signoff server confirm"
    told["policy"] = "the saved file is not in force: it waits to be confirmed"
    assert _do(told) == "signoff server confirm; signoff policy confirm"
    told["slack"] = "degraded: it is away"
    assert _do(told).endswith("; See its log.")


def test_the_record_says_whether_commands_decide(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    _, checks, _ = _examined(signoff, "--no-servers")
    assert checks["trust"]["found"].startswith("commands decide here")
    assert "passkey" not in checks["trust"]["found"]
    database = folder.open()
    try:
        asyncio.run(note_commands(database, decide=False))
    finally:
        database.close_now()
    _, checks, _ = _examined(signoff, "--no-servers")
    assert checks["trust"]["found"].startswith("commands do not decide here, and no administrator")
    assert checks["trust"]["state"] == "warning"


def test_the_page_is_where_the_running_gateway_has_it(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    (folder.data / "gateway.url").write_text("http://127.0.0.1:9")
    _, checks, _ = _examined(signoff, "--no-servers")
    assert checks["page"]["found"] == "http://signoff.localhost:9"
