"""Pages of a history of ten million rows: each within 200 ms, whatever is asked for."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from approvals.record.database import Database
from approvals.record.history import HistoryPage, HistoryQuery, Intact, head, search, verify
from tests.soak.ten_million import ROWS, SELDOM, STEP, fill
from tests.support.record import KEYS, START, HandClock
from tests.support.scratch_record import POSTGRES

pytestmark = pytest.mark.slow

PAGE = 0.2  # seconds
SEED = 7
DAY = 86_400_000
HALF = START + ROWS // 2 * STEP

ANSWERS = {
    "nothing in particular": HistoryQuery(),
    "an agent": HistoryQuery(grant="grt_000000000003"),
    "denials": HistoryQuery(verdict="deny"),
    "an event": HistoryQuery(event="held"),
    "one day": HistoryQuery(since=HALF - DAY, until=HALF + DAY),
}
"""What a page answers in full at once."""

SEARCHES = {
    "a person who decides once in 2,000 calls": HistoryQuery(actor="alice"),
    "a word in one of 1,000 rows": HistoryQuery(text="Not for agents"),
    "an agent of three calls": HistoryQuery(grant="grt_seldom"),
    "a tool called three times": HistoryQuery(tool="wipe_disk"),
    "a person who decided three times": HistoryQuery(actor="zoe"),
    "a rule that applied three times": HistoryQuery(rule="/tools/wipe_disk"),
    "an outcome that never was": HistoryQuery(outcome="tool_error"),
    "a digest that never was": HistoryQuery(digest="f" * 64),
    "a word three rows have": HistoryQuery(text="zoe"),
}
"""What may take several pages, each saying how far back it has searched."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        yield from filled(f"sqlite:///{tmp_path / 'signoff.db'}")
        (tmp_path / "signoff.db").unlink()  # five gigabytes
        return
    plain = make_url(POSTGRES).set(drivername="postgresql")
    name = f"signoff_{secrets.token_hex(6)}"
    try:
        admin = psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True)
    except psycopg.OperationalError:
        pytest.skip("PostgreSQL does not answer; set SIGNOFF_TEST_POSTGRES (issue 5)")
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        url = make_url(POSTGRES).set(database=name)
        yield from filled(url.render_as_string(hide_password=False))
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def filled(url: str) -> Iterator[Database]:
    database = Database.open(url, key=KEYS, clock=HandClock())
    began = time.monotonic()
    fill(url, rows=ROWS, seed=SEED)
    print(f"\n{database.url.drivername}: {ROWS} rows in {time.monotonic() - began:.0f} s")
    yield database
    database.close_now()


def timed(database: Database, query: HistoryQuery) -> tuple[float, HistoryPage]:
    began = time.perf_counter()
    page = database.read_now(partial(search, query=query))
    return time.perf_counter() - began, page


def one_page(database: Database, query: HistoryQuery) -> tuple[float, HistoryPage]:
    """The page, and how long it took. A page that came late is asked for again, twice at most:
    what else the machine does, and a disk that was not read yet, are no claim of ours.
    """
    tries = [timed(database, query)]
    while min(tries, key=lambda one: one[0])[0] > PAGE and len(tries) < 3:
        tries.append(timed(database, query))
    return min(tries, key=lambda one: one[0])


def test_every_page_of_ten_million_rows_comes_within_200_ms(database: Database) -> None:
    last = database.read_now(head).seq
    assert last == ROWS
    for start in (1, ROWS - 100_000):  # written in bulk, and chained as the journal does it
        checked = database.read_now(
            partial(verify, keys=KEYS, start=start, end=start + 100_000 - (start > 1))
        )
        assert isinstance(checked, Intact), checked
    slowest = 0.0
    for what, query in ANSWERS.items():
        for before in (None, last // 2):
            took, page = one_page(database, replace(query, before=before))
            assert len(page.rows) == query.limit, what
            slowest = max(slowest, took)
    print(f"a full page: at most {slowest * 1000:.0f} ms")
    assert slowest < PAGE
    for what, query in SEARCHES.items():
        pages, rows, worst = whole(database, query)
        print(f"{what}: {rows} rows after {pages} pages, {worst * 1000:.0f} ms each at most")
        assert worst < PAGE, what
        assert rows == 0 if "never" in what else rows >= len(SELDOM), what


def whole(database: Database, query: HistoryQuery) -> tuple[int, int, float]:
    """Pages and rows until a hundred are found, or the beginning; the slowest page's seconds."""
    pages, rows, worst = 0, 0, 0.0
    reached = None
    while True:
        took, page = one_page(database, query)
        pages, rows, worst = pages + 1, rows + len(page.rows), max(worst, took)
        if page.next is None or rows >= query.limit:
            return pages, rows, worst
        assert page.reached is not None
        assert reached is None or page.reached < reached
        reached = page.reached
        query = replace(query, before=page.next)
