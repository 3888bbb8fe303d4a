"""The limits against a model: whatever calls come, the counters say what the model says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from approvals.record.database import Database
from gateway.enforcement import limits
from gateway.enforcement.limits import OverLimit, Subject
from gateway.policy.limit import Charge, Limit
from tests.support.record import KEYS, HandClock
from tests.support.scratch_record import lay_sqlite

SUBJECT = Subject("grt_1", "", "bank")
AMOUNTS = st.decimals("0", "5", places=1, allow_nan=False)


@dataclass
class Model:
    """What a limit means, in the plainest code: amounts by window, and no window twice."""

    most: Decimal
    length: int  # milliseconds
    start: int = -1
    used: Decimal = field(default_factory=lambda: Decimal(0))

    def take(self, now: int, amount: Decimal) -> bool:
        start = now - now % self.length
        used = self.used if start <= self.start else Decimal(0)
        if used + amount > self.most:
            return False  # and nothing moves: a refused call opens no window
        self.start, self.used = max(start, self.start), used + amount
        return True


@settings(max_examples=60, deadline=None)
@example(most=1, seconds=1, steps=[(0, Decimal(1)), (1, Decimal(2)), (-1, Decimal(1))])
@given(
    most=st.integers(0, 12),
    seconds=st.sampled_from([1, 60, 3_600]),
    steps=st.lists(st.tuples(st.integers(-90, 200), AMOUNTS), max_size=25),
)
def test_exactly_what_fits_passes_whatever_the_clock_does(
    most: int, seconds: int, steps: list[tuple[int, Decimal]]
) -> None:
    model = Model(Decimal(most), seconds * 1000)
    limit = Limit(
        counter="c", window=seconds, max=Decimal(most), scope="grant", pointer="/limits/0",
        increment_from=None, window_name=f"{seconds} seconds",
    )  # fmt: skip
    clock = HandClock()
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(lay_sqlite(Path(folder) / "s.db"), key=KEYS, clock=clock)
        try:
            for step, amount in steps:
                clock.pass_(seconds=step)
                charges = (Charge(limit=limit, amount=amount),)
                full = database.journal.write_now(
                    lambda tx, charges=charges: limits.take(tx, charges, SUBJECT)  # type: ignore[misc]  # bound now
                )
                assert (full is None) == model.take(clock.now(), amount)
                if isinstance(full, OverLimit):
                    assert full.retry_after >= 1
        finally:
            database.close_now()
