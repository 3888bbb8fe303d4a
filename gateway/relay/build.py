"""The relay, wired: from the servers' side up to the endpoint agents talk to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import aiohttp

from approvals.record.database import Database
from approvals.service import Approvals
from approvals.wakeup import Wakeup
from gateway import open_files
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.grants import Grants
from gateway.enforcement.guard import Guard
from gateway.protocol.param_headers import HeaderParam
from gateway.protocol.request_state import RequestStates
from gateway.relay.agents.request import Backend
from gateway.relay.agents.sessions import Sessions
from gateway.relay.aggregate.dispatch import AggregateDispatch
from gateway.relay.aggregate.session import AggregateSessions
from gateway.relay.bridge.bridge import Bridge
from gateway.relay.endpoint import Endpoint
from gateway.relay.methods.calls import Calls
from gateway.relay.methods.client_timeouts import ClientTimeouts
from gateway.relay.methods.detached_runner import DetachedRunner
from gateway.relay.methods.dispatch import Dispatch
from gateway.relay.methods.execution import Executions
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.listing import Listing
from gateway.relay.methods.pinned_lists import PinnedLists
from gateway.relay.methods.questions import Questions
from gateway.relay.methods.task_runner import TaskRunner
from gateway.relay.methods.task_subscriptions import TaskListen
from gateway.relay.methods.tasks import Tasks
from gateway.relay.methods.tool_listing import ToolListing
from gateway.relay.upstreams.http import HttpUpstream, pooled_session
from gateway.relay.upstreams.unconfirmed import Gate
from gateway.relay.upstreams.upstream import Upstream
from gateway.servers import CommandServer, Server
from gateway.settings import Settings

_EXECUTION_PATIENCE: Final = 8.0
"""Seconds a running call may still take when the gateway stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What the relay stands on: the record, and what decides about calls."""

    database: Database
    approvals: Approvals
    wakeup: Wakeup
    grants: Grants
    catalogue: Catalogue
    guard: Guard
    confirmations: Confirmations
    servers: Mapping[str, Server]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much and how long: sizes in bytes, times in seconds."""

    body: int  # of a request
    result: int  # of an answer
    listing: int  # of a server's list
    refresh: float  # until a list is asked for again
    silence: float  # of a server, after which a call's outcome is unknown
    progress: float  # between notes to an agent that waits
    task_hold: float  # for which a call that may become a task waits for a quick decision
    at_once: int  # requests of one grant

    @classmethod
    def of(cls, settings: Settings) -> Bounds:
        return cls(
            body=settings.max_body,
            result=settings.max_result,
            listing=settings.max_listing,
            refresh=settings.list_refresh,
            silence=settings.server_timeout,
            progress=settings.progress,
            task_hold=settings.task_hold,
            at_once=open_files.for_one_grant(),
        )


@dataclass(frozen=True, slots=True)
class Relay:
    """What agents talk to, and those of them that wait."""

    endpoint: Endpoint
    holding: Holding


@dataclass(frozen=True, slots=True)
class _Runs:
    """What runs approved calls."""

    executions: Executions
    tasks: TaskRunner


async def open_relay(stack: AsyncExitStack, core: Core, settings: Settings) -> Relay:
    """The relay, taken down with the stack."""
    bounds = Bounds.of(settings)
    backends = await _backends(stack, core, bounds)
    tool_listing = ToolListing(
        pinned=PinnedLists(core.guard.rules, core.catalogue),
        catalogue=core.catalogue,
        max_result=bounds.result,
        max_listing=bounds.listing,
        refresh_seconds=bounds.refresh,
    )
    runs = await _runs(stack, core, bounds, tool_listing, backends)
    sessions = Sessions(core.database.keys.session)
    dispatch, holding = _methods(core, settings, bounds, tool_listing, runs, sessions)
    together = AggregateDispatch(
        backends=backends,
        dispatch=dispatch,
        holding=holding,
        tool_listing=tool_listing,
        catalogue=core.catalogue,
        guard=core.guard,
        approvals=core.approvals,
        bundles=AggregateSessions(sessions),
        separator=settings.separator,
        max_result=bounds.result,
    )
    endpoint = Endpoint(
        backends=backends,
        grants=core.grants,
        sessions=sessions,
        catalogue=core.catalogue,
        dispatch=dispatch,
        together=together,
        hosts=settings.hosts(),
        origins=settings.origins(),
        max_body=bounds.body,
        at_once=bounds.at_once,
    )
    return Relay(endpoint, holding)


def _methods(
    core: Core,
    settings: Settings,
    bounds: Bounds,
    tool_listing: ToolListing,
    runs: _Runs,
    sessions: Sessions,
) -> tuple[Dispatch, Holding]:
    """What serves one server's messages, by method; and the held calls among them."""
    questions = Questions(RequestStates(core.database.keys.state), core.database.clock)
    holding = Holding(
        approvals=core.approvals,
        guard=core.guard,
        executions=runs.executions,
        rounds=questions,
        patience=ClientTimeouts(core.database, core.grants),
        clock=core.database.clock,
        url=settings.page(),
        progress_seconds=bounds.progress,
    )
    tasks = Tasks(
        approvals=core.approvals,
        guard=core.guard,
        runner=runs.tasks,
        url=settings.page(),
        hold=bounds.task_hold,
        max_result=bounds.result,
    )
    calls = Calls(
        guard=core.guard,
        holding=holding,
        tool_listing=tool_listing,
        catalogue=core.catalogue,
        rounds=questions,
        tasks=tasks,
        max_result=bounds.result,
    )
    task_listen = TaskListen(
        tasks=tasks,
        approvals=core.approvals,
        stopping=holding.stopping,
        max_result=bounds.result,
    )
    listing = Listing(
        tool_listing=tool_listing,
        catalogue=core.catalogue,
        max_result=bounds.result,
    )
    dispatch = Dispatch(
        guard=core.guard,
        calls=calls,
        holding=holding,
        listing=listing,
        tool_listing=tool_listing,
        tasks=tasks,
        task_listen=task_listen,
        sessions=sessions,
        max_result=bounds.result,
    )
    return dispatch, holding


async def _runs(
    stack: AsyncExitStack,
    core: Core,
    bounds: Bounds,
    tool_listing: ToolListing,
    backends: Mapping[str, Backend],
) -> _Runs:
    """What runs approved calls: those that are waited for in place, and those that are not."""
    executions = Executions(
        guard=core.guard,
        tool_listing=tool_listing,
        catalogue=core.catalogue,
        max_result=bounds.result,
    )
    stack.push_async_callback(executions.aclose, _EXECUTION_PATIENCE)
    tasks = TaskRunner(
        database=core.database,
        wakeup=core.wakeup,
        executions=executions,
        backends=backends,
        clock=core.database.clock,
    )
    await stack.enter_async_context(tasks.working())
    detached = DetachedRunner(
        database=core.database,
        executions=executions,
        backends=backends,
        clock=core.database.clock,
    )
    await stack.enter_async_context(detached.working())
    return _Runs(executions, tasks)


async def _backends(stack: AsyncExitStack, core: Core, bounds: Bounds) -> dict[str, Backend]:
    client = await stack.enter_async_context(pooled_session())
    backends = {
        name: _backend(server, core, bounds, client) for name, server in core.servers.items()
    }
    for backend in backends.values():
        stack.push_async_callback(backend.upstream.aclose)
    return backends


def _backend(server: Server, core: Core, bounds: Bounds, client: aiohttp.ClientSession) -> Backend:
    catalogue, allows = core.catalogue, partial(core.confirmations.allows, server.name)
    timeout = server.timeout or bounds.silence
    upstream: Upstream
    refused: Callable[[str], None] = _nothing
    if isinstance(server, CommandServer):
        # Brings the MCP SDK with it: 17 MiB that a gateway without commands does not need.
        from gateway.relay.upstreams.stdio import Limits, StdioUpstream  # noqa: PLC0415

        upstream = by_pipe = StdioUpstream(
            server.name,
            server.command,
            server.args,
            server.env,
            server.cwd,
            shared=server.shared,
            tools_changed=partial(catalogue.outdated, server.name),
            limits=Limits(answer=timeout, line=bounds.result),
        )
        refused = by_pipe.forget_modern
    else:
        upstream = HttpUpstream(
            server.name, server.url, headers=server.headers, timeout=timeout, client=client
        )
    if not allows():
        upstream = Gate(upstream, allows)

    def header_params(tool: str) -> Sequence[HeaderParam]:
        known = catalogue.tool(server.name, tool)
        return known.header_params if known is not None else ()

    bridge = Bridge(
        upstream,
        protocol=server.protocol,
        header_params=header_params,
        answered=core.guard.answered,
        max_result=bounds.result,
        timeout=timeout,
        refused=refused,
    )
    return Backend(name=server.name, upstream=bridge)


def _nothing(_: str) -> None:
    """A server at a URL has no process that was asked in vain."""
