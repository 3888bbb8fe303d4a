"""The record's own fixtures, for the tests of what Slack is told."""

from tests.approvals.conftest import record, server, sqlite_record, sqlite_url, url

__all__ = ["record", "server", "sqlite_record", "sqlite_url", "url"]
