"""`signoff policy backtest`: a policy tried on the record's own calls, and the outcome printed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from approvals.model import Millis
from gateway.catalogue import Catalogue
from gateway.cli import show
from gateway.cli.durations import moment
from gateway.cli.policy import as_json
from gateway.cli.record import Record, run
from gateway.policy.backtest import Backtest, Moved
from gateway.policy.backtest import backtest as judge_again
from gateway.policy.rules import Policy
from gateway.replay import Replay, labels, rows_since

_DAY = 86_400_000
_LISTED = 40  # groups of moved calls that a terminal shows


@dataclass(frozen=True, slots=True)
class Tried:
    """The outcome and the time it covers."""

    outcome: Backtest
    since: Millis
    until: Millis

    @property
    def minutes_a_day(self) -> float:
        """Reviewer-minutes a day of everything that would be held."""
        return self.outcome.minutes / max(1.0, (self.until - self.since) / _DAY)


def backtest(policy: Policy, since: str) -> Tried:
    """Judge every call since then again."""

    async def work(record: Record) -> Tried:
        now = record.now()
        start = moment(since, now)
        catalogue = Catalogue(record.database)
        await catalogue.load()
        trusted = _trusted(record)

        def read(connection: Connection) -> Backtest:
            replay = Replay(policy, catalogue, labels(connection), trusted)
            past = (replay.past(row) for row in rows_since(connection, start))
            return judge_again(policy, (one for one in past if one is not None))

        return Tried(await record.database.read(read), start, now)

    return run(work)


def _trusted(record: Record) -> frozenset[str]:
    from gateway.servers import load_servers

    try:
        text = record.settings.servers.read_bytes()
    except OSError:
        return frozenset()
    servers = load_servers(text, os.environ).servers
    return frozenset(name for name, server in servers.items() if server.trust_annotations)


def draw(tried: Tried) -> None:
    """Print the sums, then every kind of call that would be judged otherwise."""
    found = tried.outcome
    print(
        f"Of {found.calls} calls since {show.moment(tried.since)}: {len(found.newly_held)} newly "
        f"held, {len(found.newly_denied)} newly denied, {len(found.newly_passed)} newly passed."
    )
    print(f"Held in all: {found.held}; about {tried.minutes_a_day:.0f} reviewer-minutes a day.")
    moved = (*found.newly_denied, *found.newly_held, *found.newly_passed)
    rows = _grouped(moved)
    if rows:
        show.table(("CALLS", "TOOL", "WAS", "NOW", "RULE", "FIRST ROWS"), rows[:_LISTED])
    if len(rows) > _LISTED:
        show.note(f"{len(rows) - _LISTED} more kinds of calls: see --json.")
    if found.not_replayed:
        tools = Counter(f"{one.call.server}/{one.call.tool}" for one in found.not_replayed)
        names = ", ".join(f"{show.line(name)} ({n})" for name, n in tools.most_common(10))
        print(f"Not replayed: {len(found.not_replayed)} calls, {names}.")
        print(
            "  Their arguments are masked or gone where the policy reads them, or a rule reads the "
            "client or the session, which the history does not keep."
        )
    show.note("Limits are not replayed: whether a counter had room depends on the calls between.")


def _grouped(moved: Iterable[Moved]) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, str, str, str], list[int]] = {}
    for one in moved:
        call = one.past.call
        now = as_json(one.now)
        key = (f"{call.server}/{call.tool}", one.past.was, now["verdict"], now["rule"])
        groups.setdefault(key, []).append(one.past.seq)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [(str(len(rows)), *key, ", ".join(map(str, sorted(rows)[:3]))) for key, rows in ordered]


def document(tried: Tried) -> dict[str, Any]:
    """`signoff.backtest/1`."""
    found = tried.outcome

    def moved(calls: tuple[Moved, ...]) -> list[dict[str, Any]]:
        return [
            {
                "seq": one.past.seq,
                "server": one.past.call.server,
                "tool": one.past.call.tool,
                "was": one.past.was,
                **as_json(one.now),
            }
            for one in calls
        ]

    return {
        "since": tried.since,
        "until": tried.until,
        "calls": found.calls,
        "held": found.held,
        "minutes_a_day": round(tried.minutes_a_day, 2),
        "newly_held": moved(found.newly_held),
        "newly_denied": moved(found.newly_denied),
        "newly_passed": moved(found.newly_passed),
        "not_replayed": [
            {"seq": one.seq, "server": one.call.server, "tool": one.call.tool, "was": one.was}
            for one in found.not_replayed
        ],
    }
