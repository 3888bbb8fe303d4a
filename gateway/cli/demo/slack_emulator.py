"""The local Slack of `signoff demo --slack`: emulate 0.12.2 from npm, at the version tests lock."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.cli.exits import Exit, Stop

TOKEN: Final = "test_token_admin"  # noqa: S105 - the emulator's own, known to everybody
CHANNEL: Final = "C000000001"
"""Its public channel #general."""

_FOLDER: Final = Path(__file__).parents[2] / "tests" / "slack"
_SECONDS: Final = 30.0


class Emulator:
    """A Slack Web API on this machine."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/"

    async def ask(self, method: str, **params: str) -> dict[str, Any]:
        """One method, as anyone with the token may call it."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.post(self.url + method, data=params) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    async def card(self) -> dict[str, Any] | None:
        """The card as it stands in the channel; None while there is none."""
        told = await self.ask("conversations.history", channel=CHANNEL)
        cards = [one for one in told.get("messages", ()) if one.get("blocks")]
        return cards[-1] if cards else None


@asynccontextmanager
async def emulator() -> AsyncIterator[Emulator]:
    """Run it for the length of the block.

    Raises:
        Stop: it cannot be had here.
    """
    node, program = _installed()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = await asyncio.create_subprocess_exec(
        *(str(node), str(program), "start", "--service", "slack", "--port", str(port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = Emulator(port)
        await _answers(found, process)
        yield found
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _answers(found: Emulator, process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(_SECONDS):
            while process.returncode is None:
                try:
                    await found.ask("auth.test")
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.1)
                else:
                    return
    except TimeoutError:
        pass
    raise Stop(Exit.INTERNAL, "The local Slack emulator did not start.")


def _installed() -> tuple[Path, Path]:
    node = _FOLDER / "node_modules" / ".bin" / "node"
    program = _FOLDER / "node_modules" / "emulate" / "dist" / "index.js"
    if node.exists() and program.exists():
        return node, program
    if not (_FOLDER / "package-lock.json").exists():
        raise Stop(Exit.USAGE, "This demo runs from the repository: make demo ARGS=--slack")
    if shutil.which("npm") is None:
        raise Stop(Exit.USAGE, "This demo needs npm, which brings the local Slack emulator.")
    print("Setting up the local Slack emulator (emulate 0.12.2, from npm) …", flush=True)
    done = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=_FOLDER, check=False
    )
    if done.returncode or not program.exists():
        raise Stop(Exit.INTERNAL, "npm could not install the emulator; see above.")
    return node, program
