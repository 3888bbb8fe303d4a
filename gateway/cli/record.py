"""The record as the command uses it: opened for one command, beside a running gateway or without.

Decisions made here are the same transactions as the page's: same rules, same history. A running
gateway notices them within a fraction of a second.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from approvals.clock import SystemClock
from approvals.keys import Keys, KeyUnusable
from approvals.reviewers import People
from approvals.service import Approvals
from approvals.store import Database, RecordUnavailable
from approvals.wakeup import Wakeup
from gateway.cli.exits import Exit, Stop
from gateway.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """What a command may use."""

    settings: Settings
    database: Database
    approvals: Approvals
    people: People


def settings(**given: Any) -> Settings:
    """The settings, or the end of the command with what is wrong."""
    from pydantic import ValidationError

    try:
        return Settings(**given)
    except ValidationError as invalid:
        lines = [
            f"SIGNOFF_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}"
            for error in invalid.errors()
        ]
        raise Stop(Exit.INVALID, "\n".join(lines)) from invalid


@asynccontextmanager
async def opened(configured: Settings) -> AsyncIterator[Record]:
    """Open the record for the length of the block.

    Raises:
        Stop: there is no record here, or it cannot be used.
    """
    clock = SystemClock()
    if configured.database_url is None and not (configured.data / "signoff.db").exists():
        raise Stop(
            Exit.UNREACHABLE,
            f"There is no record in {configured.data}. Start the gateway here with `signoff up`, "
            "or say where it is: SIGNOFF_DATA=…",
        )
    try:
        keys = Keys.open(configured.data / "signoff.key")
        database = Database.open(configured.database(), key=keys, clock=clock)
    except (KeyUnusable, RecordUnavailable, OSError) as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error
    try:
        wakeup = Wakeup(database)
        approvals = Approvals(database, wakeup, clock, keys)
        yield Record(configured, database, approvals, People(database, clock))
    finally:
        await database.close()


def run(work: Callable[[Record], Awaitable[T]]) -> T:
    """Run one command's work on the record."""

    async def inner() -> T:
        async with opened(settings()) as record:
            return await work(record)

    try:
        return asyncio.run(inner())
    except RecordUnavailable as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error
