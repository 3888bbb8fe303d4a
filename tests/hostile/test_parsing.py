"""Whatever cannot be read in exactly one way is refused, and nothing comes of it."""

import base64
import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.hostile.door import (
    META,
    Door,
    call,
    message,
    modern,
    read_answer,
)
from tests.hostile.evil import HOSTILE_TEXT

RPC = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":'
FREE = b'{"name":"free","arguments":{"key":"k"}}'
PARSE, INVALID, PARAMS, HEADERS = -32700, -32600, -32602, -32020

NAMES = [
    *("Free", "FREE", "fREE", " free", "free ", "\tfree", "free\t", "free\r\n", "free\n", "fr ee"),
    *("free\x00", "\x00free", "fr\u200bee", "\u200bfree", "free\ufeff", "\ufefffree", "free\u00ad"),
    *("\uff46\uff52\uff45\uff45", "fr\u0435e", "\u0192ree", "l\u0131mited", "\u202eeerf"),
    "fre\u0301e",
    *("./free", "../free", "/free", "free/", "free%5f", "%66ree", "w/free", "w__free", "w.free"),
    *("", "*", "fre*", "free\\u0000", "signoff_await_approval2", "a" * 129, "free;held"),
]  # fmt: skip


def wrapped(params: bytes) -> bytes:
    return RPC + params + b"}"


def deep(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    value = opening * levels + b"1" + closing * levels
    return wrapped(b'{"name":"free","arguments":{"key":"k","v":' + value + b"}}")


def with_value(text: bytes) -> bytes:
    return wrapped(b'{"name":"free","arguments":{"key":"k","v":' + text + b"}}")


def unanswered(request_id: bytes) -> bytes:
    return b'{"jsonrpc":"2.0",' + request_id + b'"method":"tools/call","params":' + FREE + b"}"


BODIES = {
    # T-05: one key, two values
    "two names": (wrapped(b'{"name":"free","name":"held","arguments":{}}'), PARSE),
    "name by escape": (wrapped(b'{"name":"free","n\\u0061me":"held","arguments":{}}'), PARSE),
    "two arguments": (wrapped(b'{"name":"free","arguments":{},"arguments":{"key":"k"}}'), PARSE),
    "nested twice": (with_value(b'{"a":1,"a":2}'), PARSE),
    "nested twice in a list": (with_value(b'[{"a":1,"\\u0061":2}]'), PARSE),
    "two methods": (RPC[:-9] + b'"method":"ping","params":{}}', PARSE),
    "two params": (wrapped(FREE + b',"params":{}'), PARSE),
    "two ids": (b'{"id":2,' + wrapped(FREE)[1:], PARSE),
    "Name beside name": (wrapped(b'{"name":"free","Name":"held","arguments":{}}'), PARAMS),
    "NAME alone": (wrapped(b'{"NAME":"free","arguments":{}}'), PARAMS),
    "Arguments": (wrapped(b'{"name":"free","Arguments":{}}'), PARAMS),
    "Method beside method": (b'{"Method":"ping",' + wrapped(FREE)[1:], INVALID),
    "unknown member": (wrapped(b'{"name":"free","arguments":{},"x":1}'), PARAMS),
    "result beside method": (b'{"result":{},' + wrapped(FREE)[1:], INVALID),
    # T-06: batches
    "batch": (b"[" + wrapped(FREE) + b"]", INVALID),
    "batch of two": (b"[" + wrapped(FREE) + b"," + wrapped(FREE) + b"]", INVALID),
    "empty batch": (b"[]", INVALID),
    # T-07: a call needs an id
    "no id": (unanswered(b""), INVALID),
    **{
        f"id {text}": (unanswered(b'"id":' + text.encode() + b","), INVALID)
        for text in ("null", "true", "1.5", "{}", "[]", "9" * 30, '"' + "i" * 600 + '"')
    },
    "id beyond floats": (unanswered(b'"id":1e400,'), PARSE),
    # T-11: depth
    **{f"{n} lists deep": (deep(n), PARSE) for n in (100, 200, 1_000, 10_000, 100_000)},
    **{f"{n} objects deep": (deep(n, b'{"a":', b"}"), PARSE) for n in (100, 1_000, 20_000)},
    "200,000 openings": (b"[" * 200_000, PARSE),
    # T-12: numbers
    **{
        f"number {text[:12]}": (with_value(text.encode()), PARSE)
        for text in ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "01", "0x10", "+1", "1.",
                     ".5", "1_000", "9" * 5_000, "1e99999")
    },
    # T-14: bytes
    "broken UTF-8": (with_value(b'"\xff"'), PARSE),
    "overlong": (with_value(b'"\xc0\xaf"'), PARSE),
    "CESU surrogates": (with_value(b'"\xed\xa0\x80\xed\xb0\x80"'), PARSE),
    "BOM": (b"\xef\xbb\xbf" + wrapped(FREE), PARSE),
    "UTF-16": (wrapped(FREE).decode().encode("utf-16"), PARSE),
    "UTF-16 without BOM": (wrapped(FREE).decode().encode("utf-16-le"), PARSE),
    "UTF-32": (wrapped(FREE).decode().encode("utf-32"), PARSE),
    "NUL behind": (wrapped(FREE) + b"\x00", PARSE),
    "NUL inside": (with_value(b'"a\x00b"'), PARSE),
    "trailing data": (wrapped(FREE) + b"{}", PARSE),
    "two messages": (wrapped(FREE) + b"\n" + wrapped(FREE), PARSE),
    "nothing": (b"", PARSE),
    "a comment": (wrapped(FREE) + b"//", PARSE),
    "single quotes": (b"{'jsonrpc':'2.0'}", PARSE),
    # T-15: half a surrogate pair
    "surrogate in a value": (with_value(b'"\\ud800"'), PARSE),
    "surrogate in a key": (with_value(b'{"\\udfff":1}'), PARSE),
    "surrogate in the name": (wrapped(b'{"name":"\\ud800free","arguments":{}}'), PARSE),
    "surrogate in an unknown member": (wrapped(FREE) [:-1] + b',"x":"\\ud800"}', PARSE),
    # T-18: types
    "arguments a list": (wrapped(b'{"name":"free","arguments":[]}'), PARAMS),
    "arguments text": (wrapped(b'{"name":"free","arguments":"{}"}'), PARAMS),
    "arguments null": (wrapped(b'{"name":"free","arguments":null}'), PARAMS),
    "name a number": (wrapped(b'{"name":1,"arguments":{}}'), PARAMS),
    "name a list": (wrapped(b'{"name":["free"],"arguments":{}}'), PARAMS),
    "name null": (wrapped(b'{"name":null,"arguments":{}}'), PARAMS),
    "no name": (wrapped(b'{"arguments":{}}'), PARAMS),
    "params a list": (wrapped(b'["free"]'), INVALID),
    "no params": (b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}', PARAMS),
    "meta a list": (wrapped(b'{"name":"free","_meta":[]}'), PARAMS),
    "jsonrpc 1.0": (wrapped(FREE).replace(b'"2.0"', b'"1.0"'), INVALID),
    "jsonrpc a number": (wrapped(FREE).replace(b'"2.0"', b"2.0"), INVALID),
    "jsonrpc missing": (wrapped(FREE).replace(b'"jsonrpc":"2.0",', b""), INVALID),
    "a bare string": (b'"tools/call"', INVALID),
    "method a list": (wrapped(FREE).replace(b'"tools/call"', b'["tools/call"]'), INVALID),
}  # fmt: skip


@pytest.mark.parametrize("case", BODIES)
def test_a_body_without_one_reading_is_refused_and_causes_nothing(door: Door, case: str) -> None:
    body, code = BODIES[case]
    before = door.caused()
    answer = door.send(body)
    assert (answer.status, answer.code) == (400, code)
    assert door.caused() == before


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_a_batch_is_refused_in_every_revision(door: Door, version: str) -> None:
    before = door.caused()
    answer = door.send(b"[" + call() + b"]", headers={"mcp-protocol-version": version})
    assert (answer.status, answer.code) == (400, INVALID)
    assert door.caused() == before


@pytest.mark.parametrize("name", NAMES)
def test_only_the_exact_name_is_the_tool(door: Door, name: str) -> None:
    before = door.caused()
    answer = door.send(call(name))
    assert answer.refused or (answer.status, answer.code) == (400, PARAMS)
    assert door.caused() == before


@pytest.mark.parametrize("name", ["denied", "secret", "delete_item", "garbage"])
def test_denied_hidden_and_unlisted_tools_do_not_run(door: Door, name: str) -> None:
    before = door.caused()
    assert door.send(call(name)).refused
    assert door.caused() == before


def test_hidden_tools_are_not_listed(door: Door) -> None:
    listed = door.send(message("tools/list")).json["result"]["tools"]
    assert "secret" not in [tool["name"] for tool in listed]


def test_escapes_are_decoded_before_judging(door: Door) -> None:
    before = door.caused()
    escaped = wrapped(b'{"name":"deni\\u0065d","arguments":{}}')
    assert door.send(escaped.replace(b"tools/call", b"tools\\/call")).refused
    assert door.caused() == before
    ran = door.send(wrapped(b'{"name":"\\u0066ree","arguments":{"k\\u0065y":"escaped"}}'))
    assert ran.status == 200
    assert door.witness.ran()[-1] == ("free", "escaped")


def _coded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


ROUTING: dict[str, dict[str, str | None]] = {
    "another name": {"mcp-name": "held"},
    "a name in another case": {"mcp-name": "Free"},
    "no name": {"mcp-name": None},
    "an empty name": {"mcp-name": ""},
    "broken base64": {"mcp-name": "=?base64?ZnJlZQ?="},
    "base64 of another name": {"mcp-name": _coded("held")},
    "base64 with spare bits": {"mcp-name": "=?base64?ZnJlZR==?="},
    "another method": {"mcp-method": "tools/list"},
    "a method in another case": {"mcp-method": "Tools/Call"},
    "no method": {"mcp-method": None},
    "no version": {"mcp-protocol-version": None},
    "a version to come": {"mcp-protocol-version": "2027-01-01"},
    "no version at all": {"mcp-protocol-version": "latest"},
}


@pytest.mark.parametrize("case", ROUTING)
def test_routing_headers_that_differ_from_the_body_are_refused(door: Door, case: str) -> None:
    body, headers = modern()
    before = door.caused()
    answer = door.send(body, headers={**headers, **ROUTING[case]})
    assert (answer.status, answer.code) == (400, HEADERS)
    assert door.caused() == before


@pytest.mark.parametrize("name", ["mcp-name", "mcp-method", "mcp-protocol-version"])
@pytest.mark.parametrize("same", [True, False])
def test_a_routing_header_given_twice_is_refused(door: Door, name: str, *, same: bool) -> None:
    body, headers = modern()
    before = door.caused()
    answer = door.send(body, headers=headers, extra=[(name, headers[name] if same else "held")])
    assert (answer.status, answer.code) == (400, HEADERS)
    assert door.caused() == before


def test_a_version_in_the_body_that_differs_from_the_header_is_refused(door: Door) -> None:
    _, headers = modern()
    meta = META | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
    before = door.caused()
    answer = door.send(call(_meta=meta), headers=headers)
    assert (answer.status, answer.code) == (400, HEADERS)
    headers["mcp-protocol-version"] = "2099-01-01"
    answer = door.send(call(_meta=meta), headers=headers)
    assert (answer.status, answer.code) == (400, -32022)
    assert door.caused() == before


def test_older_revisions_ignore_the_newer_routing_headers(door: Door) -> None:
    headers = {"mcp-name": "denied", "mcp-method": "tools/list"}
    headers["mcp-protocol-version"] = "2025-06-18"
    assert door.send(call("free", {"key": "older"}), headers=headers).status == 200
    assert door.witness.ran()[-1] == ("free", "older")


@pytest.mark.parametrize("sent", ["eu", "EU", None, "=?base64?dXM?="])
def test_a_parameter_header_that_differs_from_its_argument_is_refused(
    door: Door, sent: str | None
) -> None:
    body, headers = modern("mirror", region="us")
    before = door.caused()
    if sent is not None:
        headers["mcp-param-region"] = sent
    answer = door.send(body, headers=headers, path="/mcp/e")
    assert (answer.status, answer.code) == (400, HEADERS)
    assert door.caused() == before


def test_parameter_headers_towards_the_server_are_made_from_the_arguments(door: Door) -> None:
    body, headers = modern("mirror", region="ü s")
    headers["mcp-param-region"] = _coded("ü s")
    headers["mcp-param-other"] = "smuggled"
    assert door.send(body, headers=headers, path="/mcp/e").status == 200
    heard = door.evil.calls("mirror")[-1].headers
    assert heard["mcp-param-region"] == _coded("ü s")
    assert "mcp-param-other" not in heard


@pytest.mark.parametrize(
    "value", ["9007199254740993", "18446744073709551617", "0.1", "-0.0", "1e300", "9" * 900]
)
def test_numbers_arrive_as_they_were_sent(door: Door, value: str) -> None:
    assert door.send(with_value(value.encode())).status == 200
    arrived = door.witness.arguments()[-1]["v"]
    assert repr(arrived) == repr(json.loads(value))


MEDIA = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "text/json", "application/json-rpc", "application/jsonp", "", None]  # fmt: skip


@pytest.mark.parametrize("media", MEDIA)
def test_only_json_is_read(door: Door, media: str | None) -> None:
    before = door.caused()
    assert door.send(call(), headers={"content-type": media}).status == 415
    assert door.caused() == before


METHODS = ["Tools/Call", "tools/call ", " tools/call", "tools/call\u0000", "TOOLS/CALL",
           "tools//call", "tools/Call", "call", "rpc.discover", "sampling/createMessage",
           "elicitation/create", "roots/list"]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_unknown_methods_go_nowhere(door: Door, method: str) -> None:
    before = door.caused()
    answer = door.send(message(method, {"name": "free", "arguments": {"key": "k"}}))
    assert (answer.status, answer.code) == (200, -32601)
    assert door.caused() == before


def test_unknown_notifications_go_nowhere(door: Door) -> None:
    before = door.caused()
    body = b'{"jsonrpc":"2.0","method":"notifications/tools/call","params":' + FREE + b"}"
    assert door.send(body).status == 202
    assert door.caused() == before


@pytest.mark.parametrize("amount", ['"50"', "[50]", "true", '{"n":50}', "1e3", "101", "null"])
def test_an_amount_of_another_kind_is_not_an_amount(door: Door, amount: str) -> None:
    before = door.caused()
    body = wrapped(b'{"name":"limited","arguments":{"key":"k","amount":' + amount.encode() + b"}}")
    assert door.send(body).refused
    assert door.send(call("limited", {"key": "k", "Amount": 50})).refused
    assert door.caused() == before


def test_a_pattern_that_would_backtrack_for_years_is_answered(door: Door) -> None:
    hostile = {"key": "k", "text": "a" * 900 + "!"}
    slow = threading.Thread(target=lambda: door.send(call("broken", hostile)))
    slow.start()
    assert door.send(call("free", {"key": "beside"})).status == 200
    slow.join(2)
    assert not slow.is_alive()


def test_a_result_of_60_mb_is_not_kept_and_its_outcome_is_unknown(door: Door) -> None:
    before = len(door.witness.ran())
    answer = door.send(call("huge", {"key": "60mb", "size": 60_000_000}))
    assert answer.refused
    assert answer.text.startswith("Outcome unknown: the result is too large")
    assert door.highest_memory() < 600
    assert len(door.witness.ran()) == before + 1


def test_hostile_words_in_a_result_are_data(door: Door) -> None:
    before = door.caused()
    answer = door.send(call("shout"), path="/mcp/e")
    assert answer.text == HOSTILE_TEXT
    assert door.caused() == replace(before, evil=before.evil + 1)


def test_a_server_that_asks_for_input_is_not_called_again(door: Door) -> None:
    body, headers = modern("asks")
    answer = door.send(body, headers=headers, path="/mcp/e")
    assert answer.json["result"]["resultType"] == "input_required"
    assert len(door.evil.calls("asks")) == 1


def test_answers_under_equal_ids_never_cross(door: Door) -> None:
    def ask(place: int) -> tuple[str, str]:
        token = door.token if place % 2 else door.other
        headers = {"authorization": f"Bearer {token}"}
        return f"free {place}", door.send(call("free", {"key": str(place)}), headers=headers).text

    with ThreadPoolExecutor(12) as pool:
        assert all(expected == text for expected, text in pool.map(ask, range(60)))


def test_random_bytes_never_reach_a_server(door: Door) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    before = door.caused()
    valid = bytearray(wrapped(b'{"name":"denied","arguments":{"key":"k"}}'))
    with socket.create_connection(("127.0.0.1", door.site.port), 10) as connection:
        for _ in range(400):
            body = bytearray(valid)
            for _ in range(rng.randint(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            head = (
                f"POST /mcp/w HTTP/1.1\r\nhost: {door.host}\r\ncontent-length: {len(body)}\r\n"
                f"authorization: Bearer {door.token}\r\ncontent-type: application/json\r\n\r\n"
            )
            connection.sendall(head.encode() + body)
            answer = read_answer(connection)
            assert answer is not None
            assert answer.status < 500
    assert door.caused() == before
