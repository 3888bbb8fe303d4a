"""An agent's grant as tests use one, without a record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.enforcement.grants import Grant

_GRANT = Grant(
    id="grt_1",
    label="agent",
    servers=frozenset({"*"}),
    owner="",
    hold=None,
    created_at=0,
    expires_at=None,
    revoked_at=None,
)


def agent_grant(**fields: Any) -> Grant:
    """A grant that reaches every server and does not end, but for these fields."""
    return replace(_GRANT, **fields)
