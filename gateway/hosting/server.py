"""The gateway under uvicorn: one process, uvloop and httptools, a stop that keeps what is pending.

On a stop signal held calls are let go with their handle first; what is running may finish, at most
for some seconds. Nothing pending is lost or taken for the agent's leaving.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import FrameType

import uvicorn

from approvals.record.database import RecordUnavailable
from approvals.record.keys import KeyUnusable
from approvals.slack.config import SlackUnusable
from gateway import open_files
from gateway.app import Gateway, open_gateway
from gateway.enforcement.confirmations import Unconfirmed
from gateway.hosting.address import announced
from gateway.hosting.connection import Connection
from gateway.hosting.logs import configure_logging
from gateway.policy.document import PolicyInvalid
from gateway.servers import Servers
from gateway.settings import Settings

__all__ = ["Server", "Unstartable", "configure_logging", "running"]

_GRACE_SECONDS = 10  # for what runs when the gateway is told to stop
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2_048


class Unstartable(Exception):
    """The gateway cannot start; the text says why and what to do."""


class Server(uvicorn.Server):
    """uvicorn, which on a stop signal first lets the held calls go."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway
        self.up = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        # Not uvicorn's own: it would raise the signal once more after serving, and that ends the
        # process before what runs, the servers' processes and the record are put down.
        self._gateway.holding.stop()
        self.force_exit |= self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@asynccontextmanager
async def running(
    settings: Settings, servers: Servers | None = None
) -> AsyncIterator[tuple[Gateway, asyncio.Task[None]]]:
    """A gateway that accepts connections, and the task that ends when a signal stops it.

    With port 0 the gateway's settings name the port that was picked. Without `servers`, those of
    the settings' file.

    Raises:
        Unstartable: a bad policy, a missing file, an unusable key or a port in use.
    """
    async with AsyncExitStack() as stack:
        open_files.raise_limit()
        listener = stack.enter_context(_listener(settings))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        try:
            gateway = await stack.enter_async_context(open_gateway(settings, servers))
        except PolicyInvalid as invalid:
            problems = "\n".join(str(problem) for problem in invalid.problems)
            raise Unstartable(f"{settings.policy} is not usable:\n{problems}") from invalid
        except (KeyUnusable, RecordUnavailable, SlackUnusable, Unconfirmed) as error:
            raise Unstartable(str(error)) from error
        except OSError as error:
            missing = isinstance(error, FileNotFoundError)
            do = " signoff init makes it from the servers file you have." if missing else ""
            raise Unstartable(f"{error.filename} cannot be read: {error.strerror}.{do}") from error
        server = Server(_config(gateway), gateway)
        task = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
        await asyncio.wait(
            {task, asyncio.create_task(server.up.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        try:
            with announced(gateway.settings):
                yield gateway, task
        finally:
            gateway.holding.stop()
            server.should_exit = True
            await task


def _listener(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Unstartable(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}. "
            "Another gateway may be running; choose another port with --port."
        ) from error
    listener.listen(_BACKLOG)
    return listener


def _config(gateway: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
        gateway,
        loop="none",
        http=Connection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
