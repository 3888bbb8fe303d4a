"""/healthz and /readyz: whether the process lives, and whether calls can be judged and recorded.

Public on purpose, so they say nothing an outsider could use: no names, no paths, no texts of
errors beyond our own.
"""

from __future__ import annotations

import json

from starlette.types import Receive, Scope, Send

from gateway.operations.housekeeping import Housekeeping
from gateway.operations.status import Status
from gateway.relay.agents.response import reply

PATHS = frozenset({"/healthz", "/readyz"})
_OK, _UNAVAILABLE = 200, 503
_DEGRADED = ("policy", "reviewers", "servers")
_UNWRITABLE = "cannot be written: every call is refused"
_SET_BACK = "was set back or changed: every call is refused; see signoff doctor"


class Health:
    """The ASGI application of both paths."""

    def __init__(self, housekeeping: Housekeeping, status: Status) -> None:
        self._housekeeping = housekeeping
        self._status = status

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

        A policy file that is rejected or waits, a rule no one can approve, a server that cannot be
        started or a Slack that does not answer degrades; only a record that cannot be written makes
        the gateway unready, for then nothing may pass.
        """
        works = self._housekeeping.record_works
        record = works and self._housekeeping.halted() is None
        told: dict[str, object] = {
            "ready": record,
            "record": "ok" if record else (_SET_BACK if works else _UNWRITABLE),
            **dict.fromkeys(_DEGRADED, "ok"),
        }
        alerts = [alert for alert in self._status.alerts() if alert.public]
        for alert in reversed(alerts):  # the gravest of a subject comes first, and stays
            if alert.subject in _DEGRADED:
                told[alert.subject] = alert.public
        if self._status.slack is not None:
            faults = " ".join(alert.public for alert in alerts if alert.subject == "slack")
            told["slack"] = f"degraded: {faults}" if faults else "ok"
        return record, told
