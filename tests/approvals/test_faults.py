"""What breaks under SQLite: nothing is half-written, nothing acknowledged is lost, it heals itself.

The gateway's side of the same faults is in tests/invariants/test_record_down.py.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from approvals import execution, queue
from approvals.model import Choice, Moved, State, Terms
from approvals.record.database import Database, RecordUnavailable
from approvals.record.history import Intact, verify
from tests.support.live_gateway import ROOT, end
from tests.support.patience import PATIENCE
from tests.support.record import KEYS, HandClock, Record, hold

UNAVAILABLE = "unavailable"
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class Child:
    """A process with the record open; see `tests.approvals.record_process`."""

    def __init__(
        self, url: str, *, prefix: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.approvals.record_process", url],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.opened = self._read() == "open"

    def ask(self, order: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        end(self.process)

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def child(
    url: str, *, prefix: tuple[str, ...] = (), environ: Mapping[str, str] | None = None
) -> Iterator[Child]:
    started = Child(url, prefix=prefix, environ=environ)
    try:
        yield started
    finally:
        started.close()


@contextmanager
def failing(pid: int, calls: str, error: str) -> Iterator[None]:
    """These system calls of the process fail, for the length of the block."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}",
         "-e", f"inject={calls}:error={error}", "-p", str(pid)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tracer.stderr is not None
    said = tracer.stderr.readline()
    try:
        if "attached" not in said:
            pytest.skip(f"strace may not attach here: {said.strip()} (issue 5)")
        yield
    finally:
        end(tracer)
        tracer.stderr.close()


def assert_whole(url: str, *acknowledged: str) -> None:
    """The chain is intact, every row has its history and every history its row, and what was
    acknowledged is there.
    """
    database = Database.open(url, key=KEYS, clock=HandClock())
    record = Record(database, HandClock(), url)
    try:
        assert isinstance(record.read(lambda connection: verify(connection, KEYS)), Intact)
        rows = ids(record, "SELECT id FROM approval")
        told = ids(record, "SELECT approval_id FROM history WHERE event = 'held'")
        assert rows == told
        assert rows >= set(acknowledged)
    finally:
        database.close_now()


def ids(record: Record, sql: str) -> set[str]:
    return record.read(lambda connection: set(connection.exec_driver_sql(sql).scalars()))


def assert_fails_closed(one: Child, before: str) -> None:
    for _ in range(2):
        assert one.ask("hold 2") == UNAVAILABLE
    assert one.ask(f"approve {before}") == UNAVAILABLE


def assert_works(one: Child, before: str) -> str:
    """A decision that was not acknowledged may stand all the same: it never counts twice."""
    after = one.ask("hold 3")
    assert after.startswith("apr_")
    assert one.ask(f"approve {before}") in ("Moved", "AlreadyDecided")
    assert one.ask(f"approve {before}") == "AlreadyDecided"
    return after


def test_a_file_that_may_not_grow_fails_closed_and_recovers(sqlite_url: str) -> None:
    with child(sqlite_url) as one:
        before = one.ask("hold 1")
        pid = one.process.pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4_096, hard))
        assert_fails_closed(one, before)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        after = assert_works(one, before)
    assert_whole(sqlite_url, before, after)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (issue 5)")
@pytest.mark.parametrize(
    ("calls", "error"),
    [("pwrite64", "ENOSPC"), ("pwrite64", "EIO"), ("fsync,fdatasync", "EIO")],
)
def test_failing_writes_and_syncs_fail_closed_and_recover(
    sqlite_url: str, calls: str, error: str
) -> None:
    with child(sqlite_url) as one:
        before = one.ask("hold 1")
        with failing(one.process.pid, calls, error):
            assert_fails_closed(one, before)
        after = assert_works(one, before)
    assert_whole(sqlite_url, before, after)


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (issue 5)")
def test_a_process_killed_while_its_disk_fails_leaves_nothing_half_written(
    sqlite_url: str,
) -> None:
    one = Child(sqlite_url)
    before = one.ask("hold 1")
    with failing(one.process.pid, "fsync,fdatasync", "EIO"):
        assert one.ask("hold 2") == UNAVAILABLE
        one.process.kill()
        one.process.wait(PATIENCE)
    one.close()
    assert_whole(sqlite_url, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here: not root (issue 5)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_closed_and_recovers(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'signoff.db'}"
    junk = small_disk / "junk"
    with child(url) as one:
        before = one.ask("hold 1")
        fill(junk)
        held = [one.ask(f"hold {n}") for n in range(10, 40)]  # a few may still fit in
        assert held[-3:] == [UNAVAILABLE] * 3
        junk.unlink()
        after = assert_works(one, before)
    kept = [found for found in held if found != UNAVAILABLE]
    assert_whole(url, before, after, *kept)


def fill(junk: Path) -> None:
    with junk.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017  # the loop ends by it


def test_a_lock_held_by_another_process_fails_closed_and_recovers(sqlite_url: str) -> None:
    database = Database.open(sqlite_url, key=KEYS, clock=HandClock())
    record = Record(database, HandClock(), sqlite_url)
    before = record.hold()
    record.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA busy_timeout = 50"))
    locker = subprocess.Popen(
        [sys.executable, "-c", LOCKER, sqlite_url.removeprefix("sqlite:///")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert locker.stdout is not None
    assert locker.stdin is not None
    assert locker.stdout.readline() == "locked\n"
    with pytest.raises(RecordUnavailable):
        record.hold({"n": 2})
    assert record.now_is(before.id).state is State.PENDING  # who only reads is not kept waiting
    locker.kill()
    locker.wait(PATIENCE)
    locker.stdout.close()
    locker.stdin.close()
    after = record.hold({"n": 3})
    database.close_now()
    assert_whole(sqlite_url, before.id, after.id)


LOCKER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed (issue 5)")
def test_a_read_only_file_is_not_opened_and_is_as_it_was_afterwards(
    sqlite_url: str, tmp_path: Path
) -> None:
    with child(sqlite_url) as one:
        before = one.ask("hold 1")
    caps = "-dac_override,-dac_read_search"  # root writes everywhere unless it gives that up
    given_up = ("setpriv", "--bounding-set", caps, "--inh-caps", caps) if not os.geteuid() else ()
    for file in tmp_path.glob("signoff.db*"):
        file.chmod(0o400)
    with child(sqlite_url, prefix=given_up) as one:
        assert not one.opened
    for file in tmp_path.glob("signoff.db*"):
        file.chmod(0o600)
    with child(sqlite_url, prefix=given_up) as one:
        after = assert_works(one, before)
    assert_whole(sqlite_url, before, after)


def test_a_connection_that_turns_read_only_fails_closed_and_is_replaced(
    sqlite_record: Record,
) -> None:
    before = sqlite_record.hold()
    sqlite_record.write(lambda tx: tx.connection.exec_driver_sql("PRAGMA query_only = ON"))
    with pytest.raises(RecordUnavailable):
        sqlite_record.hold({"n": 2})
    after = sqlite_record.hold({"n": 3})
    assert_whole(sqlite_record.url, before.id, after.id)


def test_a_damaged_page_fails_closed_instead_of_running_on(sqlite_url: str) -> None:
    with child(sqlite_url) as one:
        one.ask("hold 1")
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(file)) as connection:
        root, size = connection.execute(
            "SELECT rootpage, (SELECT page_size FROM pragma_page_size) "
            "FROM sqlite_schema WHERE name = 'approval'"
        ).fetchone()
    with file.open("r+b") as raw:
        raw.seek((root - 1) * size)
        raw.write(b"\xff" * size)
    with child(sqlite_url) as one:
        assert not one.opened or one.ask("hold 2") == UNAVAILABLE


def test_a_clock_that_is_set_back_over_a_restart_reopens_nothing(sqlite_url: str) -> None:
    clock = HandClock()
    record = Record(Database.open(sqlite_url, key=KEYS, clock=clock), clock, sqlite_url)
    overdue = record.hold({"n": 1}, terms=Terms(expires=60))
    clock.pass_(seconds=61)
    record.write(lambda tx: queue.expire_due(tx, tx.now))
    done = record.approved({"n": 2})
    record.claim(done)
    record.finish(done)
    waiting = record.hold({"n": 3})
    record.database.close_now()

    clock.pass_(seconds=-86_400)
    again = Record(Database.open(sqlite_url, key=KEYS, clock=clock), clock, sqlite_url)
    assert again.now_is(overdue.id).state is State.EXPIRED
    assert isinstance(again.claim(overdue), execution.Lost)
    assert isinstance(again.claim(done), execution.Lost)
    decided = again.decide(waiting, choice=Choice.APPROVE)
    assert isinstance(decided, Moved)
    assert isinstance(again.claim(waiting), execution.Claimed)
    again.database.close_now()
    assert_whole(sqlite_url, overdue.id, done.id, waiting.id)


@pytest.mark.skipif(not Path(FAKETIME).exists(), reason="libfaketime is not installed (issue 5)")
def test_the_time_of_a_process_whose_clock_is_set_back_stands_still(
    sqlite_url: str, tmp_path: Path
) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0", encoding="ascii")
    fake = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with child(sqlite_url, environ=fake) as one:
        before = one.ask("hold 1")
        then = int(one.ask("now"))
        offset.write_text("-1d", encoding="ascii")
        assert then <= int(one.ask("now")) < then + 60_000
        second = assert_works(one, before)
        offset.write_text("+1d", encoding="ascii")
        assert int(one.ask("now")) > then + 80_000_000
    with child(sqlite_url) as one:  # a restart after the clock was put right: a day earlier
        third = one.ask("hold 4")
    assert_whole(sqlite_url, before, second, third)


def test_a_write_refused_by_a_fault_leaves_no_trace_in_the_batch(sqlite_record: Record) -> None:
    before = sqlite_record.hold()

    def breaks(tx: object) -> None:
        hold(tx, {"n": 2})  # type: ignore[arg-type]  # a Transaction
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(RecordUnavailable):
        sqlite_record.write(breaks)
    after = sqlite_record.hold({"n": 3})
    assert_whole(sqlite_record.url, before.id, after.id)
    assert sqlite_record.events() == ["held", "held"]
