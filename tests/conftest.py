"""Shared by every test: one async backend, and nothing else."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
