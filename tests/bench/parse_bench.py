"""What the door costs for one tools/call: `python tests/bench/parse_bench.py`. Prints, never fails.

Best of seven runs, microseconds on the machine it runs on; the alternatives stand beside it.
"""

import json
import timeit
from collections.abc import Callable
from typing import Any

import orjson

from gateway.protocol.jsonrpc import (
    Message,
    check_modern_headers,
    encode_call,
    parse,
    strict_loads,
    tool_call,
)

META = {
    "progressToken": 17,
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
ARGUMENTS = {
    "account": "acc_123456",
    "amount": 1250.5,
    "currency": "EUR",
    "note": 'Invoice 2026-118: "final"',
    "lines": [{"sku": "A-1", "qty": 2}, {"sku": "B-9", "qty": 1}],
}
HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"authorization", b"Bearer x"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"create_payment"),
    (b"content-length", b"375"),
]


def envelope(**arguments: Any) -> bytes:
    params = {"name": "create_payment", "arguments": {**ARGUMENTS, **arguments}, "_meta": META}
    return orjson.dumps({"jsonrpc": "2.0", "id": 17, "method": "tools/call", "params": params})


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def best(work: Callable[[], object], times: int = 5000) -> float:
    return min(timeit.repeat(work, number=times, repeat=7)) / times * 1e6


def main() -> None:
    plain = envelope()
    escaped = (
        json.dumps(json.loads(envelope(note="caf\u00e9: <b>"))).replace("<", "\\u003c").encode()
    )
    exact = envelope(reference=10**18)
    message = parse(plain)
    if not isinstance(message, Message):
        raise TypeError(message)
    call = tool_call(message)
    large = orjson.dumps([{"id": n, "name": str(n), "at": [1.5, None]} for n in range(20_000)])
    with_hook = json.JSONDecoder(object_pairs_hook=unique).decode
    rows: list[tuple[str, Callable[[], object], int]] = [
        (f"strict_loads, {len(plain)} B call", lambda: strict_loads(plain), 5000),
        (f"strict_loads, {len(escaped)} B, \\u003c in it", lambda: strict_loads(escaped), 5000),
        (f"strict_loads, {len(exact)} B, 19 digits in it", lambda: strict_loads(exact), 5000),
        ("  orjson.loads alone, not strict", lambda: orjson.loads(plain), 5000),
        ("  json with a duplicate-key hook only", lambda: with_hook(plain.decode()), 5000),
        ("parse", lambda: parse(plain), 5000),
        ("tool_call (with canonical JSON)", lambda: tool_call(message), 5000),
        ("check_modern_headers", lambda: check_modern_headers(HEADERS, message), 5000),
        ("encode_call", lambda: encode_call(1, call.name, call.canonical, call.meta), 5000),
        (f"strict_loads, {len(large)} B, wide", lambda: strict_loads(large), 2),
        ("strict_loads, 1 MiB of [", lambda: refused(b"[" * 2**20), 2),
        ("strict_loads, 1 MiB of []", lambda: strict_loads(b"[" + b"[]," * 349_000 + b"1]"), 2),
        ('strict_loads, 1 MiB of \\"', lambda: refused(b'["' + b'\\"' * 2**19), 2),
    ]
    for name, work, times in rows:
        print(f"{name:45} {best(work, times):12.2f} us")


def refused(body: bytes) -> None:
    try:
        strict_loads(body)
    except ValueError:
        return
    raise AssertionError("accepted")


if __name__ == "__main__":
    main()
