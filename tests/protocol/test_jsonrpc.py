"""What the door makes of a body: one Message, or a refusal with nothing to send on."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    PROTOCOL_VERSION_META_KEY,
)
from mcp_types import jsonrpc as sdk
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from approvals.digest import canonical
from approvals.model import Client
from gateway.protocol import message as words
from gateway.protocol.jsonrpc import (
    LEGACY_VERSIONS,
    MODERN_VERSIONS,
    ErrorCode,
    Malformed,
    Message,
    encode,
    encode_call,
    error_body,
    parse,
    replace_id,
    result_body,
    strict_loads,
    tool_call,
)

MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def call(**params: Any) -> bytes:
    return body({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})


def accepted(raw: bytes) -> Message:
    message = parse(raw)
    assert isinstance(message, Message), message
    return message


def refused(raw: bytes) -> Malformed:
    refusal = parse(raw)
    assert isinstance(refusal, Malformed), refusal
    assert refusal.http_status == 400
    return refusal


def test_the_constants_are_those_of_the_sdk() -> None:
    assert LEGACY_VERSIONS == HANDSHAKE_PROTOCOL_VERSIONS
    assert MODERN_VERSIONS == MODERN_PROTOCOL_VERSIONS
    assert words.VERSION_KEY == PROTOCOL_VERSION_META_KEY
    assert words.CAPABILITIES_KEY == CLIENT_CAPABILITIES_META_KEY
    assert words.CLIENT_KEY == CLIENT_INFO_META_KEY
    assert {code.name: code.value for code in ErrorCode} == {
        "PARSE_ERROR": sdk.PARSE_ERROR,
        "INVALID_REQUEST": sdk.INVALID_REQUEST,
        "METHOD_NOT_FOUND": sdk.METHOD_NOT_FOUND,
        "INVALID_PARAMS": sdk.INVALID_PARAMS,
        "HEADER_MISMATCH": sdk.HEADER_MISMATCH,
        "MISSING_CAPABILITY": sdk.MISSING_REQUIRED_CLIENT_CAPABILITY,
        "UNSUPPORTED_VERSION": sdk.UNSUPPORTED_PROTOCOL_VERSION,
    }


NAME_VARIANTS = [
    "Delete_item", "DELETE_ITEM", " delete_item", "delete_item ", "\tdelete_item", "delete_item\r",
    "delete_item\n", "delete_item\x00", "delete\x00_item", "delete\u200b_item", "\ufeffdelete_item",
    "\uff44\uff45lete_item", "d\u0435lete_item", "delete\u00ad_item", "delete_\u0131tem",
    "\u202edelete_item", "\u2066delete_item\u2069", "../delete_item", "./delete_item",
    "delete_item/", "/delete_item", "delete%5fitem", "delete%5Fitem", "server__delete_item",
    "server/delete_item", "server:delete_item", "", "*", "delete_*", "delete-item", "delete_item?",
    "delete_i\u0307tem", "delete\\_item",
]  # fmt: skip


@pytest.mark.parametrize("meta", [{}, MODERN_META], ids=["legacy", "modern"])
@pytest.mark.parametrize("variant", NAME_VARIANTS)
def test_a_variant_of_a_tools_name_is_refused_or_is_another_name(
    variant: str, meta: dict[str, Any]
) -> None:
    parsed = parse(call(name=variant, arguments={}, _meta=meta))
    if isinstance(parsed, Malformed):
        assert (parsed.code, parsed.id) == (ErrorCode.INVALID_PARAMS, 1)
    else:
        assert tool_call(parsed).name == variant != "delete_item"


def test_the_list_of_name_variants_is_complete() -> None:
    assert len(set(NAME_VARIANTS)) == 33


def test_escapes_are_decoded_before_anything_is_judged() -> None:
    raw = rb'{"jsonrpc":"2.0","id":1,"method":"tools\/call","params":{"name":"\u0064elete_item"}}'
    assert tool_call(accepted(raw)).name == "delete_item"


DUPLICATES = [
    '{%s,"method":"tools/call","params":{"name":"read","name":"delete"}}',
    '{%s,"method":"tools/call","params":{"name":"read","\\u006eame":"delete"}}',
    '{%s,"method":"tools/call","params":{"name":"a","arguments":{},"arguments":{"x":1}}}',
    '{%s,"method":"tools/call","params":{"name":"a","arguments":{"b":[{"x":1,"x":2}]}}}',
    '{%s,"method":"tools/list","method":"tools/call","params":{"name":"a"}}',
    '{%s,"method":"tools/call","params":{"name":"a"},"params":{"name":"b"}}',
    '{%s,"id":2,"method":"tools/call","params":{"name":"a"}}',
    '{%s,"method":"ping","jsonrpc":"2.0"}',
]


@pytest.mark.parametrize("raw", DUPLICATES)
def test_a_key_given_twice_is_a_parse_error(raw: str) -> None:
    refusal = refused((raw % '"jsonrpc":"2.0","id":1').encode())
    assert (refusal.code, refusal.id) == (ErrorCode.PARSE_ERROR, None)


@pytest.mark.parametrize("member", ["Name", "NAME", "Arguments", "arguments ", "cursor", "tool"])
def test_an_unknown_member_beside_a_calls_name_is_refused(member: str) -> None:
    refusal = refused(call(name="read", arguments={}, **{member: "delete"}))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_PARAMS, 1)


@pytest.mark.parametrize("member", ["Method", "METHOD", "Params", "ID", "result", "error", "x", ""])
def test_an_unknown_member_of_the_envelope_is_refused(member: str) -> None:
    raw = body({"jsonrpc": "2.0", "id": 1, "method": "ping", member: {}})
    assert refused(raw).code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "value", [[], [{"jsonrpc": "2.0", "id": 1, "method": "ping"}], 1, "x", None]
)
def test_anything_but_one_object_is_refused(value: Any) -> None:
    refusal = refused(body(value))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_REQUEST, None)


@pytest.mark.parametrize("version", ["1.0", "2.00", 2.0, 2, None, ["2.0"], "2.0 "])
def test_only_json_rpc_2_0_is_spoken(version: Any) -> None:
    refusal = refused(body({"jsonrpc": version, "id": "a", "method": "ping"}))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_REQUEST, "a")
    assert refused(b'{"id":1,"method":"ping"}').code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
@pytest.mark.parametrize("bad", [None, True, False, 1.0, 1.5, {}, [], [1], "x" * 513, 2**63])
def test_an_id_is_a_string_or_an_integer(bad: Any, method: str) -> None:
    raw = body({"jsonrpc": "2.0", "id": bad, "method": method, "params": {"name": "a"}})
    refusal = refused(raw)
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_REQUEST, None)


@pytest.mark.parametrize("good", ["", "a", "x" * 512, 0, -1, 2**63 - 1, -(2**63), "é\n"])
def test_an_id_comes_back_as_it_was(good: Any) -> None:
    message = accepted(body({"jsonrpc": "2.0", "id": good, "method": "ping"}))
    assert message == Message("request", good, "ping", None)
    assert json.loads(result_body(good, {}))["id"] == good


@pytest.mark.parametrize("method", ["tools/call", "tools/list", "initialize", "tasks/cancel"])
def test_a_method_that_owes_an_answer_needs_an_id(method: str) -> None:
    raw = body({"jsonrpc": "2.0", "method": method, "params": {"name": "a"}})
    assert refused(raw).code is ErrorCode.INVALID_REQUEST


def test_a_notification_is_a_message_without_id() -> None:
    raw = body({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})
    wanted = Message("notification", None, "notifications/cancelled", {"requestId": 1})
    assert accepted(raw) == wanted


@pytest.mark.parametrize("method", ["Tools/Call", "tools/call ", "TOOLS/CALL", "tools//call"])
def test_a_variant_of_tools_call_is_another_method(method: str) -> None:
    message = accepted(body({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "a"}}))
    assert message.method == method
    with pytest.raises(ValueError, match="not a tools/call"):
        tool_call(message)


@pytest.mark.parametrize("method", ["", 1, None, ["tools/call"], "m" * 257])
def test_a_method_is_a_string(method: Any) -> None:
    refusal = refused(body({"jsonrpc": "2.0", "id": 1, "method": method}))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_REQUEST, 1)


@pytest.mark.parametrize("params", [None, [], ["a"], "a", 1, True])
@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
def test_params_are_an_object(params: Any, method: str) -> None:
    refusal = refused(body({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_REQUEST, 1)


def test_other_methods_params_stay_open() -> None:
    params = {"x": 1, "Name": "a", "_meta": {"vendor/key": [1]}}
    raw = body({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params})
    assert accepted(raw).params == params


BAD_TOKENS: list[Any] = [True, None, 1.5, {}, [], "x" * 513]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"arguments": {}},
        *({"name": name} for name in (None, 1, True, ["a"], {"a": 1}, "a" * 129, "é")),
        *({"name": "a", "arguments": wrong} for wrong in (None, [], ["x"], "{}", 1, True)),
        {"name": "a", "_meta": None},
        {"name": "a", "_meta": []},
        {"name": "a", "task": True},
        {"name": "a", "inputResponses": []},
        {"name": "a", "requestState": {}},
        *({"name": "a", "_meta": {"progressToken": token}} for token in BAD_TOKENS),
    ],
)
def test_a_call_of_the_wrong_shape_is_invalid_params(params: dict[str, Any]) -> None:
    refusal = refused(call(**params))
    assert (refusal.code, refusal.id) == (ErrorCode.INVALID_PARAMS, 1)


def test_a_call_shows_what_is_judged() -> None:
    meta = {
        "progressToken": "t",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "n" * 500, "version": "1.2", "title": "x"},
        "io.modelcontextprotocol/clientCapabilities": {
            "extensions": {"io.modelcontextprotocol/tasks": {}}
        },
        "claudecode/toolUseId": "u",
    }
    shown = tool_call(accepted(call(name="pay", arguments={"b": 2**64 + 1, "a": -0.0}, _meta=meta)))
    assert shown.name == "pay"
    assert shown.canonical == b'{"a":-0.0,"b":18446744073709551617}'
    assert shown.meta == meta
    assert shown.progress_token == "t"
    assert shown.modern
    assert shown.client == Client(name="n" * 128, version="1.2")
    assert shown.declares_tasks
    assert shown.extra == {}


def test_a_bare_call_has_empty_arguments_and_no_envelope() -> None:
    shown = tool_call(accepted(call(name="a", task={"ttl": 5})))
    assert (shown.arguments, shown.canonical, shown.meta) == ({}, b"{}", {})
    assert (shown.progress_token, shown.modern) == (None, False)
    assert (shown.client, shown.client_capabilities) == (Client(), {})
    assert (shown.declares_tasks, shown.task) == (False, {"ttl": 5})
    assert (shown.input_responses, shown.request_state) == (None, None)


@pytest.mark.parametrize("odd", [None, 1, "x", [], {"extensions": []}, {"extensions": {"x": {}}}])
def test_odd_capabilities_declare_no_tasks(odd: Any) -> None:
    meta = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": odd}
    shown = tool_call(accepted(call(name="a", _meta=meta)))
    assert not shown.declares_tasks


@pytest.mark.parametrize(
    "value",
    [
        {"jsonrpc": "2.0", "id": 1, "result": {"x": 1}},
        {"jsonrpc": "2.0", "id": "a", "error": {"code": 1, "message": "m"}},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "m"}},
    ],
)
def test_a_response_is_kept_whole(value: dict[str, Any]) -> None:
    assert accepted(body(value)) == Message("response", value["id"], "", None, value)


@pytest.mark.parametrize(
    "value",
    [
        {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0"},
        {"jsonrpc": "2.0", "result": {}},
        {"jsonrpc": "2.0", "id": None, "result": {}},
        {"jsonrpc": "2.0", "id": True, "result": {}},
        {"jsonrpc": "2.0", "id": 1, "result": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "error": {}},
        {"jsonrpc": "2.0", "id": 1, "result": {}, "params": {}},
    ],
)
def test_a_response_of_the_wrong_shape_is_refused(value: dict[str, Any]) -> None:
    assert refused(body(value)).code is ErrorCode.INVALID_REQUEST


def test_an_outbound_call_carries_the_canonical_bytes_verbatim() -> None:
    spelled = canonical({"z": 2**70, "a": 1e16, "é": "\u2028"})
    meta = {"vendor/number": 2**70}
    sent = encode_call("i", "pay", spelled, meta, {"requestState": "s", "task": {"ttl": 1}})
    assert spelled in sent
    message = accepted(sent)
    shown = tool_call(Message("request", "i", "tools/call", message.params))
    assert shown.canonical == spelled
    assert (shown.meta, shown.extra) == (meta, {"requestState": "s", "task": {"ttl": 1}})
    assert encode_call(1, "a", b"{}") == (
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}}}'
    )


def test_an_outbound_call_takes_no_second_name() -> None:
    with pytest.raises(ValueError, match="unknown member"):
        encode_call(1, "read", b"{}", None, {"name": "delete"})


def test_bodies_of_our_own_are_json_rpc() -> None:
    assert json.loads(error_body(None, ErrorCode.PARSE_ERROR, "m", {"a": 1})) == {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": -32700, "message": "m", "data": {"a": 1}},
    }
    assert json.loads(error_body(1, -1, "m"))["error"] == {"code": -1, "message": "m"}
    assert json.loads(result_body("a", {"x": 2**80})) == {
        "jsonrpc": "2.0",
        "id": "a",
        "result": {"x": 2**80},
    }


def test_another_id_changes_nothing_else() -> None:
    request = accepted(call(name="a", arguments={"x": 1}))
    assert encode(replace_id(request, "b")) == encode(request).replace(b'"id":1', b'"id":"b"')
    response = accepted(body({"jsonrpc": "2.0", "id": 1, "result": {}}))
    assert strict_loads(encode(replace_id(response, 2))) == {
        "jsonrpc": "2.0",
        "id": 2,
        "result": {},
    }
    assert response.raw == {"jsonrpc": "2.0", "id": 1, "result": {}}
    with pytest.raises(ValueError, match="no id"):
        replace_id(Message("notification", None, "notifications/x", None), 1)


IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.integers(-(2**70), 2**70)
VALUES = st.recursive(
    st.none() | st.booleans() | IDS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab:é\\"'), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(["a", "name", "_meta", "progressToken"]), VALUES)
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | VALUES},
    optional={
        "id": VALUES,
        "method": st.sampled_from(["tools/call", "tools/list", "notifications/x"]) | VALUES,
        "params": st.fixed_dictionaries({"name": st.just("a")}, optional={"arguments": OBJECTS})
        | OBJECTS
        | VALUES,
        "result": OBJECTS | VALUES,
        "x": VALUES,
    },
)


@settings(max_examples=400, database=None, deadline=None)
@given(MESSAGES)
def test_what_is_accepted_reads_the_same_after_writing_it_again(value: Any) -> None:
    message = parse(body(value))
    if isinstance(message, Malformed):
        return
    assert parse(encode(message)) == message
    assert parse(canonical(strict_loads(encode(message)))) == message
    if message.method == "tools/call":
        shown = tool_call(message)
        sent = encode_call(shown.id, shown.name, shown.canonical, shown.meta, shown.extra)
        assert tool_call(accepted(sent)) == shown


@settings(max_examples=400, database=None, deadline=None)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_bytes_are_a_message_or_a_refusal(raw: bytes) -> None:
    assert isinstance(parse(raw), Message | Malformed)
