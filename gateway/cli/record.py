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

from approvals.record.database import Database, RecordUnavailable
from approvals.record.engines import UnsupportedDatabase
from approvals.record.keys import KeyUnusable
from approvals.reviewers import People
from approvals.service import Approvals
from approvals.wakeup import Wakeup
from gateway.cli.config import settings
from gateway.cli.exits import Exit, Stop
from gateway.record import DATABASE, open_record
from gateway.settings import Settings

T = TypeVar("T")

__all__ = ["Record", "opened", "run", "settings"]


@dataclass(frozen=True, slots=True)
class Record:
    """What a command may use."""

    settings: Settings
    database: Database
    approvals: Approvals
    people: People

    def now(self) -> int:
        return self.database.clock.now()


@asynccontextmanager
async def opened(configured: Settings, *, create: bool = False) -> AsyncIterator[Record]:
    """Open the record for the length of the block; with `create`, make it if there is none.

    Raises:
        Stop: there is no record here, or it cannot be used.
    """
    if not create and not exists(configured):
        raise Stop(
            Exit.UNREACHABLE,
            f"There is no record in {configured.data}. Start the gateway here with `signoff up`, "
            "or say where it is: SIGNOFF_DATA=…",
        )
    try:
        database = open_record(configured)
    except (KeyUnusable, RecordUnavailable, UnsupportedDatabase, OSError) as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error
    wakeup = Wakeup(database)
    try:
        approvals = Approvals(database, wakeup, database.clock, database.keys)
        yield Record(configured, database, approvals, People(database, database.clock))
    finally:
        wakeup.close()
        await database.close()


def exists(configured: Settings) -> bool:
    """Whether a record was ever made with these settings."""
    return configured.database_url is not None or (configured.data / DATABASE).exists()


def run(work: Callable[[Record], Awaitable[T]], *, create: bool = False, **given: Any) -> T:
    """Run one command's work on the record."""

    async def inner() -> T:
        async with opened(settings(**given), create=create) as record:
            return await work(record)

    try:
        return asyncio.run(inner())
    except RecordUnavailable as error:
        raise Stop(Exit.UNREACHABLE, str(error)) from error
