"""One request of a legacy agent, as one or more stateless requests towards a modern server.

`input_required` becomes questions to the agent on the request's own stream; their answers go back
with the server's `requestState`, byte for byte (SEP-2322). The rounds are one call: it was judged
once, and each round carries the arguments that were judged.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from approvals.digest import canonical
from approvals.record.journal import RecordUnavailable
from gateway.enforcement import refusal_texts
from gateway.protocol.jsonrpc import encode_call, error_body
from gateway.protocol.message import CAPABILITIES_KEY, CLIENT_KEY, VERSION_KEY, ErrorCode
from gateway.protocol.param_headers import HeaderParam
from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.bridge.legacy_client import LegacyClient
from gateway.relay.bridge.messages import Id, Json, as_object, decoded, encoded, response
from gateway.relay.bridge.translate import (
    ASKING,
    LEVEL_KEY,
    MODERN,
    OWN,
    legacy_result,
    loud_enough,
    may_ask,
)
from gateway.relay.upstreams.message_queue import MessageQueue
from gateway.relay.upstreams.reading import Garbage, Response, read_response
from gateway.relay.upstreams.upstream import (
    NotSent,
    OutcomeUnknown,
    Request,
    Upstream,
    new_request_id,
)

MOST_ROUNDS = 20
MOST_QUESTIONS = 50  # at once
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds; of a server that only says "come again"
_INTERNAL = -32603
_BAD_REQUEST = 400
_SPEAKS_OTHERWISE = (ErrorCode.UNSUPPORTED_VERSION, ErrorCode.INVALID_REQUEST, -32000)


class NotModern(NotSent):
    """The server does not speak 2026-07-28 (any more); it did nothing with the request."""


class _Unanswered(Exception):
    """The agent cannot be asked, or did not answer."""


class Answered(Protocol):
    """What records an agent's answers. See `Guard.answered`."""

    async def __call__(
        self, *, about: str, grant: str, server: str, tool: str, number: int, answers: Any
    ) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What the agent asked for."""

    grant: str
    about: str  # as the request says
    method: str
    id: Id
    params: Json
    header_params: Sequence[HeaderParam]  # of the called tool


class LegacyRequest:
    """See the module. What the agent gets comes out of `mailbox`."""

    def __init__(
        self,
        errand: RequestFacts,
        *,
        upstream: Upstream,
        client: LegacyClient,
        mailbox: MessageQueue,
        still_modern: Callable[[str], Awaitable[bool]],
        answered: Answered,
        max_result: int,
        patience: float,
    ) -> None:
        """`still_modern`: asks the server, for a grant. `answered`: records answers before they
        are sent. `patience`: seconds for the answers.
        """
        self._errand = errand
        self._upstream = upstream
        self._client = client
        self._mailbox = mailbox
        self._still_modern = still_modern
        self._answered = answered
        self._max_result = max_result
        self._patience = patience

    async def run(self) -> None:
        """Talk until there is an answer; it, or why there is none, ends the mailbox."""
        try:
            self._mailbox.finish(await self._rounds())
        except (NotSent, OutcomeUnknown) as error:
            self._mailbox.fail(error)

    async def _rounds(self) -> bytes:
        more: Json = {}
        for number in range(MOST_ROUNDS):
            found = await self._round(more, first=number == 0)
            message = decoded(found.body)
            if message is None:
                raise Garbage("not JSON")
            if "error" in message:
                return encoded({"jsonrpc": "2.0", "id": self._errand.id, "error": message["error"]})
            result = as_object(message.get("result"))
            if result.get("resultType") != "input_required":
                return response(self._errand.id, legacy_result(result, self._errand.method))
            if self._errand.method not in ASKING:
                raise Garbage("input_required where it cannot be")
            try:
                more = await self._more(result, number + 1)
            except _Unanswered as why:
                return error_body(self._errand.id, _INTERNAL, str(why))
            except RecordUnavailable:
                return error_body(self._errand.id, _INTERNAL, refusal_texts.unavailable())
        text = "The server asked for more too many times"
        return error_body(self._errand.id, _INTERNAL, text)

    async def _more(self, result: Json, number: int) -> Json:
        """What the retry brings: the server's state, and the agent's answers, on record.

        Raises:
            _Unanswered: there are none.
            RecordUnavailable: they may not be sent.
        """
        more: Json = {}
        if isinstance(result.get("requestState"), str):
            more["requestState"] = result["requestState"]
        questions = as_object(result.get("inputRequests"))
        if not questions:  # "come again"
            await asyncio.sleep(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
            return more
        more["inputResponses"] = await self._answers(questions)
        if self._errand.method == "tools/call":
            await self._record(number, more["inputResponses"])
        return more

    async def _round(self, more: Json, *, first: bool) -> Response:
        """One request towards the server; a retry has an id of its own."""
        rpc_id: Id = self._errand.id if first else new_request_id()
        params = self._modern_params()
        headers = outbound_headers(MODERN, self._errand.method, params, self._errand.header_params)
        request = Request(
            method="POST",
            body=self._body(rpc_id, params, more),
            grant=self._errand.grant,
            protocol=MODERN,
            headers=dict(headers),
            rpc_method=self._errand.method,
            rpc_id=rpc_id,
        )
        try:
            answer = await self._upstream.send(request)
        except NotSent as error:
            if first:
                raise
            raise OutcomeUnknown("the retry could not be sent") from error
        try:
            found = await read_response(
                answer, rpc_id, limit=self._max_result, on_message=self._note
            )
        except Garbage:
            if first and answer.status == _BAD_REQUEST:
                await self._check_era()
            raise
        finally:
            await answer.aclose()
        code = as_object(found.message.get("error")).get("code")
        if first and found.status == _BAD_REQUEST and code in _SPEAKS_OTHERWISE:
            await self._check_era()
        return found

    async def _record(self, number: int, answers: Json) -> None:
        await self._answered(
            about=self._errand.about,
            grant=self._errand.grant,
            server=self._upstream.name,
            tool=self._errand.params["name"],
            number=number,
            answers=answers,
        )

    async def _check_era(self) -> None:
        """A refusal as older servers give it: are we talking to one?

        Raises:
            NotModern: yes, so it did nothing.
        """
        try:
            modern = await self._still_modern(self._errand.grant)
        except NotSent:
            return
        if not modern:
            raise NotModern("started again without 2026-07-28")

    def _modern_params(self) -> Json:
        """The agent's params in the envelope of 2026-07-28."""
        kept = {key: each for key, each in self._errand.params.items() if key != "task"}
        meta: Json = {
            **{key: each for key, each in as_object(kept.get("_meta")).items()
               if not key.startswith(OWN)},
            VERSION_KEY: MODERN,
            CAPABILITIES_KEY: self._client.capabilities,
        }  # fmt: skip
        if self._client.info:
            meta[CLIENT_KEY] = self._client.info
        if self._client.level is not None:
            meta[LEVEL_KEY] = self._client.level
        return {**kept, "_meta": meta}

    def _body(self, rpc_id: Id, params: Json, more: Json) -> bytes:
        if self._errand.method == "tools/call":
            arguments = canonical(params.get("arguments", {}))
            return encode_call(rpc_id, params["name"], arguments, params["_meta"], more)
        message = {"jsonrpc": "2.0", "id": rpc_id, "method": self._errand.method}
        return encoded({**message, "params": {**params, **more}})

    async def _note(self, data: bytes) -> None:
        """What comes before the response: passed on, if the agent's revision has it."""
        message = decoded(data)
        method = message.get("method") if message is not None else None
        if message is None or not isinstance(method, str) or "id" in message:
            return
        params = as_object(message.get("params"))
        if method == "notifications/message" and not loud_enough(
            params.get("level"), self._client.level
        ):
            return
        self._mailbox.put(data)

    # Questions to the agent.

    async def _answers(self, questions: Json) -> Json:
        """Ask all at once and wait for all.

        Raises:
            _Unanswered: some cannot be asked, or found no answer.
        """
        if len(questions) > MOST_QUESTIONS:
            raise _Unanswered("The server asked too many questions at once")
        for asked in questions.values():
            method, params = (
                as_object(asked).get("method"),
                as_object(as_object(asked).get("params")),
            )
            if not may_ask(method, self._client.capabilities, params):
                raise _Unanswered("The server asked for what this client does not offer")
        waiting = {key: self._ask(asked) for key, asked in questions.items()}
        try:
            async with asyncio.timeout(self._patience):
                return {
                    key: _given(questions[key]["method"], await future)
                    for key, (_, future) in waiting.items()
                }
        except TimeoutError:
            raise _Unanswered("No one answered the server's question in time") from None
        finally:
            for asked_id, future in waiting.values():
                self._client.asked.pop(asked_id, None)
                future.cancel()

    def _ask(self, asked: Json) -> tuple[Id, asyncio.Future[Json]]:
        asked_id = new_request_id()  # no other server's, behind one URL
        params: dict[str, Any] = {**as_object(asked.get("params"))}
        if params.get("mode") == "url":
            params.setdefault("elicitationId", secrets.token_urlsafe(16))
        future = asyncio.get_running_loop().create_future()
        self._client.asked[asked_id] = future
        message = {"jsonrpc": "2.0", "id": asked_id, "method": asked["method"], "params": params}
        self._mailbox.put(encoded(message))
        return asked_id, future


def _given(method: str, message: Json) -> Json:
    """The agent's answer as one of `inputResponses`."""
    result = message.get("result")
    if isinstance(result, dict):
        return result
    if method == "elicitation/create":
        return {"action": "cancel"}
    raise _Unanswered("The client did not answer the server's question")
