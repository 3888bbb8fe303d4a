"""`signoff run -- COMMAND`: gateway, page and server in one command, in the place of the server."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.connect.conftest import MODES, Mode
from tests.support.in_place import text
from tests.support.live_gateway import ROOT, SIGNOFF, Site, eventually
from tests.support.page_key import PageKey, sign_in
from tests.support.patience import PATIENCE
from tests.support.reference_gateway import BY_PIPE

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("front")]
COMMAND = [BY_PIPE["command"], *BY_PIPE["args"]]
ASK = {"test_simple_text": {"require_approval": {"reason": "A person decides."}}}


def told(log: Path, word: str) -> str:
    """What the command said on stderr after a word."""
    return str(
        eventually(lambda: re.findall(rf"signoff: {word} +(\S+)", log.read_text("utf-8")))[-1]
    )


def environment(folder: Path) -> dict[str, str]:
    own = Site(folder).environment()
    own.pop("SIGNOFF_DATA")
    own.pop("SIGNOFF_PORT")
    return own | {"XDG_STATE_HOME": str(folder), "PYTHONPATH": str(ROOT)}


def parameters(folder: Path, *more: str) -> StdioServerParameters:
    (folder / "policy.json").write_text(
        json.dumps({"version": "1", "default": "allow", "tools": ASK}), "utf-8"
    )
    return StdioServerParameters(
        command=str(SIGNOFF),
        args=["run", "--policy", "policy.json", *more, "--", *COMMAND],
        env=environment(folder),
        cwd=folder,
    )


@pytest.mark.parametrize("mode", MODES)
async def test_one_command_is_gateway_page_and_server(tmp_path: Path, mode: Mode) -> None:
    log = tmp_path / "stderr.log"
    notes: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        notes.append(message or "")

    with log.open("w", encoding="utf-8") as errors:
        started = stdio_client(parameters(tmp_path), errlog=errors)
        async with Client(started, mode=mode) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            assert {"test_simple_text", "signoff_await_approval"} <= set(names)
            async with anyio.create_task_group() as tasks:

                async def approve() -> None:
                    await anyio.to_thread.run_sync(lambda: eventually(lambda: notes))
                    await anyio.to_thread.run_sync(press, log)

                tasks.start_soon(approve)
                answer = await client.call_tool("test_simple_text", {}, progress_callback=note)
            assert text(answer) == "This is a simple text response for testing."
            assert told(log, "page") in notes[0]
    assert Path(told(log, "record")).parent == tmp_path / "signoff"
    assert "intact" in signoff(tmp_path, "history", "verify").lower()


def press(log: Path) -> None:
    """Sign in by the link on stderr, see what waits, and approve it at a terminal."""
    page, link = told(log, "page").rstrip("/"), told(log, "sign in")
    assert link.startswith(f"{page}/signin#")
    page = page.replace("signoff.localhost", "127.0.0.1")  # which only browsers know for sure
    with httpx2.Client(base_url=page, timeout=PATIENCE, auth=PageKey()) as browser:
        signed = sign_in(browser, link, page)
        assert signed.status_code == 200, signed.text
        assert "A person decides." in browser.get("/").text
    (row,) = json.loads(signoff(log.parent, "pending", "--json"))["items"]
    signoff(log.parent, "approve", row["id"], "--as", "admin", "--yes", "--hash", row["digest"])


def signoff(folder: Path, *command: str, **environ: str) -> str:
    """A command on the record that `run` keeps."""
    done = subprocess.run(
        [str(SIGNOFF), *command],
        cwd=folder,
        env=environment(folder)
        | {"SIGNOFF_DATA": told(folder / "stderr.log", "record"), **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_ends_cleanly_when_the_host_closes_its_stdin(tmp_path: Path) -> None:
    process = begun(tmp_path)
    assert process.stdin is not None
    assert process.stdout is not None
    server = served(process)
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    process.stdout.close()
    said = (tmp_path / "stderr.log").read_text("utf-8")
    assert "Traceback" not in said
    assert not Path(f"/proc/{server}").exists()


def test_where_commands_do_not_decide_the_first_start_prints_an_administrators_token(
    tmp_path: Path,
) -> None:
    closed = {"SIGNOFF_CLI_DECIDES": "false"}
    for is_first in (True, False):
        process = begun(tmp_path, **closed)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        process.stdout.close()
        said = (tmp_path / "stderr.log").read_text("utf-8")
        found = re.findall(r"rvt_[\w-]+", said)
        if is_first:
            (token,) = found
            assert "signoff: sign in   http" in said
            link = signoff(tmp_path, "reviewer", "link", "admin", SIGNOFF_REVIEWER_TOKEN=token)
            assert "/signin#lnk_" in link
    assert not found  # no later start gives one away
    assert "ask an administrator" in said


def served(process: subprocess.Popen[bytes]) -> int:
    """The process id of the one server."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii")
    (only,) = children.split()
    return int(only)


def begun(folder: Path, **environ: str) -> subprocess.Popen[bytes]:
    """The command after its server has answered once."""
    made = parameters(folder)
    with (folder / "stderr.log").open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [made.command, *made.args],
            cwd=folder,
            env=(made.env or {}) | environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    hello: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        },
    }
    process.stdin.write(json.dumps(hello).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "reference"
    return process


def test_a_bad_policy_is_told_and_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text("{", "utf-8")
    done = subprocess.run(
        [str(SIGNOFF), "run", "--policy", "policy.json", "--", "true"],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 3
    assert "policy.json is not usable" in done.stderr
    assert not done.stdout
