"""The tools/call that goes to a server, made from what was judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from approvals.digest import canonical
from approvals.model import Approval, Call
from gateway.enforcement.catalogue import Tool
from gateway.protocol.jsonrpc import ToolCall, encode_call, strict_loads
from gateway.protocol.metadata import outgoing
from gateway.protocol.routing_headers import outbound_headers
from gateway.relay.agents.request import Caller
from gateway.relay.upstreams.upstream import Request, new_request_id


def stored_call(approval: Approval, envelope: Mapping[str, Any]) -> ToolCall:
    """A held call whose agent does not wait for it, as `approved_call` makes it whole: what is sent
    of arguments and metadata is what is stored.
    """
    return ToolCall(
        id=new_request_id(),
        name=approval.call.tool,
        arguments={},
        canonical=canonical({}),
        meta=dict(envelope),
        progress_token=None,
        extra={},
    )


def approved_call(call: ToolCall, held: Call, *, modern: bool) -> ToolCall:
    """The call as it is sent once it is approved: with what it was held with, not with what the
    request brought that collects its answer. Answers to the server's question are that request's.
    """
    sent = outgoing(call.meta, held.metadata, held.client)
    extra = dict(call.extra) if call.answering is not None else {}
    extra.pop("task", None)
    if sent.task is not None and not modern:
        extra["task"] = sent.task
    return replace(call, meta=sent.meta, extra=extra)


def call_request(
    caller: Caller,
    call: ToolCall,
    arguments: bytes,
    tool: Tool | None,
    *,
    about: str,
    name: str = "",
) -> Request:
    """`arguments` are canonical and stand in the body byte for byte; `name` names another tool.
    `about`: the id the call has on record.
    """
    name = name or call.name
    body = encode_call(call.id, name, arguments, call.meta, call.extra)
    headers = {}
    if caller.modern:
        params = tool.header_params if tool is not None else ()
        mirrored = strict_loads(arguments) if params else {}
        named = {"name": name, "arguments": mirrored}
        headers = dict(outbound_headers(caller.revision, "tools/call", named, params))
    return caller.post(body, method="tools/call", id=call.id, headers=headers, about=about)
