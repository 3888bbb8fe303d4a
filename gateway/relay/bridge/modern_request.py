"""One request of a modern agent on its way through a legacy session, over all its rounds.

A question of the server ends the agent's round with `input_required`; the request itself waits at
the server, and goes on in the round that brings the answer (SEP-2322). It is sent once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.relay.bridge.legacy_session import LegacySession
from gateway.relay.bridge.messages import (
    Id,
    Json,
    as_object,
    decoded,
    encoded,
    identifier,
    response,
)
from gateway.relay.bridge.parked_state import Bound
from gateway.relay.bridge.queued_answer import QueuedAnswer
from gateway.relay.bridge.translate import (
    ASKING,
    addresses,
    loud_enough,
    may_ask,
    modern_error,
    modern_result,
    question,
)
from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.reading import Garbage, Response, http_status
from gateway.relay.upstreams.response_filter import is_token
from gateway.relay.upstreams.upstream import Answer, NotSent, OutcomeUnknown

GATHER_SECONDS = 0.03
"""How long further questions are waited for after one: servers that ask two ask them at once."""

MOST_ASKS = 50

_ENDED = frozenset({"notifications/elicitation/complete", "notifications/tasks/status"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One request of the agent: what it is answered under."""

    id: Id
    token: Id | None
    level: str | None
    mailbox: MessageQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An open question of the server."""

    id: Id  # the server's own
    request: Json  # as the agent is shown it


Park = Callable[["ModernRequest"], str | None]


class ModernRequest:
    """See the module. `park` keeps it and gives the state its retry must bring; None: no room."""

    def __init__(
        self,
        line: LegacySession,
        *,
        method: str,
        bound: Bound,
        declared: Json,
        program: Json,
        park: Park,
        again: str,
        limit: int,
    ) -> None:
        """`again`: the state of a retry that makes the whole request once more."""
        self.line = line
        self.own_id = next(line.ids)
        self.method = method
        self.bound = bound
        self.program = program
        self.asks: dict[str, Ask] = {}
        self._declared = declared
        self._park = park
        self._again = again
        self._limit = limit
        self._round: Round | None = None
        self._end: Json | Exception | None = None
        self._asked = 0
        self._gathering: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        return self._round is not None

    def depart(self, body: bytes) -> None:
        """Send the request, which carries `own_id` as its id."""
        self.line.flights[self.own_id] = self
        self._task = asyncio.create_task(self._fly(body), name=f"bridge {self.method}")

    async def round(self, rpc_id: Id, token: Id | None, level: str | None) -> Answer:
        """The answer to one request of the agent.

        Raises:
            SessionGone, NotSent, OutcomeUnknown: see `Line.exchange`.
        """
        mailbox = MessageQueue(limit=self._limit)
        own = self._round = Round(id=rpc_id, token=token, level=level, mailbox=mailbox)
        if self._end is not None:
            self._settle()
        elif self.asks:
            self._gather()
        answer = QueuedAnswer(mailbox, closed=lambda: self._left(own), status=_status)
        return await answer.start()

    def cancel(self) -> None:
        """No one wants the result any more; the server is told so."""
        if self._end is not None:
            return
        self._close(OutcomeUnknown("cancelled"))
        if self._task is not None:
            self._task.cancel()
        self._give_up()

    def _give_up(self) -> None:
        self.line.soon(self._tell_cancelled(list(self.asks.values())))

    async def _tell_cancelled(self, asks: list[Ask]) -> None:
        params = {"requestId": self.own_id, "reason": "no one waits any more"}
        message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        await self.line.told(message)
        for ask in asks:
            await self.line.told({"jsonrpc": "2.0", "id": ask.id, **_unanswered(ask)})

    def heard(self, message: Json) -> None:
        """What the server says about this request, before its response."""
        method, params = message.get("method"), as_object(message.get("params"))
        asked = identifier(message.get("id"))
        if asked is not None and isinstance(method, str):
            self._question(asked, method, params, message)
        elif method == "notifications/cancelled":
            gone = params.get("requestId")
            self.asks = {key: ask for key, ask in self.asks.items() if ask.id != gone}
        elif isinstance(method, str) and method not in _ENDED:
            self._note(method, params)

    # The request towards the server.

    async def _fly(self, body: bytes) -> None:
        try:
            found = await self.line.exchange_bytes(body, self.method, self.own_id, self._message)
        except NotSent as error:
            self._close(error)
        except OutcomeUnknown as error:
            self._close(error)
            self._give_up()  # it may wait there still
        except Exception as error:
            self._close(OutcomeUnknown(type(error).__name__))
            raise
        else:
            self._close(self._translated(found))

    async def _message(self, data: bytes) -> None:
        message = decoded(data)
        if message is None:
            return
        if str(message.get("method", "")).endswith(("/list_changed", "resources/updated")):
            self.line.news(message)
        else:
            self.heard(message)

    def _translated(self, found: Response) -> Json | Exception:
        message = decoded(found.body)
        if message is None:
            return Garbage("not JSON")
        if "error" in message:
            opened_first = self._addresses(message["error"])
            return opened_first or {"error": modern_error(message["error"])}
        info = self.line.opened.get("serverInfo")
        return {"result": modern_result(as_object(message.get("result")), self.method, info)}

    def _addresses(self, error: object) -> Json:
        """The result that asks for what the server wants opened first: it has done nothing yet."""
        asked = addresses(error) if self.method in ASKING else {}
        offered = all(
            may_ask(each["method"], self._declared, each["params"]) for each in asked.values()
        )
        if not asked or not offered:
            return {}
        result = {
            "resultType": "input_required",
            "inputRequests": asked,
            "requestState": self._again,
        }
        return {"result": result}

    def _close(self, end: Json | Exception) -> None:
        if self._end is not None:
            return
        self._end = end
        self.line.flights.pop(self.own_id, None)
        if self._gathering is not None:
            self._gathering.cancel()
        self._settle()

    def _settle(self) -> None:
        """Give the end to the agent, if it waits for it now."""
        waiting = self._round
        if waiting is None or self._end is None:
            return
        self._round = None
        if isinstance(self._end, Exception):
            waiting.mailbox.fail(self._end)
        else:
            waiting.mailbox.finish(encoded({"jsonrpc": "2.0", "id": waiting.id, **self._end}))

    # What comes before the response.

    def _question(self, asked: Id, method: str, params: Json, message: Json) -> None:
        if method == "ping":
            self.line.answer_soon(asked, None)
        elif len(self.asks) >= MOST_ASKS:
            self.line.answer_soon(asked, "Too many questions at once")
        elif self.method not in ASKING or not may_ask(method, self._declared, params):
            self.line.answer_soon(asked, "The client cannot be asked that")
        else:
            self._asked += 1
            self.asks[f"question-{self._asked}"] = Ask(id=asked, request=question(message))
            self._gather()

    def _note(self, method: str, params: Json) -> None:
        waiting = self._round
        if waiting is None:
            return
        if method == "notifications/progress":
            if waiting.token is None or not is_token(params.get("progressToken"), self.own_id):
                return  # not asked for, or of another request
            params = {**params, "progressToken": waiting.token}
        elif method == "notifications/message" and not loud_enough(
            params.get("level"), waiting.level
        ):
            return
        waiting.mailbox.put(encoded({"jsonrpc": "2.0", "method": method, "params": params}))

    def _gather(self) -> None:
        if self._gathering is None and self._round is not None:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_SECONDS, self._ask_agent)

    def _ask_agent(self) -> None:
        self._gathering = None
        waiting = self._round
        if waiting is None or not self.asks:
            return
        state = self._park(self)
        if state is None:
            self.cancel()
            return
        self._round = None
        requests = {key: ask.request for key, ask in self.asks.items()}
        asked: dict[str, Any] = {
            "resultType": "input_required",
            "inputRequests": requests,
            "requestState": state,
        }
        waiting.mailbox.finish(response(waiting.id, asked))

    def _left(self, left: Round) -> None:
        """The agent closed this round's stream; where it still waited in it, that cancels."""
        if self._round is left:
            self._round = None
            self.cancel()


def _status(body: bytes) -> int:
    return http_status(body, modern=True)


def _unanswered(ask: Ask) -> Json:
    """What a server is told of a question that no one answered in time."""
    if ask.request["method"] == "elicitation/create":
        return {"result": {"action": "cancel"}}
    return {"error": {"code": -32603, "message": "No one answered in time"}}
