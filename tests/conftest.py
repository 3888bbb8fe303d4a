"""Shared by every test: one async backend, and a mark for its calls."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """What marks this test's calls on a server that others use as well."""
    return str(request.node.name)
