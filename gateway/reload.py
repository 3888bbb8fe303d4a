"""The policy in force, and its file watched: a bad file never replaces a good policy.

A call takes `current` once and keeps it for its whole life. Replacing it is one assignment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from watchfiles import awatch

from approvals.clock import Clock
from approvals.model import Millis
from gateway.policy.document import PolicyInvalid, load
from gateway.policy.problem import Problem
from gateway.policy.rules import Policy

log = structlog.get_logger()

_DEBOUNCE_MS = 100
_STEP_MS = 50
_TURN_MS = 5_000  # each turn costs some milliseconds; a stop is seen within a step all the same


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why the file as it stands now is not in force."""

    at: Millis
    problems: tuple[Problem, ...]
    text: str  # one line for logs, banners and readiness


class Policies:
    """The policy in force. `rejected` says what is wrong with the file, if anything is."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Read the file for the first time.

        Raises:
            PolicyInvalid: it has errors; a gateway must not start on it.
            OSError: it cannot be read.
        """
        self._path = path
        self._clock = clock
        self._text = path.read_bytes()
        self.current: Policy = load(self._text, name=path.name)
        self.loaded_at: Millis = clock.now()
        self.rejected: Rejected | None = None

    @property
    def path(self) -> Path:
        return self._path

    @property
    def text(self) -> str:
        """The file as it was when `current` was read from it."""
        return self._text.decode("utf-8", "replace")

    def reload(self) -> bool:
        """Read the file again. True: another policy is in force now."""
        try:
            text = self._path.read_bytes()
        except OSError as error:
            self._reject((), f"{self._path.name} cannot be read: {error.strerror}")
            return False
        if text == self._text:
            self.rejected = None
            return False
        try:
            policy = load(text, name=self._path.name)
        except PolicyInvalid as invalid:
            errors = tuple(p for p in invalid.problems if p.severity == "error")
            first = errors[0]
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            self._reject(invalid.problems, f"{first.pointer or '/'}: {first.what}{more}")
            return False
        self._text = text
        self.rejected = None
        changed = policy.hash != self.current.hash
        self.current = policy
        self.loaded_at = self._clock.now()
        log.info("policy.loaded", policy=policy.hash, changed=changed)
        return changed

    def refresh(self) -> bool:
        """Reload; True: there is something to tell, another policy or a file just rejected."""
        before = self.rejected
        return self.reload() or (self.rejected is not None and self.rejected is not before)

    async def watch(self, changed: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        """Reload whenever the file changes, by writing or by renaming over it, until `stop`.

        `changed` is told of every policy loaded and every file rejected.
        """
        # The folder is watched, not the file: editors save by renaming a new file over the old.
        name = self._path.name
        async for changes in awatch(
            self._path.absolute().parent,
            stop_event=stop,
            recursive=False,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=_TURN_MS,
        ):
            if any(Path(path).name == name for _, path in changes) and self.refresh():
                await changed()

    def _reject(self, problems: tuple[Problem, ...], text: str) -> None:
        self.rejected = Rejected(self._clock.now(), problems, text)
        log.error("policy.rejected", reason=text, kept=self.current.hash)
