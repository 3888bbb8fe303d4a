"""policy.json as an administrator reads and changes it on the page: drafts, trials, and saving.

The file stays the one truth: it is saved whole, by renaming, only over the text it was drafted on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import structlog

from approvals.digest import canonical
from approvals.model import Event, Millis, Reviewer
from approvals.record.database import Database
from gateway.admin import backtest
from gateway.admin.backtest import Reach, Trial
from gateway.admin.models import (
    Draft,
    PolicyOnDisk,
    Saved,
    ToolRules,
    UnconfirmedPolicy,
)
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.confirmations import By, Confirmations, Outcome
from gateway.enforcement.policy_file import PolicyFile, content
from gateway.policy import diff, drafting, linediff
from gateway.policy.document import check
from gateway.policy.effective import effective_verdict
from gateway.policy.judge import plan_of
from gateway.policy.rules import Policy

log = structlog.get_logger()

_DAY: Millis = 86_400_000
_DAYS = 7
_PATIENCE = 4.0  # seconds a trial may read the history; then it says how far it got
_SPAN = 500_000  # rows of the history a trial looks back at most
_SENTENCES = 200  # changes that are told in words


class PolicyEditor:
    """Reads and changes policy.json for administrators. Saving writes its history row first."""

    def __init__(
        self,
        *,
        database: Database,
        policies: PolicyFile,
        catalogue: Catalogue,
        trusted: frozenset[str],
        changed: Callable[[], Awaitable[None]],
        confirmations: Confirmations,
    ) -> None:
        self._database = database
        self._confirmations = confirmations
        self._policies = policies
        self._catalogue = catalogue
        self._trusted = trusted
        self._changed = changed
        self._saving = asyncio.Lock()

    def read(self) -> PolicyOnDisk:
        """The file as it is on disk now.

        Raises:
            OSError: it cannot be read.
        """
        found = content(self._policies.path)
        return PolicyOnDisk(
            text=found.decode("utf-8", "replace").replace("\r\n", "\n"),
            revision=revision_of(found),
            usable=drafting.usable(found) is not None,
        )

    def rules(self, server: str, tool: str, place: str) -> ToolRules | None:
        """What the file says of the tool in this place; None while the file has errors."""
        found = content(self._policies.path)
        policy = drafting.usable(found)
        if policy is None:
            return None
        standing = drafting.standing(policy, found.decode(), place, tool)
        here = drafting.pointer_to(place, tool)
        plan = plan_of(policy, server, tool)
        others = [
            (entry.pointer, diff.summary(entry))
            for entry in plan.entries
            if entry.pointer != here and diff.summary(entry) != "allowed"
        ]
        word, rule = effective_verdict(policy, server, tool)
        known = self._catalogue.tool(server, tool)
        schema = known.definition.get("inputSchema") if known is not None else None
        return ToolRules(
            revision=revision_of(found),
            choice=standing.choice,
            older=standing.older,
            hidden_by=standing.hidden_by,
            default=policy.default_for(server),
            others=tuple(others),
            verdict=word,
            rule=rule,
            paths=tuple(_paths(schema)),
            groups=tuple(policy.reviewers),
        )

    def drafted(self, tool: str, place: str, choice: drafting.Choice) -> tuple[str, str]:
        """The file's text with this said of the tool, and the revision it was drafted on.

        Raises:
            KeyError, ValueError: the file as it is now cannot be drafted on.
        """
        found = content(self._policies.path)
        text = found.decode("utf-8").replace("\r\n", "\n")
        return drafting.drafted(text, place, tool, choice), revision_of(found)

    def draft(self, text: str, server: str, tool: str) -> Draft:
        """Everything to be said of a whole new text before it is saved."""
        on_disk = content(self._policies.path)
        before = on_disk.decode("utf-8", "replace").replace("\r\n", "\n")
        old = drafting.usable(on_disk) or self._policies.current
        new = drafting.usable(text.encode())
        standing = {(problem.pointer, problem.what) for problem in check(on_disk)}
        problems = check(text.encode("utf-8", "surrogatepass"))
        changes = diff.diff(old, new) if new is not None else ()
        return Draft(
            text=text,
            revision=revision_of(on_disk),
            valid=new is not None,
            problems=problems,
            news=tuple(p for p in problems if (p.pointer, p.what) not in standing),
            changes=tuple(str(change) for change in changes),
            lines=tuple(_difference(before, text)),
            before=effective_verdict(old, server, tool) if tool else None,
            after=effective_verdict(new, server, tool) if tool and new is not None else None,
        )

    async def tried(self, text: str) -> Trial | None:
        """What the text would have said to the calls of the last days; None if it has errors."""
        policy = drafting.usable(text.encode())
        if policy is None:
            return None
        await self._catalogue.load()
        now = self._database.clock.now()
        reach = Reach(
            since=now - _DAYS * _DAY,
            until=now,
            latest=_SPAN,
            deadline=time.monotonic() + _PATIENCE,
        )
        # Against the policy in force, not against the one of that day: what this draft alone would
        # change.
        return await self._database.read(
            lambda connection: backtest.run(
                connection,
                policy,
                self._catalogue,
                self._trusted,
                reach,
                standing=self._policies.current,
            )
        )

    async def save(self, text: str, revision: str, by: Reviewer) -> Saved:
        """Writes the text over exactly the revision it was drafted on. The record comes first: what
        is not on record is not written.
        """
        new = drafting.usable(text.encode("utf-8", "surrogatepass"))
        if new is None:
            return Saved("invalid")
        async with self._saving:
            path, on_disk = _opened(self._policies.path)
            if revision_of(on_disk) != revision:
                return Saved("changed")
            # The file keeps its own line ends; a browser sends what it likes.
            ends = "\r\n" if b"\r\n" in on_disk else "\n"
            await self._policies.reload_aside()
            if self._policies.waiting is not None:
                # Saving on top would confirm what someone else wrote there, unseen.
                return Saved("waiting")
            wanted = text.replace("\r\n", "\n").replace("\n", ends).encode()
            if wanted == on_disk:
                return Saved("same")
            if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
                return Saved("unwritable")
            told = self._event(on_disk, wanted, new, by)
            before, who = self._policies.confirmed_text, By.reviewer(by, "page")
            await self._confirmations.save(lambda tx: tx.append(told), wanted, who)
            try:
                await asyncio.to_thread(_replace, path, wanted)
            except OSError as error:
                log.exception("policy.not_saved", path=str(path))
                why = f"The file could not be written: {error.strerror}."
                failed = told._replace(event="policy_not_saved", reason=why)
                # What is confirmed is what the file can say.
                await self._confirmations.save(lambda tx: tx.append(failed), before or on_disk, who)
                return Saved("unwritable")
        # The watcher would find it within a second; anyone who saved it need not wait for that.
        if self._confirmations.took(wanted) or await self._policies.refresh_aside():
            await self._changed()
        return Saved("saved", new.hash)

    async def unconfirmed(self) -> UnconfirmedPolicy | None:
        """The file as it waits to be confirmed; None when there is nothing to confirm."""
        await self._policies.reload_aside()
        return await asyncio.to_thread(self._unconfirmed)

    def _unconfirmed(self) -> UnconfirmedPolicy | None:
        policies = self._policies
        found, old = policies.unconfirmed, policies.confirmed
        if found is None or old is None:
            return None
        text, before = found.decode(), (policies.confirmed_text or b"").decode()
        waiting = policies.waiting
        if waiting is not None:
            changes = waiting.changes
        else:
            changes = tuple(str(change) for change in diff.diff(old, policies.current))
        return UnconfirmedPolicy(
            revision=revision_of(found),
            in_force=waiting is None,
            since=waiting.since if waiting is not None else policies.loaded_at,
            closed=waiting is not None and policies.closing is not None,
            opens=_first(waiting.opens) if waiting is not None else (),
            changes=_first(changes),
            lines=tuple(_difference(before.replace("\r\n", "\n"), text.replace("\r\n", "\n"))),
        )

    async def confirm(self, revision: str, by: Reviewer) -> Outcome:
        """Let the file count, if it is still what was shown."""
        before = self._policies.current.hash
        outcome = await self._confirmations.confirm_policy(revision, By.reviewer(by, "page"))
        if self._policies.current.hash != before:
            await self._changed()
        return outcome

    def _event(self, old: bytes, new: bytes, policy: Policy, by: Reviewer) -> Event:
        before = drafting.usable(old)
        changes = diff.diff(before, policy) if before is not None else ()
        data: dict[str, Any] = {
            "file": {"before": revision_of(old), "after": revision_of(new)},
            "policy": {"before": before.hash if before else "", "after": policy.hash},
            "changes": [str(change) for change in changes[:100]],
        }
        words = "; ".join(data["changes"][:3])
        more = len(changes) - 3
        return Event(
            event="policy_changed",
            actor_kind="reviewer",
            actor=by.id,
            verified=by.verified,
            via="page",
            policy_hash=policy.hash,
            reason=(words + (f"; and {more} more" if more > 0 else ""))[:1000],
            data=canonical(data).decode(),
        )


def revision_of(content: bytes) -> str:
    """What names the bytes of a file."""
    return hashlib.sha256(content).hexdigest()


def _opened(path: Path) -> tuple[Path, bytes]:
    """The file itself, whatever links lead to it, and its content."""
    real = path.resolve()
    return real, content(real)


def _replace(path: Path, content: bytes) -> None:
    """Puts a new file in the place of the old one, whole or not at all, with its mode and owner."""
    kept = path.stat()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), kept.st_mode & 0o7777)
            if hasattr(os, "fchown") and (kept.st_uid, kept.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), kept.st_uid, kept.st_gid)
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _difference(before: str, after: str) -> Iterator[tuple[str, str]]:
    """The file's changed lines with some around them: (" ", "+" or "-" or "@", the line)."""
    return linediff.changed(before, after)


def _first(sentences: tuple[str, ...]) -> tuple[str, ...]:
    """As many as people read."""
    left = len(sentences) - _SENTENCES
    return sentences if left <= 0 else (*sentences[:_SENTENCES], f"and {left} more")


def _paths(schema: Any, at: str = "args", depth: int = 0) -> Iterator[str]:
    """Paths of a tool's arguments, for a form to offer."""
    if not isinstance(schema, dict) or depth > 2:  # noqa: PLR2004  # deeper ones are typed by hand
        return
    properties = schema.get("properties")
    for name, inner in list(properties.items())[:50] if isinstance(properties, dict) else ():
        if not isinstance(name, str) or not name or set(name) & set(".[]\"'{} "):
            continue
        kind = inner.get("type") if isinstance(inner, dict) else None
        if kind == "object":
            yield from _paths(inner, f"{at}.{name}", depth + 1)
        elif kind == "array":
            yield f"{at}.{name}[*]"
        else:
            yield f"{at}.{name}"
