"""The record's own fixtures, for the tests of what Slack is told."""

import pytest

from approvals.slack import inbound
from tests.approvals.conftest import record, server, sqlite_record, sqlite_url, url
from tests.support.patience import PATIENCE

__all__ = ["record", "server", "sqlite_record", "sqlite_url", "url"]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A press answers Slack within two seconds, or says that it could not. No test is about a
    machine that is too busy for that.
    """
    monkeypatch.setattr(inbound, "PATIENCE", PATIENCE)
