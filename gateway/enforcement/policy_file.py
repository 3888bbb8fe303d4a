"""The policy in force, and its file watched: a bad file never replaces a good policy, and one that
may open something waits until an administrator confirms it.

A call takes `current` once and keeps it for its whole life. Replacing it is one assignment.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from watchfiles import awatch

from approvals.model import Millis
from approvals.record.clock import Clock
from gateway.policy.closing import openings
from gateway.policy.document import PolicyInvalid, load
from gateway.policy.opened import told
from gateway.policy.problems import PolicyProblem
from gateway.policy.rules import Policy

log = structlog.get_logger()

MOST: Final = 4 * 1024 * 1024
"""Bytes of policy.json; ten thousand rules are some 2 MB."""

_DEBOUNCE_MS = 100
_STEP_MS = 50
_WORDS = 300  # characters of the first change that a line tells
_TURN_MS = 5_000  # each turn costs some milliseconds; a stop is seen within a step all the same


def content(path: Path) -> bytes:
    """The file's bytes. Agents may be able to put something else in its place: a pipe that no one
    writes, a device that never ends.

    Raises:
        OSError: it cannot be read, is no file, or is too large for rules.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no file", str(path))
        found = file.read(MOST + 1)
    if len(found) > MOST:
        raise OSError(errno.EFBIG, f"it is larger than {MOST} bytes", str(path))
    return found


def waits_for(
    confirmed: Policy,
    policy: Policy,
    *,
    people: frozenset[str],
    staffed: Callable[[Policy], bool],
) -> tuple[str, ...]:
    """Why a policy may not count without someone's word: as `closing.openings`, or that the people
    who are left cannot give every approval it asks for. () when it may.
    """
    if policy.hash == confirmed.hash:
        return ()
    found = openings(confirmed, policy, people=people)
    if not found and staffed(confirmed) and not staffed(policy):
        return ("too few people are left to reach a quorum",)
    return found


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why the file as it stands now is not in force."""

    at: Millis
    problems: tuple[PolicyProblem, ...]
    text: str  # one line for logs, banners and readiness


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that may open something and that no one with the right to has confirmed."""

    since: Millis
    content: bytes
    policy: Policy
    opens: tuple[str, ...]  # in words: what may let through what is stopped now
    changes: tuple[str, ...]  # in words: what else differs from what was confirmed
    text: str  # one line for logs, banners and notices: the first that opens


@dataclass(frozen=True, slots=True)
class _Found:
    """The file as it was read."""

    against: Policy | None  # what was confirmed then
    text: bytes = b""
    policy: Policy | None = None  # None: it is what is in force, or `bad`
    opens: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    bad: tuple[tuple[PolicyProblem, ...], str] | None = None


class PolicyFile:
    """The policy in force. `rejected` says what is wrong with the file, if anything is; `waiting`
    that it waits to be confirmed.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        confirmed: bytes | None = None,
        closing: bytes | None = None,
        staffed: Callable[[Policy], bool] = lambda _: True,
        people: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        """Read for the first time: what was confirmed, and then the file. Without `confirmed` the
        file is taken as it is, no matter who writes it.

        Args:
            path: the file.
            clock: what tells when it was read.
            confirmed: the text that an administrator confirmed last.
            closing: a text that was in force since, because it only closes more.
            staffed: whether the people there are can give every approval that a policy asks for.
            people: the names of everybody on record who may decide.

        Raises:
            PolicyInvalid: what is to be in force has errors; a gateway must not start on it.
            OSError: the file is to be taken as it is, and cannot be read.
        """
        self._path = path
        self._clock = clock
        self._staffed = staffed
        self._people = people
        self._listeners: list[Callable[[], None]] = []
        self._heard: tuple[object, ...] = ()
        self._text = content(path) if confirmed is None else confirmed
        self.current: Policy = load(self._text, name=path.name)
        self._confirmed = None if confirmed is None else self.current
        self.confirmed_text: bytes | None = confirmed
        self.loaded_at: Millis = clock.now()
        self.rejected: Rejected | None = None
        self.waiting: Waiting | None = None
        if confirmed is not None:
            if closing is not None:
                self._take(closing, load(closing, name=path.name))
            self._heard = self._state()
            self.reload()

    @property
    def path(self) -> Path:
        return self._path

    @property
    def text(self) -> str:
        """The file as it was when `current` was read from it."""
        return self._text.decode("utf-8", "replace")

    @property
    def confirmed(self) -> Policy | None:
        """What an administrator confirmed last; None: the file is taken as it is."""
        return self._confirmed

    @property
    def unconfirmed(self) -> bytes | None:
        """The file, when it is usable and not what was confirmed: because it waits, or because it
        closes more and counts until it says something else. None: nothing to confirm.
        """
        if self._confirmed is None or self.rejected is not None:
            return None
        if self.waiting is not None:
            return self.waiting.content
        return None if self._text == self.confirmed_text else self._text

    @property
    def closing(self) -> bytes | None:
        """What is in force, when it closes more than what was confirmed; None: nothing does."""
        if self._confirmed is None or self.current.hash == self._confirmed.hash:
            return None
        return self._text

    def listen(self, changed: Callable[[], None]) -> None:
        """Call this whenever there is something else to tell: of `waiting`, `closing`, `rejected`
        and of what is confirmed.
        """
        self._listeners.append(changed)

    def _state(self) -> tuple[object, ...]:
        rejected = None if self.rejected is None else self.rejected.text
        return self.waiting, self.closing, self.confirmed_text, rejected

    def _tell(self) -> None:
        state = self._state()
        if state != self._heard:
            self._heard = state
            for listener in self._listeners:
                listener()

    def confirm(self, text: bytes) -> bool:
        """From now on this text is the confirmed one: someone put it on record. True: another
        policy is in force now.

        Raises:
            PolicyInvalid: it has errors; nothing changed.
        """
        if self._confirmed is None:
            return self.reload()
        policy = load(text, name=self._path.name)
        before = self.current
        self._confirmed, self.confirmed_text = policy, text
        self.waiting = None
        if before.hash == policy.hash or openings(policy, before, people=self._people()):
            self._take(text, policy)  # else what is in force closes even more than that
        self.reload()
        return self.current.hash != before.hash

    def reload(self) -> bool:
        """Read the file again. True: another policy is in force now."""
        return self._settle(self._look())

    async def reload_aside(self) -> bool:
        """As `reload`, reading in a thread: who wrote the file chose its size."""
        while True:
            found = await asyncio.to_thread(self._look)
            if found.against is self._confirmed:
                return self._settle(found)

    def _look(self) -> _Found:
        """The file as it stands, compared with what is confirmed now. Changes nothing."""
        against = self._confirmed
        try:
            text = content(self._path)
        except OSError as error:
            why = f"{self._path.name} cannot be read: {error.strerror}"
            return _Found(against, bad=((), why))
        if text == self._text:
            return _Found(against, text)
        try:
            policy = load(text, name=self._path.name)
        except PolicyInvalid as invalid:
            errors = tuple(p for p in invalid.problems if p.severity == "error")
            first = errors[0]
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            why = f"{first.pointer or '/'}: {first.what}{more}"
            return _Found(against, bad=(invalid.problems, why))
        if against is None:
            return _Found(against, text, policy)
        places = waits_for(against, policy, people=self._people(), staffed=self._staffed)
        if not places:
            return _Found(against, text, policy)
        return _Found(against, text, policy, *told(against, policy, places))

    def _settle(self, found: _Found) -> bool:
        """Let what was found count as far as it may. True: another policy is in force now."""
        changed = self._settled(found)
        self._tell()
        return changed

    def _settled(self, found: _Found) -> bool:
        if found.bad is not None:
            self._reject(*found.bad)
            return False
        self.rejected = None
        if found.policy is None or found.text == self._text:
            self.waiting = None
            return False
        if found.opens:
            self._wait(found, found.policy)
            return False
        self.waiting = None
        return self._take(found.text, found.policy)

    async def refresh_aside(self) -> bool:
        """Reload, reading in a thread; True: there is something to tell, another policy, or a file
        that was just rejected or has to wait.
        """
        before = self.rejected, self.waiting
        return await self.reload_aside() or self._is_news(*before)

    def _is_news(self, rejected: Rejected | None, waiting: Waiting | None) -> bool:
        return (self.rejected is not None and self.rejected is not rejected) or (
            self.waiting is not None and self.waiting is not waiting
        )

    def _take(self, text: bytes, policy: Policy) -> bool:
        self._text = text
        changed = policy.hash != self.current.hash
        self.current = policy
        self.loaded_at = self._clock.now()
        log.info(
            "policy.loaded", policy=policy.hash, changed=changed, closes=self.closing is not None
        )
        return changed

    def _wait(self, found: _Found, policy: Policy) -> None:
        if self.waiting is not None and self.waiting.content == found.text:
            return
        more = len(found.opens) + len(found.changes) - 1
        first = f"{found.opens[0][:_WORDS]}{f' and {more} more' if more else ''}"
        log.warning("policy.waiting", reason=first, kept=self.current.hash)
        now = self._clock.now()
        self.waiting = Waiting(now, found.text, policy, found.opens, found.changes, first)

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
            if any(Path(path).name == name for _, path in changes) and await self.refresh_aside():
                await changed()

    def _reject(self, problems: tuple[PolicyProblem, ...], text: str) -> None:
        self.waiting = None
        self.rejected = Rejected(self._clock.now(), problems, text)
        log.error("policy.rejected", reason=text, kept=self.current.hash)
