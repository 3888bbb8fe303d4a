"""/healthz and /readyz: whether the process lives, and whether calls can be judged and recorded.

Public on purpose, so they say nothing an outsider could use: no names, no paths, no texts of
errors beyond our own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from starlette.types import Receive, Scope, Send

from gateway.admin.reviewer_check import Staff
from gateway.enforcement.confirmations import Confirmations
from gateway.enforcement.policy_file import Policies
from gateway.operations.housekeeping import Housekeeping
from gateway.relay.agents.response import reply
from gateway.servers import Servers

PATHS = frozenset({"/healthz", "/readyz"})
_OK, _UNAVAILABLE = 200, 503
_UNWRITABLE = "cannot be written: every call is refused"
_SET_BACK = "was set back or changed: every call is refused; see signoff doctor"


class Health:
    """The ASGI application of both paths."""

    def __init__(
        self,
        *,
        housekeeping: Housekeeping,
        policies: Policies,
        servers: Servers,
        confirmations: Confirmations,
        staff: Staff,
        slack: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._housekeeping = housekeeping
        self._policies = policies
        self._servers = servers
        self._confirmations = confirmations
        self._staff = staff
        self._slack = slack  # what is wrong with it; None: it is not set up

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        if scope["method"] not in ("GET", "HEAD"):
            await reply(send, 405, headers=[(b"allow", b"GET, HEAD")])
            return
        if scope["path"] == "/healthz":
            await reply(send, _OK, b'{"alive":true}')
            return
        ready, body = self.readiness()
        await reply(send, _OK if ready else _UNAVAILABLE, json.dumps(body).encode())

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether calls are served, and what is degraded.

        A policy file that is rejected or waits, a rule nobody can approve, a server that cannot be
        started or a Slack that does not answer degrades; only a record that cannot be written makes
        the gateway unready, for then nothing may pass.
        """
        works = self._housekeeping.record_works
        record = works and self._housekeeping.halted() is None
        policy = "ok"
        if self._policies.rejected is not None:
            policy = "the saved file is not in force: it has errors"
        elif self._policies.waiting is not None:
            policy = "the saved file is not in force: it waits to be confirmed"
        servers = "ok"
        if self._servers.problems:
            servers = "some entries cannot be used"
        elif self._confirmations.waiting():
            servers = "some wait to be confirmed"
        told: dict[str, object] = {
            "ready": record,
            "record": "ok" if record else (_SET_BACK if works else _UNWRITABLE),
            "policy": policy,
            "reviewers": "ok" if not self._staff.problems else "some rules nobody can approve",
            "servers": servers,
        }
        if self._slack is not None:
            faults = self._slack()
            told["slack"] = f"degraded: {' '.join(faults)}" if faults else "ok"
        return record, told
