"""What came back for a call that needed no approval, on its way into the record."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from approvals.digest import sha256
from approvals.model import Execution
from gateway.enforcement.guard import Guard
from gateway.enforcement.recording import Allowed
from gateway.relay.upstreams.reading import classify, turned_away


@dataclass(slots=True)
class CallOutcome:
    """Noted as it passes, so that it stands whatever breaks off behind it."""

    guard: Guard
    allowed: Allowed
    started: float = field(default_factory=time.perf_counter)
    execution: Execution = Execution.OUTCOME_UNKNOWN
    result_digest: str = ""
    told: bool = False

    def note(
        self, message: dict[str, Any] | None, body: bytes, status: int = HTTPStatus.OK
    ) -> None:
        """The response; None: the server answered with an HTTP error.

        What a call with an effect did is told before its agent hears of it: the agent's next call
        finds it.
        """
        self.execution = Execution.UPSTREAM_ERROR if message is None else classify(message)
        self.result_digest = sha256(body)
        if self.allowed.verdict.claim is not None:
            self.tell(doubtful=message is None and not turned_away(status, body))

    def tell(self, *, doubtful: bool = False) -> None:
        """Have the end recorded, once."""
        if self.told:
            return
        self.told = True
        latency = int((time.perf_counter() - self.started) * 1000)
        self.guard.passed(
            self.allowed, self.execution, self.result_digest, latency, doubtful=doubtful
        )
