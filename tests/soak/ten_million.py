"""Ten million rows of history, chained as the journal chains them but written in bulk. Not a test.

A year of a busy gateway: mostly allowed calls of twenty agents, here and there a denial or an
approved call, and a few things that happened seldom: they are what a search must find.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from typing import Any, Final

import orjson
import psycopg
from sqlalchemy import make_url

from approvals.model import Event, Millis
from approvals.record.statements import COLUMNS
from approvals.record.transaction import FIRST_HASH
from tests.support.record import KEYS, START

ROWS: Final = 10_000_000
STEP: Final[Millis] = 3_000
"""Milliseconds from one row to the next: ten million fill a year."""

SELDOM: Final = (0.05, 0.5, 0.9)
"""Where in the history the agent, the tool and the person no one else uses appear, as shares."""

_AT_ONCE = 20_000
_DIGESTS = tuple(hashlib.sha256(bytes([n])).hexdigest() for n in range(256))


def events(rows: int, seed: int) -> Iterator[Event]:
    """What happened, oldest first."""
    rng = random.Random(seed)
    places = [int(rows * share) for share in SELDOM]
    made = 0
    while made < rows:
        number = rng.randrange(1 << 30)
        seldom = bool(places) and made >= places[0]
        common: dict[str, Any] = {
            "grant": f"grt_{number % 20:012}",
            "server": ("git", "payments", "crm")[number % 3],
            "tool": f"tool_{number % 50}",
            "presented_digest": _DIGESTS[number % 256],
        }
        if seldom:
            places.pop(0)
            common |= {"grant": "grt_seldom", "tool": "wipe_disk", "server": "attic"}
        called = {
            **common,
            "actor_kind": "agent",
            "actor": common["grant"],
            "arguments": f'{{"amount":{number},"note":"{"x" * (number % 160)}"}}',
            "arguments_digest": _DIGESTS[number // 7 % 256],
            "policy_hash": _DIGESTS[0],
            "rule": f"/tools/{common['tool']}",
        }
        for event in _call(number, common, called, seldom=seldom):
            yield event
            made += 1


def _call(
    number: int, common: dict[str, Any], called: dict[str, Any], *, seldom: bool
) -> tuple[Event, ...]:
    ended = {**common, "event": "succeeded", "outcome": "succeeded", "latency_ms": number % 900,
             "result_digest": _DIGESTS[number // 11 % 256], "actor_kind": "gateway"}  # fmt: skip
    if number % 500 == 0 and not seldom:
        return (Event(**called, event="denied", verdict="deny", reason="Not for agents."),)
    if number % 997 == 0 or seldom:
        one: dict[str, Any] = {"approval_id": f"apr_{number:026}", "revision": 1}
        person = "zoe" if seldom else ("alice", "bob")[number % 2]
        return (
            Event(**called, **one, event="held", verdict="hold", reason="Needs a person."),
            Event(**common, **one, event="approved", actor_kind="reviewer", actor=person,
                  verified="session", via="page", verdict="hold"),
            Event(**common, **one, event="claimed", actor_kind="gateway", verdict="hold"),
            Event(**ended, **one, verdict="hold"),
        )  # fmt: skip
    call_id = f"call_{number:010}"
    return (
        Event(**called, event="allowed", verdict="allow", call_id=call_id),
        Event(**ended, call_id=call_id),
    )


def chained(rows: int, seed: int) -> Iterator[tuple[Any, ...]]:
    """The events as rows of an empty history."""
    last = FIRST_HASH
    for seq, event in enumerate(islice(events(rows, seed), rows), 1):
        row = (seq, START + seq * STEP, *event[:-1])
        step = KEYS.chain.copy()
        step.update(last.encode() + orjson.dumps(row))
        mac = step.hexdigest()
        yield (*row, last, mac)
        last = mac


def fill(url: str, *, rows: int, seed: int) -> None:
    """Write them into the migrated, empty record at `url`."""
    parsed = make_url(url)
    made = chained(rows, seed)
    names = ",".join(COLUMNS)
    if parsed.drivername == "sqlite":
        with closing(sqlite3.connect(str(parsed.database), isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            insert = f"INSERT INTO history ({names}) VALUES ({','.join('?' * len(COLUMNS))})"  # noqa: S608
            while chunk := list(islice(made, _AT_ONCE)):
                connection.execute("BEGIN")
                connection.executemany(insert, chunk)
                connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as server:
        with server.cursor().copy(f"COPY history ({names}) FROM STDIN") as copy:
            for row in made:
                copy.write_row(row)
        server.commit()
        server.autocommit = True
        server.execute("VACUUM ANALYZE history")
