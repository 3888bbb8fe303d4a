"""A server's answer to an allowed call as a stream, made fit for its agent chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.relay.methods.call_outcome import CallOutcome
from gateway.relay.methods.questions import asks
from gateway.relay.methods.tool_listing import TOOLS_CHANGED
from gateway.relay.upstreams.response_filter import Passed, ResponseFilter, sign_of_life


class AnswerStream:
    """Drops what is not the call's, notes what came back and seals a question."""

    def __init__(
        self,
        sieve: ResponseFilter,
        outcome: CallOutcome,
        *,
        tools_changed: Callable[[], None],
        seal_question: Callable[[bytes], bytes] | None,
    ) -> None:
        """`seal_question`: what the agent gets in place of a question; None: its revision knows
        none, and a response that looks like one is a response.
        """
        self._sieve = sieve
        self._outcome = outcome
        self._tools_changed = tools_changed
        self._seal_question = seal_question

    async def feed(self, chunk: bytes) -> bytes:
        """What the agent may have of this chunk and of what it completes.

        Raises:
            EventTooLarge: the stream cannot be read on.
            Unreadable: the call's own response is.
        """
        found = await self._sieve.sift(chunk)
        return b"".join([self._told(one) for one in found]) if found else sign_of_life(chunk)

    def _told(self, passed: Passed) -> bytes:
        message, data = passed.message, passed.event.data
        if message is None or data is None:
            return passed.encoded()
        if TOOLS_CHANGED in data:
            self._tools_changed()
        if passed.own:
            self._outcome.note(message, data)
            if self._seal_question is not None and asks(message):
                event = replace(passed.event, data=self._seal_question(data))
                return replace(passed, event=event).encoded()
        return passed.encoded()
