"""`signoff policy backtest`: a policy tried on the record's own calls, and the outcome printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection

from approvals.model import Millis
from approvals.record.history import Far
from gateway.admin.backtest import Reach, Trial, TrialRow, grouped
from gateway.admin.backtest import run as trial
from gateway.admin.replay import Replay, labels, rows_since
from gateway.cli import show
from gateway.cli.config import trusted
from gateway.cli.durations import moment
from gateway.cli.policy import as_json
from gateway.cli.progress import progress
from gateway.cli.record import Record, run
from gateway.enforcement.catalogue import Catalogue
from gateway.policy.backtest import Otherwise, Past, Rejudged, otherwise
from gateway.policy.earlier import as_before
from gateway.policy.rules import Policy

_DAY = 86_400_000
_LISTED = 40  # groups of moved calls that a terminal shows


def backtest(policy: Policy, since: str) -> Trial:
    """Judge every call since then again."""

    async def work(record: Record) -> Trial:
        now = record.now()
        start = moment(since, now)
        catalogue = Catalogue(record.database)
        await catalogue.load()
        believed = trusted(record.settings)
        with progress("Judging the calls again") as far:
            reach = Reach(since=start, until=now, far=far)
            return await record.database.read(
                lambda connection: trial(connection, policy, catalogue, believed, reach)
            )

    return run(work)


@dataclass(frozen=True, slots=True)
class Read:
    """What a policy says of the record's calls as it is read now, and as it was read before."""

    outcome: Otherwise
    since: Millis


def semantics(policy: Policy, since: str) -> Read:
    """Judge every call since then under both readings of the rules."""

    async def work(record: Record) -> Read:
        start = moment(since, record.now())
        catalogue = Catalogue(record.database)
        await catalogue.load()
        believed = trusted(record.settings)

        def read(connection: Connection, far: Far | None) -> Otherwise:
            replay = Replay(policy, catalogue, labels(connection), believed)
            past = (replay.past(row) for row in rows_since(connection, start, far=far))
            return otherwise(as_before(policy), policy, (one for one in past if one is not None))

        with progress("Judging the calls again") as far:
            return Read(await record.database.read(partial(read, far=far)), start)

    return run(work)


def draw_semantics(read: Read) -> None:
    """Print each kind of call that is judged otherwise, and what each came to."""
    found = read.outcome
    print(
        f"Of {found.calls} calls since {show.moment(read.since)}: {len(found.moved)} are judged "
        "otherwise, now that absence, another shape and every element of a list close."
    )
    _draw_rows(grouped(found.moved), was="BEFORE")
    _draw_lost(found.not_replayed)


def semantics_document(read: Read) -> dict[str, Any]:
    """`signoff.semantics/1`."""
    found = read.outcome
    return {
        "since": read.since,
        "calls": found.calls,
        "items": _moved(found.moved),
        "not_replayed": _lost(found.not_replayed),
    }


def draw(tried: Trial) -> None:
    """Print the sums, then every kind of call that would be judged otherwise."""
    found = tried.outcome
    print(
        f"Of {found.calls} calls since {show.moment(tried.reach.since)}: {len(found.newly_held)} "
        f"newly held, {len(found.newly_denied)} newly denied, {len(found.newly_passed)} newly "
        "passed."
    )
    print(f"Held in all: {found.held}; about {_minutes(tried):.0f} reviewer-minutes a day.")
    _draw_rows(tried.rows)
    _draw_lost(found.not_replayed)
    show.note("Limits are not replayed: whether a counter had room depends on the calls between.")


def _minutes(tried: Trial) -> float:
    """Reviewer-minutes a day, over all the days that were asked for."""
    return tried.outcome.minutes / max(1.0, (tried.reach.until - tried.reach.since) / _DAY)


def _draw_rows(found: Sequence[TrialRow], *, was: str = "WAS") -> None:
    rows = [
        (
            str(one.calls),
            f"{one.server}/{one.tool}",
            one.was,
            one.now,
            one.rule,
            ", ".join(map(str, one.rows[:3])),
        )
        for one in found
    ]
    if rows:
        show.table(("CALLS", "TOOL", was, "NOW", "RULE", "FIRST ROWS"), rows[:_LISTED])
    if len(rows) > _LISTED:
        show.note(f"{_LISTED} of {len(rows)} kinds of calls. All: --json")


def _draw_lost(lost: Sequence[Past]) -> None:
    if not lost:
        return
    tools = Counter(f"{one.call.server}/{one.call.tool}" for one in lost)
    names = ", ".join(f"{show.line(name)} ({n})" for name, n in tools.most_common(10))
    print(f"Not replayed: {len(lost)} calls, {names}.")
    print(
        "  Their arguments are masked or gone where the policy reads them, or a rule reads the "
        "client or the session, which the history does not keep."
    )


def document(tried: Trial) -> dict[str, Any]:
    """`signoff.backtest/1`."""
    found = tried.outcome
    return {
        "since": tried.reach.since,
        "until": tried.reach.until,
        "calls": found.calls,
        "held": found.held,
        "minutes_a_day": round(_minutes(tried), 2),
        "newly_held": _moved(found.newly_held),
        "newly_denied": _moved(found.newly_denied),
        "newly_passed": _moved(found.newly_passed),
        "not_replayed": _lost(found.not_replayed),
    }


def _moved(calls: Iterable[Rejudged]) -> list[dict[str, Any]]:
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


def _lost(calls: Iterable[Past]) -> list[dict[str, Any]]:
    return [
        {"seq": one.seq, "server": one.call.server, "tool": one.call.tool, "was": one.was}
        for one in calls
    ]
