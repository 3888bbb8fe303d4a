"""`signoff demo`: the whole story on a scratch repository, with nothing to set up.

A real MCP server (mcp-server-git), a policy with one rule of each kind, and an agent that makes
one call of each kind and waits for a person. `--auto` is that person, through the public API.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import uvloop

from approvals.model import Role
from approvals.reviewers import People
from gateway.app import Gateway
from gateway.cli.clients import lines
from gateway.cli.demo import agent
from gateway.cli.demo.scratch import SERVER, Scratch, proof, say, scratch_in
from gateway.cli.exits import Exit, Stop
from gateway.enforcement import grants
from gateway.hosting.server import Unstartable, configure_logging, running
from gateway.record import open_record
from gateway.settings import Settings

PEOPLE: tuple[tuple[str, Role], ...] = (("demo", "admin"), ("second", "approver"))
"""Who reviews on a busy day: some calls need two."""


def run(*, auto: bool, busy: bool, slack: bool, port: int) -> int:
    """The exit code: 0 when every call of the agent ended as its rule says."""
    try:
        return uvloop.run(_run(auto=auto, busy=busy, slack=slack, port=port))
    except Unstartable as error:
        raise Stop(Exit.INVALID, str(error)) from error


async def _run(*, auto: bool, busy: bool, slack: bool, port: int) -> int:
    configure_logging("json", level="error")
    with tempfile.TemporaryDirectory(prefix="signoff-demo-") as folder:
        if slack:
            from gateway.cli.demo.slack import story

            return await story(Path(folder), port)
        scratch = scratch_in(Path(folder), port, busy=busy)
        if busy:
            await _hire(scratch.settings)
        async with running(scratch.settings) as (gateway, stopped):
            if busy:
                return await _busy_day(gateway, scratch, stopped)
            return await _story(gateway, scratch, stopped, auto=auto)


async def _story(
    gateway: Gateway, scratch: Scratch, stopped: asyncio.Task[None], *, auto: bool
) -> int:
    url = gateway.settings.url()
    page = gateway.settings.page()
    link = await gateway.people.invite("demo", role="admin", url=page)
    _, token = await gateway.database.journal.write(
        lambda tx: grants.create(tx, label="demo-agent", servers=frozenset({SERVER}))
    )
    print(f"\nPage      {page}/\nSign in   {link}   (once, within 10 minutes)\n")
    print("Connect a client of your own to the same server:\n")
    for name, text in lines(url, SERVER, token)[:3]:
        print(f"  # {name}\n  {text.replace(chr(10), chr(10) + '  ')}\n")
    if not auto and sys.stdout.isatty():
        webbrowser.open(link)
    print("The demo agent makes one call of each kind:\n", flush=True)
    async with AsyncExitStack() as stack:
        if auto:
            await stack.enter_async_context(_approver(gateway))
        calls = asyncio.create_task(
            agent.run(f"{url}/mcp/{SERVER}", token, str(scratch.repository), say=say)
        )
        await asyncio.wait({calls, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not calls.done():
            calls.cancel()
            return 0
        ended = await calls
    proven = await proof(gateway, scratch, committed=ended.committed)
    if not auto:
        print("\nThe gateway goes on until you press Ctrl-C.", flush=True)
        await stopped
    return 0 if ended.as_told and proven and (ended.committed or not auto) else 1


async def _hire(settings: Settings) -> None:
    """People before rules: a gateway does not start on a policy that no one can serve."""
    database = open_record(settings)
    try:
        people = People(database, database.clock)
        for name, role in PEOPLE:
            await people.add(name, role=role)
    finally:
        await database.close()


async def _busy_day(gateway: Gateway, scratch: Scratch, stopped: asyncio.Task[None]) -> int:
    """Agents that never stop, for people who want to feel a busy day."""
    from gateway.cli.demo import busy

    url = gateway.settings.url()
    page = gateway.settings.page()
    print(f"\nPage      {page}/")
    for name, role in PEOPLE:
        link = await gateway.people.invite(name, role=role, url=page)
        print(f"Sign in   {link}   as {name}, {role}")
    tokens = []
    for label in busy.AGENTS:
        _, token = await gateway.database.journal.write(
            partial(grants.create, label=label, servers=frozenset({SERVER}))
        )
        tokens.append(token)
    print("\nThree agents call every few seconds until you press Ctrl-C:\n", flush=True)
    calls = asyncio.create_task(
        busy.run(f"{url}/mcp/{SERVER}", tuple(tokens), str(scratch.repository), say=say)
    )
    await asyncio.wait({calls, stopped}, return_when=asyncio.FIRST_COMPLETED)
    # A gateway that stops ends its agents' connections first.
    await asyncio.wait({stopped}, timeout=2)
    calls.cancel()
    await asyncio.gather(calls, return_exceptions=True)
    return 0 if stopped.done() else 1


@asynccontextmanager
async def _approver(gateway: Gateway) -> AsyncIterator[None]:
    """A person for `--auto`: looks at what waits and approves it, through the public API."""
    token = await gateway.people.token("demo")
    headers = {"Authorization": f"Bearer {token}"}
    base = f"{gateway.settings.url()}/api/v1"

    async def approve() -> None:
        async with aiohttp.ClientSession(headers=headers) as client:
            while True:
                async with client.get(f"{base}/pending") as answer:
                    items = (await answer.json())["items"]
                for item in items:
                    body = {"revision": item["revision"], "reason": "the demo's own approver"}
                    press = f"{base}/approvals/{item['id']}/approve"
                    async with client.post(press, json=body) as answer:
                        answer.raise_for_status()
                await asyncio.sleep(0.2)

    task = asyncio.create_task(approve(), name="demo approver")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
