"""The tools/call that goes to a server, made from what was judged."""

from __future__ import annotations

from gateway.catalogue import Tool
from gateway.headers import outbound_headers
from gateway.jsonrpc import ToolCall, encode_call, strict_loads
from gateway.relay.upstream import Request
from gateway.relay.visit import Visit


def call_request(
    visit: Visit,
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
    if visit.modern:
        params = tool.header_params if tool is not None else ()
        mirrored = strict_loads(arguments) if params else {}
        named = {"name": name, "arguments": mirrored}
        headers = dict(outbound_headers(visit.protocol, "tools/call", named, params))
    return visit.request(body, headers=headers, about=about)
