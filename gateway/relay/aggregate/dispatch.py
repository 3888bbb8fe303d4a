"""The URL of all servers, by method: a call is its server's, a list is everybody's.

A message that belongs to one server becomes a request there and takes the same way as at the
server's own URL: same policy, pins, limits, approvals. Not passed on: the tasks of 2025-11-25 and
what a server calls experimental.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from http import HTTPStatus
from typing import Any

import structlog

from approvals.aside import aside
from approvals.service import Approvals
from gateway.enforcement import refusal_texts, refusals
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.grants import Grant
from gateway.enforcement.guard import Guard
from gateway.enforcement.refusal_texts import AWAIT_TOOL
from gateway.enforcement.refusals import Refusal
from gateway.protocol.jsonrpc import ErrorCode, Message, result_body, tool_call
from gateway.protocol.param_headers import HeaderParam
from gateway.relay.agents.disconnect import AgentGone, cancel_on_disconnect
from gateway.relay.agents.request import Backend
from gateway.relay.agents.response import reply
from gateway.relay.aggregate.ids import ids_to_server
from gateway.relay.aggregate.lists import (
    KEYS,
    MISSING,
    ListFailed,
    SessionLost,
    gather,
    named,
    pages,
    request,
)
from gateway.relay.aggregate.names import Names
from gateway.relay.aggregate.opening import discover, initialize
from gateway.relay.aggregate.request import AggregateRequest, AnswerRewriter, nowhere
from gateway.relay.aggregate.resource_owners import Ambiguous, ResourceOwners
from gateway.relay.aggregate.session import AggregateSessions, NotOpened
from gateway.relay.aggregate.streams import Streams
from gateway.relay.aggregate.task_owners import TaskOwners
from gateway.relay.methods.dispatch import Dispatch
from gateway.relay.methods.holding import Holding
from gateway.relay.methods.pinned_lists import (
    AWAIT_DEFINITION,
    LISTS,
    ListingFailed,
)
from gateway.relay.methods.tool_listing import ToolListing

log = structlog.get_logger()

_RENEWED = Refusal(
    "Not executed: the server had ended its session. It gets a new one: repeat the call.",
    {"verdict": "allow", "status": "not_executed"},
)
_NOBODYS = "Resource not found: no server here lists it"
_SEVERAL = "Resource not found: several servers here claim it. Ask at its server's own URL"
_NOT_FOUND = -32002  # resource not found, before 2026-07-28


class AggregateDispatch:
    """Serves `/mcp`."""

    def __init__(
        self,
        *,
        backends: Mapping[str, Backend],
        dispatch: Dispatch,
        holding: Holding,
        tool_listing: ToolListing,
        catalogue: Catalogue,
        guard: Guard,
        approvals: Approvals,
        bundles: AggregateSessions,
        separator: str,
        max_result: int,
    ) -> None:
        self._backends = backends
        self._dispatch = dispatch
        self._holding = holding
        self._pinned = tool_listing.pinned
        self._tool_listing = tool_listing
        self._catalogue = catalogue
        self._guard = guard
        self._approvals = approvals
        self.bundles = bundles
        self.names = Names(backends, separator)
        self._max_result = max_result
        self._owners = ResourceOwners()
        self._tasks = TaskOwners(approvals)
        self.streams = Streams(
            dispatch, holding.stopping, self._owners, self._tasks, max_block=max_result
        )

    def reached(self, grant: Grant) -> dict[str, Backend]:
        """The servers of a grant, in the file's order."""
        return {name: one for name, one in self._backends.items() if grant.reaches(name)}

    def header_params(self, message: Message) -> tuple[HeaderParam, ...]:
        """The arguments that the called tool wants repeated as headers."""
        if message.method != "tools/call" or message.params is None:
            return ()
        found = self._tool(message.params["name"])
        tool = self._catalogue.tool(*found) if found is not None else None
        return tool.header_params if tool is not None else ()

    async def post(self, incoming: AggregateRequest) -> None:
        """Answer one POST."""
        message = incoming.message
        try:
            if message.kind == "request":
                await self._request(incoming)
            else:
                await self._told(incoming)
        except NotOpened as error:
            text = "The server behind the gateway cannot be reached"
            await incoming.error(-32603, refusal_texts.unconfirmed() if error.waits else text)

    async def _request(self, incoming: AggregateRequest) -> None:
        method = incoming.message.method
        if method == "tools/call":
            await self._call(incoming)
        elif method in KEYS:
            await self._list(incoming, method)
        elif method in ("prompts/get", "completion/complete"):
            await self._prompt(incoming)
        elif method == "resources/read":
            await self._resource(incoming)
        elif incoming.modern:
            await self._modern(incoming, method)
        else:
            await self._legacy(incoming, method)

    async def _modern(self, incoming: AggregateRequest, method: str) -> None:
        """What only 2026-07-28 has."""
        if method == "server/discover":
            await discover(incoming, self._max_result, self._pinned)
        elif method == "subscriptions/listen":
            await self.streams.listen(incoming)
        elif method.startswith("tasks/"):
            await self._task(incoming)
        else:
            await incoming.error(ErrorCode.METHOD_NOT_FOUND, "Method not found")

    async def _legacy(self, incoming: AggregateRequest, method: str) -> None:
        """What only the revisions with sessions have."""
        if method == "initialize":
            await initialize(incoming, self.bundles, self._pinned)
        elif method == "ping":
            await incoming.answer({})
        elif method == "logging/setLevel":
            await self._level(incoming)
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            await self._resource(incoming)
        else:
            await incoming.error(ErrorCode.METHOD_NOT_FOUND, "Method not found")

    async def _call(self, incoming: AggregateRequest) -> None:
        call = await aside(incoming.message.size, lambda: tool_call(incoming.message))
        if call.name == AWAIT_TOOL:
            await self._await(incoming, call.arguments.get("approval_id"))
            return
        found = self._tool(call.name)
        if found is None or found[0] not in incoming.backends:
            # As at a server's own URL: a tool that is no one's is no one's to judge.
            log.info("call.unknown_tool", grant=incoming.grant.id)
            await incoming.error(ErrorCode.INVALID_PARAMS, "Unknown tool: it is on no server here")
            return
        try:
            params = {
                key: one for key, one in (incoming.message.params or {}).items() if key != "task"
            }  # a server's own tasks are not to be had here
            message = replace(incoming.message, params={**params, "name": found[1]})
            await self._pass(incoming, found[0], message)
        except NotOpened as error:
            await self._refuse(incoming, refusals.not_sent(waits=error.waits))

    async def _await(self, incoming: AggregateRequest, identifier: Any) -> None:
        approval = await self._approvals.get(identifier) if isinstance(identifier, str) else None
        server = approval.call.server if approval is not None else ""
        if server not in incoming.backends:
            await self._refuse(incoming, refusals.unknown_approval())
            return
        try:
            part = await incoming.part(server, send=self._down(incoming, server))
        except NotOpened as error:
            await self._refuse(incoming, refusals.not_sent(waits=error.waits))
            return
        call = tool_call(incoming.message)
        if incoming.modern and call.request_state is not None:
            await self._dispatch.post(part)  # it brings the answer to a question
            return
        bundle = incoming.bundle
        with bundle.under_way(incoming.message, server) if bundle is not None else nullcontext():
            await self._holding.resume(part, call)

    async def _list(self, incoming: AggregateRequest, method: str) -> None:
        if (incoming.message.params or {}).get("cursor") is not None:
            await incoming.error(ErrorCode.INVALID_PARAMS, "Unknown cursor: the list has one page")
            return
        try:
            async with cancel_on_disconnect(incoming.receive):
                result = await self._gathered(incoming, method)
        except AgentGone:
            return
        await incoming.answer(result, cached=True)

    async def _gathered(self, incoming: AggregateRequest, method: str) -> dict[str, Any]:
        """The servers' lists as one; which resource is whose is taken note of."""

        async def ask(server: str) -> list[dict[str, Any]]:
            try:
                return await self._listed(incoming, server, method)
            except SessionLost:
                if incoming.bundle is not None:
                    incoming.bundle.forget(server)
                return await self._listed(incoming, server, method)

        found = await gather(incoming.backends, ask)
        lists = {name: found.answers.get(name, []) for name in incoming.backends}
        if method == "tools/list":
            lists |= {server: self._known(server) for server in found.missing}
        result: dict[str, Any] = {KEYS[method]: self._shown(incoming, method, lists)}
        if found.missing:
            result["_meta"] = {MISSING: list(found.missing)}
        return result

    async def _listed(
        self, incoming: AggregateRequest, server: str, method: str
    ) -> list[dict[str, Any]]:
        """One server's part of a list.

        Raises:
            ListFailed, NotOpened, NotSent, OutcomeUnknown: it gave none.
        """
        if not await self._offers(incoming, server, method):
            return []
        caller = await incoming.caller(server)
        try:
            if method == "tools/list":
                return await self._tool_listing.offered(caller)
            items = await pages(
                caller, method, self._max_result, most=self._tool_listing.most_bytes
            )
            if method not in LISTS:
                return items
            return await self._pinned.whole_list(server, method, items)
        except ListingFailed as error:
            lost = error.status == HTTPStatus.NOT_FOUND and caller.session is not None
            raise (SessionLost if lost else ListFailed)(str(error)) from error

    def _shown(
        self, incoming: AggregateRequest, method: str, lists: Mapping[str, list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        match method:
            case "tools/list":
                tools = named(self.names.joined, lists)
                if any(self._guard.rules.can_hold(server) for server in incoming.backends):
                    tools.append(dict(AWAIT_DEFINITION))
                return tools
            case "prompts/list":
                return named(self.names.plain, lists)
            case "resources/list":
                return self._owners.resources(incoming.grant.id, lists)
            case _:
                return self._owners.templates(incoming.grant.id, lists)

    def _known(self, server: str) -> list[dict[str, Any]]:
        """What a server that does not answer was last known to offer: as pinned, so as judged."""
        return [
            dict(tool.definition)
            for name, tool in self._catalogue.of(server).items()
            if tool.present and not self._guard.rules.hidden(server, name)
        ]

    async def _offers(self, incoming: AggregateRequest, server: str, method: str) -> bool:
        """Whether it makes sense to ask a legacy server for this list."""
        if incoming.bundle is None or method == "tools/list":
            return True
        opened = await incoming.bundle.session(incoming.grant, incoming.backends[server])
        return method.partition("/")[0] in opened.capabilities

    async def _prompt(self, incoming: AggregateRequest) -> None:
        """prompts/get, and completion/complete of a prompt or a resource template."""
        params = incoming.message.params or {}
        ref = params.get("ref")
        if incoming.message.method == "completion/complete":
            if isinstance(ref, dict) and isinstance(ref.get("uri"), str):
                await self._resource(incoming, ref["uri"])
                return
            name = ref.get("name") if isinstance(ref, dict) else None
        else:
            name = params.get("name")
        found = self.names.split(name) if isinstance(name, str) else None
        if found is None or found[0] not in incoming.backends:
            await incoming.error(
                ErrorCode.INVALID_PARAMS, "Unknown prompt: it is on no server here"
            )
            return
        server, own = found
        asked = incoming.asking(name=own)
        if isinstance(ref, dict):
            asked = incoming.asking(ref={**ref, "name": own})
        await self._pass(incoming, server, asked)

    async def _resource(self, incoming: AggregateRequest, uri: Any = None) -> None:
        """What a resource is asked for, at the server it belongs to."""
        uri = uri if uri is not None else (incoming.message.params or {}).get("uri")
        if not isinstance(uri, str):
            await incoming.error(ErrorCode.INVALID_PARAMS, "uri must be a string")
            return
        server = await self._owner(incoming, uri)
        if not isinstance(server, str):
            code = ErrorCode.INVALID_PARAMS if incoming.modern else _NOT_FOUND
            await incoming.error(code, _NOBODYS if server is None else _SEVERAL)
            return
        await self._pass(incoming, server, incoming.message)

    async def _owner(self, incoming: AggregateRequest, uri: str) -> str | Ambiguous | None:
        found = self._owners.owner(incoming.grant.id, uri)
        if found is None:
            try:
                async with cancel_on_disconnect(incoming.receive):
                    for method in ("resources/list", "resources/templates/list"):
                        await self._gathered(incoming, method)
            except AgentGone:
                return None
            found = self._owners.owner(incoming.grant.id, uri)
        return found if isinstance(found, Ambiguous) or found in incoming.backends else None

    async def _task(self, incoming: AggregateRequest) -> None:
        """tasks/get, tasks/update, tasks/cancel: at the server the task's call went to."""
        named = (incoming.message.params or {}).get("taskId")
        server = None
        if isinstance(named, str):
            server = await self._tasks.server(incoming.grant.id, named)
        if server not in incoming.backends or server is None:
            # Whatever is wrong with it, any server's own answer says so.
            if not incoming.backends or isinstance(named, str):
                await incoming.error(ErrorCode.INVALID_PARAMS, "Task not found")
                return
            server = next(iter(incoming.backends))
        await self._pass(incoming, server, incoming.message)

    async def _level(self, incoming: AggregateRequest) -> None:
        """logging/setLevel, for every server that logs, also one that is opened later."""
        bundle = incoming.bundle
        if bundle is None:
            await incoming.error(ErrorCode.INVALID_REQUEST, "initialize comes first")
            return
        stopped = {
            name: self._guard.rules.stopped(incoming.grant.id, name) for name in incoming.backends
        }
        stops = [one for one in stopped.values() if one is not None]
        if stops and len(stops) == len(stopped):
            await incoming.error(-32603, stops[0].text, stops[0].data())
            return
        bundle.level = params = {"level": (incoming.message.params or {}).get("level")}
        logging = [
            name
            for name, one in bundle.opened.items()
            if "logging" in one.capabilities and stopped.get(name) is None
        ]

        async def ask(server: str) -> Any:
            caller = await incoming.caller(server)
            return await request(caller, "logging/setLevel", params, self._max_result) or {}

        await gather([name for name in logging if name in incoming.backends], ask)
        await incoming.answer({})

    async def _told(self, incoming: AggregateRequest) -> None:
        """A notification or a response: to the server it is for, or to all who may want it."""
        message, bundle = incoming.message, incoming.bundle
        if bundle is not None:
            if message.method == "notifications/roots/list_changed":
                for server in bundle.opened.keys() & incoming.backends.keys():
                    await self._pass(replace(incoming, send=nowhere), server, message)
            elif message.method == "notifications/cancelled":
                server = bundle.asked.get((message.params or {}).get("requestId", ""), "")
                if server in incoming.backends:
                    await self._pass(incoming, server, message)
                    return
            elif (found := ids_to_server(message)) is not None and found[0] in bundle.opened:
                await self._pass(incoming, *found)
                return
        await reply(incoming.send, 202)

    async def _pass(self, incoming: AggregateRequest, server: str, message: Message) -> None:
        """Let one server have this message, and its answer reach the agent.

        Raises:
            NotOpened: legacy, and the server gives no session.
        """
        bundle = incoming.bundle
        if bundle is None:
            send = incoming.send
            if message.method == "tools/call":
                send = self._tasks.watching(incoming.grant.id, server, send)
            await self._dispatch.post(await incoming.part(server, message, send=send))
            return
        with bundle.under_way(message, server):
            if await self._send_once(incoming, server, message):
                return
            bundle.forget(server)  # the server has ended its session: there is a new one to be had
            if message.method == "tools/call":  # it may have been sent: that is the agent's
                await self._refuse(incoming, _RENEWED)
                return
            if await self._send_once(incoming, server, message):
                return
            bundle.forget(server)
            await self._ended_at_once(incoming)

    async def _send_once(self, incoming: AggregateRequest, server: str, message: Message) -> bool:
        """Send a message in the server's session; False: the server does not know that session,
        and the agent has been told nothing.
        """
        down = self._down(incoming, server)
        await self._dispatch.post(await incoming.part(server, message, send=down))
        return not down.gone

    async def _ended_at_once(self, incoming: AggregateRequest) -> None:
        if incoming.message.kind == "request":
            text = "The server behind the gateway ends its sessions at once"
            await incoming.error(-32603, text)
        else:
            await reply(incoming.send, 202)

    def _down(self, incoming: AggregateRequest, server: str) -> AnswerRewriter:
        tokens = incoming.bundle.tokens if incoming.bundle is not None else None
        return AnswerRewriter(server, incoming.send, tokens=tokens, max_block=self._max_result)

    def _tool(self, joined: str) -> tuple[str, str] | None:
        return self.names.tool(joined, self._catalogue.of)

    async def _refuse(self, incoming: AggregateRequest, refusal: Refusal) -> None:
        if incoming.message.id is None:
            raise RuntimeError("a call has an id")
        body = result_body(incoming.message.id, refusal.result(modern=incoming.modern))
        await reply(incoming.send, 200, body)
