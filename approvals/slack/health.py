"""How Slack is doing, for /readyz, the page's banner and the log. Nothing here stops a call."""

from __future__ import annotations

from typing import Final

import structlog

log = structlog.get_logger()

INBOUND: Final = "inbound"
OUTBOUND: Final = "outbound"


class SlackHealth:
    """What is wrong, by part. Texts are ours and fit for the public: no names, no secrets."""

    def __init__(self) -> None:
        self._wrong: dict[str, str] = {}

    def well(self, part: str) -> None:
        """This part works."""
        if self._wrong.pop(part, None) is not None:
            log.info("slack.recovered", part=part)

    def wrong(self, part: str, why: str) -> None:
        """This part does not work; told once."""
        if self._wrong.get(part) != why:
            log.error("slack.degraded", part=part, why=why)
        self._wrong[part] = why

    def faults(self) -> tuple[str, ...]:
        """Everything that is wrong right now, as sentences."""
        return tuple(self._wrong.values())
