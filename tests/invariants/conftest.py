"""One nursery of gateways for all invariants."""

from collections.abc import Iterator

import pytest

from tests.invariants.ground import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()
