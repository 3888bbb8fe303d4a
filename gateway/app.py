"""The composition root: the one file that knows everything, and decides nothing.

`open_gateway` builds all parts in order and takes them down in reverse. HTTP is split before
FastAPI sees it: `/mcp/` goes to the relay's plain ASGI endpoint, the rest to the surface.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from approvals import webhook
from approvals.notify import Notifier, Outbox
from approvals.reviewers import People
from approvals.service import Approvals
from approvals.signing import secret_of
from approvals.store import Database
from approvals.wakeup import Wakeup
from gateway.catalogue import Catalogue
from gateway.desk import Desk
from gateway.freeze import Freezes
from gateway.grants import Grants
from gateway.guard import Guard
from gateway.health import PATHS as HEALTH_PATHS
from gateway.health import Health
from gateway.housekeeping import Housekeeping
from gateway.opening import open_record
from gateway.relay.calls import Calls
from gateway.relay.dispatch import Dispatch
from gateway.relay.endpoint import PREFIX, Endpoint
from gateway.relay.execution import Executions
from gateway.relay.holding import Holding
from gateway.relay.http import HttpUpstream, pooled_session
from gateway.relay.listing import Listing
from gateway.relay.sessions import Sessions
from gateway.relay.upstream import Upstream
from gateway.relay.visit import Backend
from gateway.reload import Policies
from gateway.servers import CommandServer, Server, Servers, load_servers
from gateway.settings import Settings
from web.app import build as build_surface
from web.deps import Deps
from web.guard import Border
from web.page.frame import Banner

log = structlog.get_logger()

_EXECUTION_PATIENCE = 8.0  # seconds a running call may still take when the gateway stops


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, as an ASGI application and as parts for its operator."""

    settings: Settings
    database: Database
    approvals: Approvals
    people: People
    grants: Grants
    catalogue: Catalogue
    policies: Policies
    servers: Servers
    holding: Holding
    endpoint: ASGIApp
    surface: ASGIApp
    health: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(PREFIX):
            await self.endpoint(scope, receive, send)
        elif path in HEALTH_PATHS:
            await self.health(scope, receive, send)
        else:
            await self.surface(scope, receive, send)


def read_servers(path: Path) -> Servers:
    """servers.json with this process's environment put in.

    Raises:
        OSError: it cannot be read.
    """
    return load_servers(path.read_bytes(), os.environ, workspace=str(path.absolute().parent))


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Everything, from the record up; closed in reverse when the block ends.

    Raises:
        PolicyInvalid: policy.json has errors; nothing is opened on a bad policy.
    """
    async with AsyncExitStack() as stack:
        database = open_record(settings)
        keys, clock = database.keys, database.clock
        stack.push_async_callback(database.close)
        policies = Policies(settings.policy, clock)
        servers = read_servers(settings.servers)
        wakeup = Wakeup(database)
        stack.callback(wakeup.close)
        approvals = Approvals(database, wakeup, clock, keys)
        people = People(database, clock)
        catalogue = Catalogue(database)
        await catalogue.load()
        grants = Grants(database, clock)
        freezes = Freezes(database)
        await freezes.load()
        guard = Guard(
            freezes=freezes,
            trusted=frozenset(
                name for name, one in servers.servers.items() if one.trust_annotations
            ),
            database=database,
            policies=policies,
            catalogue=catalogue,
            default_hold=settings.hold,
            max_pending=settings.max_pending,
            lease_seconds=settings.lease_seconds,
        )
        client = await stack.enter_async_context(pooled_session())
        backends = {
            name: _backend(server, settings, client) for name, server in servers.servers.items()
        }
        for backend in backends.values():
            stack.push_async_callback(backend.upstream.aclose)
        listing = Listing(
            guard=guard,
            catalogue=catalogue,
            clock=clock,
            max_result=settings.max_result,
            refresh_seconds=settings.list_refresh,
        )
        executions = Executions(
            guard=guard, listing=listing, catalogue=catalogue, max_result=settings.max_result
        )
        stack.push_async_callback(executions.aclose, _EXECUTION_PATIENCE)
        holding = Holding(
            approvals=approvals,
            guard=guard,
            executions=executions,
            clock=clock,
            url=settings.url(),
            progress_seconds=settings.progress,
        )
        sessions = Sessions(keys.session)
        endpoint = Endpoint(
            backends=backends,
            grants=grants,
            sessions=sessions,
            catalogue=catalogue,
            dispatch=Dispatch(
                calls=Calls(
                    guard=guard,
                    holding=holding,
                    listing=listing,
                    catalogue=catalogue,
                    max_result=settings.max_result,
                ),
                holding=holding,
                listing=listing,
                sessions=sessions,
                max_result=settings.max_result,
            ),
            hosts=settings.hosts(),
            origins=settings.origins(),
            max_body=settings.max_body,
        )
        desk = Desk(
            database=database,
            grants=grants,
            freezes=freezes,
            catalogue=catalogue,
            policies=policies,
            servers=servers,
        )
        surface = build_surface(
            Deps(
                approvals=approvals,
                people=people,
                database=database,
                clock=clock,
                border=_border(settings),
                public_url=settings.url(),
                status=lambda: _banners(policies, servers, freezes),
                tools=desk.tools,
                policy=desk.policy,
                judge_again=guard.judge_again,
                desk=desk,
            )
        )
        outbox = Outbox(database, await _notifiers(stack, database, settings), clock=clock)
        await outbox.enlist()
        housekeeping = Housekeeping(
            database=database,
            guard=guard,
            freezes=freezes,
            policies=policies,
            outbox=outbox,
            retention_days=settings.retention_days,
        )
        await stack.enter_async_context(housekeeping.running())
        yield Gateway(
            settings=settings,
            database=database,
            approvals=approvals,
            people=people,
            grants=grants,
            catalogue=catalogue,
            policies=policies,
            servers=servers,
            holding=holding,
            endpoint=endpoint,
            surface=surface,
            health=Health(housekeeping=housekeeping, policies=policies, servers=servers),
        )


def _backend(server: Server, settings: Settings, client: aiohttp.ClientSession) -> Backend:
    timeout = server.timeout or settings.server_timeout
    upstream: Upstream
    if isinstance(server, CommandServer):
        # Brings the MCP SDK with it: 17 MiB that a gateway without commands does not need.
        from gateway.relay.stdio import Limits, StdioUpstream  # noqa: PLC0415

        upstream = StdioUpstream(
            server.name,
            server.command,
            server.args,
            server.env,
            server.cwd,
            shared=server.shared,
            limits=Limits(answer=timeout, line=settings.max_result),
        )
    else:
        upstream = HttpUpstream(
            server.name, server.url, headers=server.headers, timeout=timeout, client=client
        )
    return Backend(
        name=server.name,
        upstream=upstream,
    )


async def _notifiers(
    stack: AsyncExitStack, database: Database, settings: Settings
) -> dict[str, Notifier]:
    """Who is told what happened, by the name its outbox rows carry."""
    found: dict[str, Notifier] = {}
    if settings.webhook_url is not None and settings.webhook_secret is not None:
        found["webhook"] = await stack.enter_async_context(
            webhook.opened(
                settings.webhook_url.get_secret_value(),
                secret_of(settings.webhook_secret.get_secret_value()),
                allow_private=settings.webhook_allow_private,
                database=database,
                clock=database.clock,
                gateway=settings.url(),
            )
        )
    return found


def _border(settings: Settings) -> Border:
    hosts = frozenset(host.rpartition(":")[0] or host for host in settings.hosts())
    return Border(
        hosts=hosts,
        origins=settings.origins(),
        https=urlsplit(settings.url()).scheme == "https",
    )


def _banners(policies: Policies, servers: Servers, freezes: Freezes) -> tuple[Banner, ...]:
    banners = [
        Banner(f"Frozen: {what}. Its calls are refused until somebody thaws it.", bad=True)
        for what in freezes.frozen()
    ]
    if policies.rejected is not None:
        text = f"policy.json is not in force as saved: {policies.rejected.text}"
        banners.append(Banner(text, bad=True))
    banners += [
        Banner(f"Server {problem.server or 'list'}: {problem.text}", bad=True)
        for problem in servers.problems
    ]
    return tuple(banners)
