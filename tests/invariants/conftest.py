"""One nursery of gateways for all invariants."""

from collections.abc import Iterator

import pytest

from tests.support.killable_gateways import Nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()
