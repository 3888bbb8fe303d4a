"""`requestState` as agents get it (SEP-2322): the server's own, sealed for one call of one grant.

Opaque to the agent and good for nothing but the retry it was made for: another grant, server, tool
or argument, a changed or an old one does not open. That it is used once is the record's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps, loads
from typing import Final

from approvals.model import Millis
from gateway.protocol.sealed_token import SealedToken

MOST_ROUNDS: Final = 10
"""Questions one call may be asked; the SDKs' clients stop there as well."""

ANSWER_SECONDS: Final = 3_600
"""For the agent to answer a question of a call that needed no approval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestState:
    """What a sealed state says."""

    id: str  # of the approval ("apr_…"), or of the allowed call ("call_…")
    tool: str  # as the agent called it
    arguments: str  # digest of the canonical arguments, as the agent sent them
    round: int  # of the question that is answered, from 1
    until: Millis
    server: str | None  # the server's own state; None: it gave none
    asked: tuple[str, ...] | None = None  # names of the answers; None: sealed before they were kept


@dataclass(frozen=True, slots=True)
class OpenedState:
    """A state that is ours and in date. `mark` is unlike that of any other state."""

    state: RequestState
    mark: str


class RequestStates:
    """Seals and opens states under one key."""

    def __init__(self, key: bytes) -> None:
        self._token = SealedToken(key, "requestState")

    def seal(self, state: RequestState, *, grant: str, server: str) -> str:
        """What the agent gets: ASCII."""
        told = [state.id, state.tool, state.arguments, state.round, state.until, state.server]
        return self._token.seal(dumps([*told, state.asked]), grant, server)

    def open(self, sealed: str, *, grant: str, server: str, now: Millis) -> OpenedState | None:
        """What `seal` put in; None: not ours, another grant's or server's, changed, or too old."""
        opened = self._token.open(sealed, grant, server)
        if opened is None:
            return None
        try:
            identifier, tool, arguments, number, until, inner, *more = loads(opened.content)
        except ValueError:
            return None  # sealed by a release that wrote it otherwise
        if until <= now:
            return None
        state = RequestState(
            id=identifier,
            tool=tool,
            arguments=arguments,
            round=number,
            until=until,
            server=inner,
            asked=tuple(more[0]) if more and more[0] is not None else None,
        )
        return OpenedState(state, opened.mark)
