"""The composition root: the one file that knows everything, and decides nothing.

`open_gateway` builds all parts in order and takes them down in reverse. HTTP is split before
FastAPI sees it: `/mcp` goes to the relay's plain ASGI endpoint, the rest to the surface.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from approvals import leases, processes, webhook
from approvals.outbox_worker import Notifier, Outbox
from approvals.record.database import Database, RecordUnavailable, Transaction
from approvals.reviewers import People
from approvals.service import Approvals, JudgeAgain
from approvals.signing import secret_of
from approvals.wakeup import Wakeup
from gateway.admin.policy_editor import PolicyEditor
from gateway.admin.reviewer_check import ReviewerCheck, vouched
from gateway.admin.service import AdminService
from gateway.admin.starting_policy import known_rules, open_policy
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.confirmations import (
    Confirmations,
    confirm_first,
    note_commands,
)
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.grants import Grants
from gateway.enforcement.guard import Guard
from gateway.enforcement.policy_file import PolicyFile
from gateway.operations.health import PATHS as HEALTH_PATHS
from gateway.operations.health import Health
from gateway.operations.housekeeping import Housekeeping
from gateway.operations.process_name import claimed_name
from gateway.operations.status import Status
from gateway.policy.problems import PolicyInvalid, PolicyProblem
from gateway.record import open_record
from gateway.relay.build import Core, open_relay
from gateway.relay.endpoint import ALL, PREFIX
from gateway.relay.methods.holding import Holding
from gateway.servers import Servers, load_servers
from gateway.settings import Settings
from web.app import build as build_surface
from web.border import Border
from web.services import Services

if TYPE_CHECKING:
    from gateway.slack_setup import SlackSetup

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway, as an ASGI application and as parts for its operator."""

    settings: Settings
    database: Database
    approvals: Approvals
    people: People
    grants: Grants
    catalogue: Catalogue
    policies: PolicyFile
    confirmations: Confirmations
    is_first: bool  # the record's first start, which confirmed what it found
    servers: Servers
    holding: Holding
    endpoint: ASGIApp
    surface: ASGIApp
    health: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path.startswith(PREFIX) or path == ALL:
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
async def open_gateway(
    settings: Settings, servers: Servers | None = None
) -> AsyncIterator[Gateway]:
    """Everything, from the record up; closed in reverse when the block ends. Without `servers`,
    those of the settings' file.

    Raises:
        PolicyInvalid: policy.json has errors, or asks for approvals that no one on record can
            give; nothing is opened on a bad policy.
        Unconfirmed: what was confirmed is gone from the record.
        SlackUnusable: Slack is set up, and no one could approve from it.
    """
    async with AsyncExitStack() as stack:
        found = await _foundation(stack, settings, servers)
        core, guard = found.core, found.core.guard
        relay = await open_relay(stack, core, settings)
        chat = await _chat(
            stack,
            settings,
            core.approvals,
            found.people,
            policies=found.policies,
            judge_again=guard.judge_again,
        )
        if chat is not None:
            from gateway.slack_setup import announce  # noqa: PLC0415 - it is loaded already

            announce(chat, found.policies, core.confirmations)
        status = _status(found, chat)
        outbox = Outbox(
            core.database,
            await _notifiers(stack, core.database, settings, chat),
            clock=core.database.clock,
        )
        await outbox.enlist()
        housekeeping = _housekeeping(settings, found, outbox)
        await stack.enter_async_context(housekeeping.running())
        yield Gateway(
            settings=settings,
            database=core.database,
            approvals=core.approvals,
            people=found.people,
            grants=core.grants,
            catalogue=core.catalogue,
            policies=found.policies,
            confirmations=core.confirmations,
            is_first=found.is_first,
            servers=found.servers,
            holding=relay.holding,
            endpoint=relay.endpoint,
            surface=_surface(settings, found, status, chat),
            health=Health(housekeeping, status),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Foundation:
    """What traffic and surface stand on."""

    core: Core
    people: People
    staff: ReviewerCheck
    policies: PolicyFile
    freezes: Freezes
    servers: Servers
    is_first: bool
    name: str  # of this process


async def _foundation(
    stack: AsyncExitStack, settings: Settings, given: Servers | None
) -> _Foundation:
    """The record, the people, the rules in force, and what decides by them."""
    database = open_record(settings)
    stack.push_async_callback(database.close)
    servers = given or read_servers(settings.servers)
    wakeup = Wakeup(database)
    stack.callback(wakeup.close)
    people = People(database, database.clock)
    staff = ReviewerCheck(people, lambda: policies.current, vouched=vouched(settings))
    policies, confirmations, is_first = await _rules(
        settings, database, staff, servers, typed=given is not None
    )
    catalogue = Catalogue(database, most_names=settings.max_tools)
    await catalogue.load()
    freezes = Freezes(database)
    await freezes.load()
    process, name = await _entered(stack, database, settings)
    guard = Guard(
        freezes=freezes,
        trusted=servers.trusted,
        database=database,
        policies=policies,
        catalogue=catalogue,
        default_hold=settings.hold,
        max_pending=settings.max_pending,
        max_withdrawn=settings.max_withdrawn,
        lease_seconds=settings.lease_seconds,
        process=process,
    )
    await guard.started()
    core = Core(
        database=database,
        approvals=Approvals(database, wakeup, database.clock, database.keys),
        wakeup=wakeup,
        grants=Grants(database, database.clock),
        catalogue=catalogue,
        guard=guard,
        confirmations=confirmations,
        servers=servers.servers,
    )
    return _Foundation(
        core=core,
        people=people,
        staff=staff,
        policies=policies,
        freezes=freezes,
        servers=servers,
        is_first=is_first,
        name=name,
    )


def _status(found: _Foundation, slack: SlackSetup | None) -> Status:
    return Status(
        policies=found.policies,
        confirmations=found.core.confirmations,
        servers=found.servers,
        freezes=found.freezes,
        staff=found.staff,
        slack=slack.app.health.faults if slack is not None else None,
    )


def _housekeeping(settings: Settings, found: _Foundation, outbox: Outbox) -> Housekeeping:
    core = found.core
    return Housekeeping(
        database=core.database,
        guard=core.guard,
        freezes=found.freezes,
        catalogue=core.catalogue,
        policies=found.policies,
        confirmations=core.confirmations,
        staff=found.staff,
        outbox=outbox,
        retention_days=settings.retention_days,
        name=found.name,
    )


def _surface(
    settings: Settings, found: _Foundation, status: Status, chat: SlackSetup | None
) -> ASGIApp:
    """The page and its API, with what administrators do there."""
    core = found.core
    admin = AdminService(
        database=core.database,
        grants=core.grants,
        freezes=found.freezes,
        catalogue=core.catalogue,
        policies=found.policies,
        servers=found.servers,
        confirmations=core.confirmations,
    )
    editor = PolicyEditor(
        database=core.database,
        policies=found.policies,
        catalogue=core.catalogue,
        trusted=found.servers.trusted,
        changed=core.guard.policy_changed,
        confirmations=core.confirmations,
    )
    return build_surface(
        Services(
            approvals=core.approvals,
            people=found.people,
            database=core.database,
            clock=core.database.clock,
            border=_border(settings),
            public_url=settings.url(),
            status=status.alerts,
            admin=admin,
            editor=editor,
            judge_again=core.guard.judge_again,
            notification_values=settings.notification_arguments == "shown",
            slack=chat.routes if chat is not None else None,
        )
    )


async def _entered(
    stack: AsyncExitStack, database: Database, settings: Settings
) -> tuple[str, str]:
    """This process's id and name on record, until the stack is closed."""
    process, name = processes.new_id(), stack.enter_context(claimed_name(settings.data))
    lease_ms = int(settings.lease_seconds * 1000)
    await database.journal.write(partial(_enter, process=process, name=name, lease_ms=lease_ms))
    stack.push_async_callback(_left, database, process)
    return process, name


def _enter(tx: Transaction, *, process: str, name: str, lease_ms: int) -> None:
    """This process begins, and knows that anyone who had its name before is dead."""
    for gone in processes.enter(tx, process, name=name, lease_ms=lease_ms):
        leases.recover(tx, tx.now, owner=gone)


async def _left(database: Database, process: str) -> None:
    """This process ends: anyone who still waits at it waits no more."""
    try:
        await database.journal.write(partial(processes.leave, process=process))
    except RecordUnavailable:
        log.warning("record.unavailable", what="process")  # its lease tells it soon


async def _rules(
    settings: Settings, database: Database, staff: ReviewerCheck, servers: Servers, *, typed: bool
) -> tuple[PolicyFile, Confirmations, bool]:
    """The policy to start on, what is confirmed, and whether this is the record's first start.

    Raises:
        PolicyInvalid: it has errors, or asks for approvals that no one on record can give.
        Unconfirmed: the confirmed rules are gone.
    """
    await staff.meet()
    path = settings.policy
    known = await known_rules(settings, database)
    try:
        policies = open_policy(settings, database, staff, known)
    except PolicyInvalid as invalid:
        if known is None:
            raise
        # Of a gateway that read them otherwise: the file is where they are put right.
        what = "These are the rules that were confirmed, which this gateway cannot use."
        write = f"Put {path.name} right, then: signoff policy confirm"
        hint = PolicyProblem(pointer="", severity="warning", what=what, write=write)
        raise PolicyInvalid((*invalid.problems, hint), path.name) from invalid
    unmet = staff.unmet(policies.current)
    if unmet:
        raise PolicyInvalid((*unmet, *_waits(policies)), path.name)
    is_first = settings.policy_trust != "file" and known is None
    if is_first:
        known = await confirm_first(database, policies, Servers(servers={}) if typed else servers)
    token = os.environ.get("SIGNOFF_REVIEWER_TOKEN", "").strip()
    who = await People(database, database.clock).bearer(token) if token else None
    admin = who is not None and who.role == "admin"
    if settings.cli_decides:  # the other way once the start has said who still may
        await note_commands(database, decide=True, admin=admin)
    confirmations = Confirmations(database, policies, servers, known, typed=typed)
    await confirmations.look()
    await confirmations.keep_closing()
    return policies, confirmations, is_first


async def _chat(
    stack: AsyncExitStack,
    settings: Settings,
    approvals: Approvals,
    people: People,
    *,
    policies: PolicyFile,
    judge_again: JudgeAgain,
) -> SlackSetup | None:
    """Slack, when it is set up. Brings slack_sdk with it, which others do not need."""
    config = settings.slack()
    if config is None:
        return None
    from gateway.slack_setup import open_slack  # noqa: PLC0415 - see above

    return await open_slack(
        stack,
        config,
        approvals=approvals,
        people=people,
        policy=policies.current,
        judge_again=judge_again,
    )


async def _notifiers(
    stack: AsyncExitStack, database: Database, settings: Settings, chat: SlackSetup | None
) -> dict[str, Notifier]:
    """Who is told what happened, by the name its outbox rows carry."""
    found: dict[str, Notifier] = {}
    if chat is not None:
        found["slack"] = chat.app.notifier
    if settings.webhook_url is not None and settings.webhook_secret is not None:
        found["webhook"] = await stack.enter_async_context(
            webhook.opened(
                settings.webhook_url.get_secret_value(),
                secret_of(settings.webhook_secret.get_secret_value()),
                allow_private=settings.webhook_allow_private,
                database=database,
                clock=database.clock,
                gateway=settings.page(),
            )
        )
    return found


def _border(settings: Settings) -> Border:
    hosts = frozenset(host.rpartition(":")[0] or host for host in settings.hosts())
    return Border(
        hosts=hosts,
        origins=settings.page_origins(),
        https=urlsplit(settings.page()).scheme == "https",
    )


def _waits(policies: PolicyFile) -> tuple[PolicyProblem, ...]:
    """What to say beside rules no one can serve, when the file says something else by now."""
    if policies.unconfirmed is None:
        return ()
    name = policies.path.name
    what = f"These are the rules that were confirmed. {name} has changed since, and waits."
    write = "Look at the change and confirm: signoff policy confirm"
    return (PolicyProblem(pointer="", severity="warning", what=what, write=write),)
