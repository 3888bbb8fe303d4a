"""The header ladder of 2026-07-28: what disagrees with the body is refused, as by the SDK."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared import inbound as sdk

from gateway.protocol.jsonrpc import ErrorCode, Malformed, Message
from gateway.protocol.param_headers import HeaderParam, header_params
from gateway.protocol.routing_headers import (
    check_modern_headers,
    decode_value,
    encode_value,
    is_modern,
    outbound_headers,
)

Headers = list[tuple[bytes, bytes]]

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientCapabilities": {},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "deep": {"properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
    },
}


def request(method: str = "tools/call", meta: Any = META, **params: Any) -> Message:
    return Message("request", 1, method, {"_meta": meta, **params})


def headers(version: str = VERSION, method: str = "tools/call", **more: str) -> Headers:
    found = [(b"mcp-protocol-version", version.encode()), (b"mcp-method", method.encode())]
    extra = [(key.replace("_", "-").encode(), value.encode()) for key, value in more.items()]
    return [(b"host", b"x"), *found, *extra]


def outcome(raw: Headers, message: Message, schema: Any = None) -> tuple[int, int] | None:
    refusal = check_modern_headers(raw, message, header_params(schema))
    return None if refusal is None else (refusal.code, refusal.http_status)


MISMATCH = (ErrorCode.HEADER_MISMATCH, 400)
CALL = request(name="pay")


def test_headers_that_agree_with_the_body_pass() -> None:
    assert outcome(headers(mcp_name="pay"), CALL) is None
    assert outcome([(k.upper(), v) for k, v in headers(mcp_name="pay")], CALL) is None
    assert outcome(headers(mcp_name="=?base64?cGF5?="), CALL) is None
    assert outcome(headers(method="tools/list"), request("tools/list")) is None


@pytest.mark.parametrize("name", ["mcp-protocol-version", "mcp-method", "mcp-name"])
@pytest.mark.parametrize("case", ["missing", "other", "case", "padded", "doubled", "doubled-other"])
def test_a_routing_header_that_disagrees_is_a_mismatch(name: str, case: str) -> None:
    raw = headers(mcp_name="pay")
    key = name.encode()
    value = dict(raw)[key]
    rest = [(k, v) for k, v in raw if k != key]
    sent: Headers = {
        "missing": [],
        "other": [(key, b"other")],
        "case": [(key, value.upper() if name != "mcp-protocol-version" else b"2026-07-2")],
        "padded": [(key, value + b" ")],
        "doubled": [(key, value), (key.upper(), value)],
        "doubled-other": [(key, value), (key, b"other")],
    }[case]
    assert outcome(rest + sent, CALL) == MISMATCH


@pytest.mark.parametrize(
    "coded",
    [
        "=?base64?cGF5",
        "=?base64?cGF5 ?=",
        "=?base64?cGF?=",
        "=?base64?cGF5=?=",
        "=?base64??=",
        "=?base64?cGF6?=",
        "=?base64?/w==?=",
        "=?BASE64?cGF5?=",
        "=?base64?cGF5\n?=",
        "=?base64?é?=",
    ],
)
def test_a_name_coded_wrongly_is_a_mismatch(coded: str) -> None:
    assert outcome(headers(mcp_name=coded), CALL) == MISMATCH


def test_spare_bits_give_base64_no_second_spelling() -> None:
    assert decode_value("=?base64?YQ==?=") == "a"
    assert decode_value("=?base64?YR==?=") is None


@pytest.mark.parametrize(
    ("method", "member"),
    [("tools/call", "name"), ("prompts/get", "name"), ("resources/read", "uri")]
    + [(f"tasks/{verb}", "taskId") for verb in ("get", "update", "cancel")],
)
def test_what_a_request_names_stands_in_its_name_header(method: str, member: str) -> None:
    message = request(method, **{member: "é"})
    assert outcome(headers(method=method, mcp_name="=?base64?w6k=?="), message) is None
    assert outcome(headers(method=method, mcp_name="e"), message) == MISMATCH
    assert outcome(headers(method=method), message) == MISMATCH
    assert outcome(headers(method=method, mcp_name="1"), request(method, **{member: 1})) == MISMATCH
    assert outcome(headers(method=method, mcp_name="a"), request(method)) == MISMATCH
    assert outcome(headers(method=method), request(method)) is None


@pytest.mark.parametrize("meta", [None, [], "x", {}, {"progressToken": 1}])
def test_a_request_without_its_envelope_is_invalid_params(meta: Any) -> None:
    wanted = (ErrorCode.INVALID_PARAMS, 400)
    assert outcome(headers(mcp_name="pay"), request(meta=meta, name="pay")) == wanted
    assert outcome(headers(method="ping"), Message("request", 1, "ping", None)) == wanted


@pytest.mark.parametrize("key", list(META))
def test_both_keys_of_the_envelope_are_needed(key: str) -> None:
    meta = {name: value for name, value in META.items() if name != key}
    refusal = check_modern_headers(headers(mcp_name="pay"), request(meta=meta, name="pay"))
    assert refusal is not None
    assert refusal.code is ErrorCode.INVALID_PARAMS
    assert key in refusal.message


def test_a_version_nobody_serves_is_named_with_those_that_are() -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    message = request(meta=meta, name="pay")
    refusal = check_modern_headers(headers("2099-01-01", mcp_name="pay"), message)
    assert refusal == Malformed(
        ErrorCode.UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        1,
        400,
        {"supported": [VERSION], "requested": "2099-01-01"},
    )


@pytest.mark.parametrize("version", [None, 1, ["2026-07-28"], {}])
def test_a_version_that_is_no_string_never_equals_its_header(version: Any) -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": version}
    assert outcome(headers(mcp_name="pay"), request(meta=meta, name="pay")) == MISMATCH


def test_a_notification_only_needs_a_version_that_is_served() -> None:
    note = Message("notification", None, "notifications/cancelled", {"requestId": 1})
    assert outcome([(b"mcp-protocol-version", b"2026-07-28")], note) is None
    assert outcome([(b"mcp-protocol-version", b"x")], note) == (ErrorCode.UNSUPPORTED_VERSION, 400)
    assert outcome([], note) == (ErrorCode.UNSUPPORTED_VERSION, 400)


def test_a_client_posts_no_responses() -> None:
    response = Message("response", 1, "", None, {"jsonrpc": "2.0", "id": 1, "result": {}})
    assert outcome(headers(), response) == (ErrorCode.INVALID_REQUEST, 400)


def test_the_version_header_tells_the_era_and_the_body_only_without_it() -> None:
    bare = Message("request", 1, "ping", None)
    assert not is_modern([], bare)
    assert is_modern([], CALL)
    for version in ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"):
        assert not is_modern([(b"MCP-Protocol-Version", version.encode())], CALL)
    for version in ("2026-07-28", "2099-01-01", "", "2025-11-25 "):
        assert is_modern([(b"mcp-protocol-version", version.encode())], bare)
    assert is_modern([(b"mcp-protocol-version", b"2025-11-25")] * 2, bare)


@pytest.mark.parametrize(
    ("arguments", "sent", "passes"),
    [
        ({}, {}, True),
        ({"region": None}, {}, True),
        ({"region": "eu", "count": 2, "deep": {"dry": True}}, {}, False),
        ({"region": "eu"}, {"mcp_param_region": "eu"}, True),
        ({"region": "eu"}, {"mcp_param_region": "=?base64?ZXU=?="}, True),
        ({"region": "eu"}, {"mcp_param_region": "=?base64?ZXU?="}, False),
        ({"region": "eu"}, {"mcp_param_region": "EU"}, False),
        ({"region": "eu"}, {"mcp_param_region": "eu", "MCP_PARAM_REGION": "eu"}, False),
        ({}, {"mcp_param_region": "eu"}, False),
        ({"region": ["eu"]}, {"mcp_param_region": "eu"}, False),
        ({"region": ["eu"]}, {}, True),
        ({"count": 42}, {"mcp_param_count": "42.0"}, True),
        ({"count": 42.0}, {"mcp_param_count": "42"}, True),
        ({"count": 2**53 + 1}, {"mcp_param_count": str(2**53)}, False),
        ({"count": True}, {"mcp_param_count": "1"}, False),
        ({"count": 42}, {"mcp_param_count": "4" * 5000}, False),
        ({"deep": {"dry": False}}, {"mcp_param_dry": "false"}, True),
        ({"deep": {"dry": False}}, {"mcp_param_dry": "False"}, False),
        ({"deep": []}, {"mcp_param_other": "x"}, True),
    ],
)
def test_param_headers_say_what_the_arguments_say(
    arguments: dict[str, Any], sent: dict[str, str], *, passes: bool
) -> None:
    message = request(name="pay", arguments=arguments)
    raw = headers(mcp_name="pay", **sent)
    assert outcome(raw, message, SCHEMA) == (None if passes else MISMATCH)
    assert outcome(raw, message, None) is None


def test_outbound_headers_come_from_the_body_that_is_sent() -> None:
    params: dict[str, Any] = {"name": "pay", "arguments": {"region": "köln", "deep": {"dry": True}}}
    found = outbound_headers(VERSION, "tools/call", params, header_params(SCHEMA))
    assert sorted(found) == [
        ("MCP-Protocol-Version", VERSION),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "pay"),
        ("Mcp-Param-Dry", "true"),
        ("Mcp-Param-Region", "=?base64?a8O2bG4=?="),
    ]
    raw = [(name.encode(), value.encode()) for name, value in found]
    assert outcome(raw, request(**params), SCHEMA) is None


@pytest.mark.parametrize(
    "mark",
    [
        {"x-mcp-header": "A", "type": "number"},
        {"x-mcp-header": "A", "type": ["string"]},
        {"x-mcp-header": "A"},
        {"x-mcp-header": "A b", "type": "string"},
        {"x-mcp-header": "A\n", "type": "string"},
        {"x-mcp-header": "", "type": "string"},
        {"x-mcp-header": 1, "type": "string"},
        {"x-mcp-header": "REGION", "type": "string"},
        {"items": {"x-mcp-header": "A", "type": "string"}},
        {"anyOf": [{"x-mcp-header": "A", "type": "string"}]},
        {"$defs": {"a": {"x-mcp-header": "A", "type": "string"}}},
    ],
)
def test_one_wrong_mark_in_a_schema_switches_all_of_them_off(mark: dict[str, Any]) -> None:
    schema = {"properties": {**SCHEMA["properties"], "new": mark}}  # type: ignore[dict-item]
    assert header_params(schema) == ()
    assert sdk.find_invalid_x_mcp_header(schema) is not None


def test_data_inside_a_schema_marks_nothing() -> None:
    schema = {
        "default": {"properties": {"a": {"x-mcp-header": "B", "type": "string"}}},
        "properties": {"a": {"type": "string", "x-mcp-header": "A", "enum": ["x-mcp-header"]}},
    }
    assert header_params(schema) == (HeaderParam(("a",), "A", "string"),)


VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ["=?base64?YQ==?=", "=?base64??=", "=?base64?=", " a", "a ", "\t", "\x7f", "é"]
)


@settings(max_examples=300, database=None, deadline=None)
@given(VALUES)
def test_a_header_value_is_coded_as_the_sdk_codes_it(value: str) -> None:
    assert encode_value(value) == sdk.encode_header_value(value)
    assert decode_value(encode_value(value)) == value


@settings(max_examples=300, database=None, deadline=None)
@given(st.text("=?base64YQR+/ ", max_size=6), st.sampled_from(["%s", "=?base64?%s?="]))
def test_a_header_value_is_read_as_the_sdk_reads_it(value: str, form: str) -> None:
    text = form % value
    assert decode_value(text) == sdk.decode_header_value(text)


ARGUMENT: st.SearchStrategy[Any] = st.sampled_from(
    [None, "eu", "é", 1, -1, 42, 42.0, 1.5, 10**30, True, False, [], {}]
)
HEADER = st.sampled_from(
    [
        None,
        "eu",
        "=?base64?w6k=?=",
        "=?base64?x?=",
        "1",
        "-1",
        "42",
        "42.0",
        "42.5",
        "1e3",
        "true",
        "False",
        "1.5",
        str(10**30),
        "",
    ]
)


@settings(max_examples=500, database=None, deadline=None)
@given(st.tuples(ARGUMENT, ARGUMENT, ARGUMENT), st.tuples(HEADER, HEADER, HEADER))
def test_param_headers_are_judged_as_the_sdk_judges_them(
    values: tuple[Any, ...], sent: tuple[str | None, ...]
) -> None:
    arguments = {"region": values[0], "count": values[1], "deep": {"dry": values[2]}}
    names = ("mcp-param-region", "mcp-param-count", "mcp-param-dry")
    kept = {name: value for name, value in zip(names, sent, strict=True) if value is not None}
    theirs = sdk.validate_mcp_param_headers(SCHEMA, arguments, kept)
    raw = headers(mcp_name="pay") + [(name.encode(), kept[name].encode()) for name in kept]
    ours = outcome(raw, request(name="pay", arguments=arguments), SCHEMA)
    assert (ours is None) == (theirs is None)


@settings(max_examples=300, database=None, deadline=None)
@given(
    st.sampled_from([META, {}, None, {**META, "io.modelcontextprotocol/protocolVersion": "x"}]),
    st.sampled_from([VERSION, "x", None]),
    st.sampled_from(["tools/call", "tools/list", "resources/read", None]),
    st.sampled_from(["pay", "=?base64?cGF5?=", None]),
    st.sampled_from(["tools/call", "tools/list"]),
)
def test_the_ladder_ends_on_the_rung_where_the_sdk_ends(
    meta: Any, version: str | None, method: str | None, name: str | None, called: str
) -> None:
    sent = {"mcp-protocol-version": version, "mcp-method": method, "mcp-name": name}
    kept = {key: value for key, value in sent.items() if value is not None}
    params = {"_meta": meta, "name": "pay"}
    theirs = sdk.classify_inbound_request({"method": called, "params": params}, headers=kept)
    raw = [(key.encode(), value.encode()) for key, value in kept.items()]
    ours = check_modern_headers(raw, Message("request", 1, called, params))
    if isinstance(theirs, sdk.InboundLadderRejection):
        assert ours is not None
        assert (ours.code, ours.data) == (theirs.code, theirs.data)
        assert ours.http_status == sdk.ERROR_CODE_HTTP_STATUS[theirs.code]
    else:
        assert ours is None


def test_refusals_repeat_nothing_of_the_request() -> None:
    secret = "s3cret"
    for raw in (headers(mcp_name=secret), headers(method=secret), headers(mcp_param_region=secret)):
        refusal = check_modern_headers(raw, request(name="pay"), header_params(SCHEMA))
        assert refusal is not None
        assert secret not in json.dumps([refusal.message, refusal.data])
