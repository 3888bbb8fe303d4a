"""Tokens in agents' hands open only for their purpose and holder, also those of older releases."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from approvals.model import Client
from gateway.protocol.request_state import OpenedState, RequestState, RequestStates
from gateway.protocol.sealed_token import SealedToken
from gateway.relay.agents.sessions import Session, Sessions

KEY = b"k" * 32
OLD_SESSION = (  # both sealed under KEY by the release before `SealedToken`
    "mCSnWaKo9s-neuQO5oUeBwny-Yfs2bg3VpRoly5TE-G78I-xbMQRBRW3X2iGUCSdgSEUDcfvCuSSingWwTos2izHJkWm"
    "YlWl7ml3qw80wi_TsSFJqT4"
)
OLD_STATE = (
    "7oT-c2WFvCq4jPA1UC5MomxZ1Hfl_s3zVEnfyENdVotNfpihUu0tjVoFOt6Fvghe7LQHg2iBDUaZqSdbUV17gWYKCTdU"
    "fNvFqbLIBNTFQ0UVHWdbc6Bi"
)


def test_a_session_of_an_older_release_goes_on() -> None:
    session = Session(
        id="abc-123", mark="abc-123", client=Client("claude-code", "2.1"), protocol="2025-11-25"
    )
    assert Sessions(KEY).open(OLD_SESSION, "grt_1", "git") == session


def test_a_question_of_an_older_release_can_still_be_answered() -> None:
    state = RequestState(
        id="apr_1",
        tool="push",
        arguments="sha256:00",
        round=2,
        until=9_999,
        server="theirs",
        asked=("name",),
    )
    opened = RequestStates(KEY).open(OLD_STATE, grant="grt_1", server="git", now=9_998)
    assert opened == OpenedState(state, "ee84fe736585bc2ab88cf035")


@pytest.mark.parametrize("purpose", ["session", "requestState", "bridge"])
def test_purpose_and_holder_are_bound_in_the_bytes_they_always_were(purpose: str) -> None:
    token = SealedToken(KEY, purpose).seal("content", "grt_1", "é")
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    bound = f'["{purpose}", "grt_1", "\\u00e9"]'.encode()
    assert AESGCM(KEY).decrypt(data[:12], data[12:], bound) == b"content"


@pytest.mark.parametrize(
    ("purpose", "holder"),
    [("bridge", ("grt_1", "git")), ("session", ("grt_1", "mail")), ("session", ("grt_1", ""))],
)
def test_a_token_of_another_purpose_or_holder_does_not_open(
    purpose: str, holder: tuple[str, ...]
) -> None:
    token = SealedToken(KEY, "session").seal("content", "grt_1", "git")
    assert SealedToken(KEY, purpose).open(token, *holder) is None


def test_a_token_longer_than_any_of_ours_is_not_looked_at() -> None:
    token = SealedToken(KEY, "session").seal("x" * 200, "grt_1", "git")
    assert SealedToken(KEY, "session", longest=len(token)).open(token, "grt_1", "git") is not None
    assert SealedToken(KEY, "session", longest=len(token) - 1).open(token, "grt_1", "git") is None
