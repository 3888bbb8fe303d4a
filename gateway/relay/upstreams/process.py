"""One MCP server run as a command: started, read line by line, put down with its whole tree.

Knows JSON texts, not what they mean. The SDK's `stdio_client` is not used: it reads a line of any
length in quadratic time, and leaves grandchildren alive when the server itself exits in time.
If the gateway dies, the kernel closes the server's stdin, which tells an MCP server to exit
(basic/lifecycle, Shutdown); a server that ignores the end of its stdin outlives a killed gateway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from mcp.client.stdio import get_default_environment

from gateway.relay.upstreams.stderr_log import StderrLog
from gateway.relay.upstreams.upstream import NotSent

log = logging.getLogger(__name__)

#: After its stdin closed a server may finish; then SIGTERM to its group; then SIGKILL.
GRACE_SECONDS = 2.0
TERMINATE_SECONDS = 2.0
REAP_SECONDS = 1.0
#: How long the last output of an exited server may take to arrive; a grandchild may hold the pipe.
LAST_OUTPUT_SECONDS = 0.5
_POLL_SECONDS = 0.01
#: A server that does not read its stdin is not sent more than this.
UNREAD_BYTES = 8 * 1024 * 1024
#: Reading the messages of one server takes the event loop, whatever thread does it. Where what one
#: read brought took so many seconds, the next is put off for three times as many.
LONG_SECONDS = 0.02
RESTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What starts a server: from the operator's file only, never through a shell."""

    name: str
    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    errlog: IO[Any] | None = None  # takes the server's stderr; None: our log, under its name
    tools_changed: Callable[[], None] | None = None  # told when the server says so, to whomever


@dataclass(frozen=True, slots=True)
class End:
    """Why a process is over. `crashed`: neither stopped by us nor for a fault of one answer."""

    why: str
    crashed: bool


class Process:
    """One process and the task that owns it (`run`). Nothing here blocks but `run`."""

    def __init__(
        self,
        command: Command,
        *,
        line_limit: int,
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[End], None],
    ) -> None:
        self._command = command
        self._on_message = on_message
        self._on_end = on_end
        self._lines = _Lines(line_limit)
        self._complaints = StderrLog(command.name, asyncio.get_running_loop().time)
        self._transport: asyncio.SubprocessTransport | None = None
        self._stdin: asyncio.WriteTransport | None = None
        self._end: End | None = None
        self._over = asyncio.Event()
        self._exited = asyncio.Event()
        self._garbage = 0
        self._resting: asyncio.TimerHandle | None = None
        self.pid = 0
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return self._stdin is not None and self._end is None

    def write(self, data: bytes) -> None:
        """Send one line.

        Raises:
            NotSent: the process is over, or does not read what it was sent before.
        """
        if self._stdin is None or self._end is not None or self._stdin.is_closing():
            raise NotSent(f"{self._command.name}: not running")
        if self._stdin.get_write_buffer_size() > UNREAD_BYTES:
            raise NotSent(f"{self._command.name}: does not read its input")
        self._stdin.write(data + b"\n")

    def stop(self, why: str = "stopped") -> None:
        """Ask the owning task to put it down; returns at once."""
        self._finish(End(why, crashed=False))

    async def run(self) -> None:
        """The process's task: from start to the end of the last of its tree (bounded)."""
        try:
            await self._spawn()
        except (OSError, ValueError) as error:
            # The error's text may quote a configured secret: only its kind is told.
            end = End(f"could not be started ({type(error).__name__})", crashed=True)
            self._finish(end)
            self.started.set_exception(NotSent(f"{self._command.name}: {end.why}"))
            self.started.exception()  # seen, also when no one waits any more
            return
        except BaseException:  # no one may wait for a start that never comes
            self._finish(End("stopped", crashed=False))
            self.started.set_exception(NotSent(f"{self._command.name}: stopped"))
            self.started.exception()
            raise
        log.info("stdio.started", extra={"server": self._command.name, "pid": self.pid})
        self.started.set_result(None)
        try:
            await self._over.wait()
            await self._put_down()
        except asyncio.CancelledError:  # the loop itself goes down: no time for manners
            self._finish(End("stopped", crashed=False))
            _signal_group(self.pid, signal.SIGKILL)
            raise
        finally:
            if self._transport is not None:
                self._transport.close()
            log.info("stdio.ended", extra={"server": self._command.name, "pid": self.pid})

    async def _spawn(self) -> None:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Protocol(self),
            self._command.command,
            *self._command.args,
            env={**get_default_environment(), **self._command.env},
            cwd=self._command.cwd,
            stderr=self._command.errlog or asyncio.subprocess.PIPE,
            start_new_session=True,  # its own process group: the whole tree can be signalled
        )
        self._transport = transport
        self._stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        self.pid = transport.get_pid()

    async def _put_down(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
        await _within(GRACE_SECONDS, self._exited)
        # The leader may be gone and its children not: what signals the group reaches all.
        if _signal_group(self.pid, signal.SIGTERM):
            try:
                async with asyncio.timeout(TERMINATE_SECONDS):
                    while _signal_group(self.pid, 0):  # noqa: ASYNC110  a group has no event
                        await asyncio.sleep(_POLL_SECONDS)
            except TimeoutError:
                _signal_group(self.pid, signal.SIGKILL)
        await _within(REAP_SECONDS, self._exited)

    def _finish(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._over.set()
            self._on_end(end)

    # Called by the protocol, on the loop.

    def received(self, data: bytes) -> None:
        if self._end is not None:
            return  # drained so that the server can finish, not read
        began = time.monotonic()
        for line in self._lines.feed(data):
            self._line(line)
        if self._lines.too_long:
            log.warning("stdio.too_large", extra={"server": self._command.name})
            self._finish(End("answer too large", crashed=False))
        took = time.monotonic() - began
        if took > LONG_SECONDS:
            self._rest(RESTS * took)

    def _rest(self, seconds: float) -> None:
        """Leave the loop to others for a while. What is said meanwhile waits in the pipe, and then
        its writer does.
        """
        out = self._stdout()
        if out is not None and not self._exited.is_set() and self._resting is None:
            out.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        resting, self._resting = self._resting, None
        out = self._stdout()
        if resting is not None and out is not None:
            resting.cancel()
            out.resume_reading()

    def _stdout(self) -> asyncio.ReadTransport | None:
        """None: it is closed."""
        if self._transport is None or self._transport.is_closing():
            return None
        out = cast("asyncio.ReadTransport | None", self._transport.get_pipe_transport(1))
        return None if out is None or out.is_closing() else out

    def _line(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            decoded = json.loads(line.decode())
        except (ValueError, RecursionError):
            decoded = None
        for message in decoded if isinstance(decoded, list) else [decoded]:
            if isinstance(message, dict):
                self._on_message(message)
            else:
                self._garbage += 1
                if self._garbage == 1:  # servers print; once is enough in the log
                    log.warning("stdio.not_json", extra={"server": self._command.name})

    def complained(self, data: bytes) -> None:
        self._complaints.feed(data)

    def fell_silent(self) -> None:
        self._complaints.end()

    def exited(self) -> None:
        self._exited.set()
        self._go_on()
        end = End("the server's process ended", crashed=True)
        asyncio.get_running_loop().call_later(LAST_OUTPUT_SECONDS, self._finish, end)

    def pipe_lost(self) -> None:
        self._finish(End("the server's process ended", crashed=True))


class _Protocol(asyncio.SubprocessProtocol):
    def __init__(self, process: Process) -> None:
        self._process = process

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._process.received(data)
        else:
            self._process.complained(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        del exc
        if fd == 1:
            self._process.pipe_lost()
        elif fd == 2:  # noqa: PLR2004 - stderr
            self._process.fell_silent()

    def process_exited(self) -> None:
        self._process.exited()


class _Lines:
    """Splits a byte stream into lines; stops for good at a line longer than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self.too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, without their ends."""
        *ends, rest = data.split(b"\n")
        lines: list[bytes] = []
        for end in ends:
            if self._size + len(end) > self._limit:
                self.too_long = True
                return lines
            lines.append(b"".join((*self._parts, end)))
            self._parts.clear()
            self._size = 0
        self._parts.append(rest)
        self._size += len(rest)
        self.too_long = self._size > self._limit
        return lines


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _signal_group(pgid: int, number: int) -> bool:
    """Signal a process group; whether any member (of ours) is left. 0 only asks."""
    if pgid <= 1:  # never our own group, never everybody
        return False
    try:
        os.killpg(pgid, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # a member changed its user: it cannot be told apart from a live one
    return True
