"""Runs approved calls that no one waits for, where their rule says `when_detached: execute`.

Without that word an approval is kept for the agent's return. The result is stored, and the agent
gets it when it comes back. Of several gateways one claims the call and runs it, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import structlog
from sqlalchemy import Connection

from approvals.detached import deserted
from approvals.model import Approval
from approvals.owned_tasks import OwnedTasks
from approvals.record.clock import Clock
from approvals.record.database import Database
from approvals.record.journal import RecordUnavailable
from approvals.rows import load
from gateway.enforcement import grants
from gateway.enforcement.grants import Grant
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, MODERN_VERSIONS, VERSION_KEY
from gateway.relay.agents.request import Backend, Caller
from gateway.relay.methods.execution import Executions
from gateway.relay.methods.outbound import stored_call
from gateway.relay.methods.progress import Progress

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 15.0  # before a call that could not be run is tried again


class DetachedRunner:
    """Finds such calls and runs them."""

    def __init__(
        self,
        *,
        database: Database,
        executions: Executions,
        backends: Mapping[str, Backend],
        clock: Clock,
    ) -> None:
        self._database = database
        self._executions = executions
        self._backends = backends
        self._clock = clock
        self._tried: dict[str, float] = {}  # when, by the monotonic clock
        self._running = OwnedTasks()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Look until the block ends. What runs then is `Executions`' to end."""
        self._running.start(self._look(), name="deserted")
        try:
            yield
        finally:
            await self._running.end()

    async def _look(self) -> None:
        while True:
            try:
                now = self._clock.now()
                found = await self._database.read(partial(deserted, now=now))
                self._start(found)
            except RecordUnavailable:
                log.warning("record.unavailable", what="deserted")
            except Exception:  # a loop that must live on; it logs and looks again
                log.exception("deserted.failed")
            await asyncio.sleep(_LOOK_SECONDS)

    def _start(self, found: list[str]) -> None:
        moment = time.monotonic()
        self._tried = {one: at for one, at in self._tried.items() if one in found}
        for approval_id in found:
            if moment - self._tried.get(approval_id, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
                continue
            self._tried[approval_id] = moment
            self._running.start(self._run(approval_id), name=f"deserted {approval_id}")

    async def _run(self, approval_id: str) -> None:
        def read(connection: Connection) -> tuple[Approval | None, Grant | None]:
            approval = load(connection, approval_id)
            if approval is None:
                return None, None
            return approval, grants.by_id(connection, approval.call.grant)

        try:
            approval, grant = await self._database.read(read)
            if approval is None or grant is None or not grant.usable(self._clock.now()):
                return
            backend = self._backends.get(approval.call.server)
            if backend is None or not grant.reaches(backend.name):
                return
            caller = _caller(approval, grant, backend)
            call = stored_call(approval, caller.envelope)
            await self._executions.run(caller, call, approval, Progress.silent())
        except RecordUnavailable:
            log.warning("record.unavailable", approval=approval_id)


def _caller(approval: Approval, grant: Grant, backend: Backend) -> Caller:
    """In no one's session: the gateway's own, in the revision that has none."""
    (version,) = MODERN_VERSIONS
    client = approval.call.client
    envelope = {
        VERSION_KEY: version,
        CAPABILITIES_KEY: {},
        CLIENT_KEY: {"name": client.name, "version": client.version},
    }
    return Caller(
        grant=grant,
        backend=backend,
        modern=True,
        revision=version,
        session=None,
        envelope=envelope,
    )
