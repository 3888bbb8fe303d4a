"""Session ids handed to agents open only where they were made for."""

from __future__ import annotations

import pytest

from approvals.model import Client
from gateway.relay.agents.sessions import Session, Sessions

KEY = b"k" * 32
SESSION = Session(
    id="abc-123", mark="abc-123", client=Client("claude-code", "2.1"), protocol="2025-11-25"
)


def test_what_was_sealed_opens_for_its_grant_and_server() -> None:
    sealed = Sessions(KEY).seal(SESSION, grant="grt_1", server="git")
    assert sealed.isascii()
    assert "abc-123" not in sealed
    assert Sessions(KEY).open(sealed, "grt_1", "git") == SESSION


@pytest.mark.parametrize(
    ("grant", "server", "key"),
    [("grt_2", "git", KEY), ("grt_1", "bank", KEY), ("grt_1", "git", b"x" * 32)],
)
def test_it_opens_for_nobody_else(grant: str, server: str, key: bytes) -> None:
    sealed = Sessions(KEY).seal(SESSION, grant="grt_1", server="git")
    assert Sessions(key).open(sealed, grant, server) is None


@pytest.mark.parametrize("forged", ["", "abc", "=", "A" * 5_000, "é", "../..", "A" * 64])
def test_a_forged_id_is_no_session(forged: str) -> None:
    assert Sessions(KEY).open(forged, "grt_1", "git") is None


def test_a_changed_character_breaks_it() -> None:
    sealed = Sessions(KEY).seal(SESSION, grant="grt_1", server="git")
    for place in range(0, len(sealed), 7):
        other = "A" if sealed[place] != "A" else "B"
        changed = sealed[:place] + other + sealed[place + 1 :]
        assert Sessions(KEY).open(changed, "grt_1", "git") is None
