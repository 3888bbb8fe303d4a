"""Fuzz the door: `python tests/protocol/fuzz_jsonrpc.py [seconds] [seed]`; stops at a wrong answer.

Mutates real messages by bytes and by tokens. `strict_loads` is held against a second strict
reading made of the standard library alone, in both directions; `parse` against its own encoding.
"""

import json
import random
import sys
import time
from typing import Any

from approvals.digest import canonical
from gateway.protocol.jsonrpc import Malformed, encode, parse, tool_call
from gateway.protocol.strict_json import MAX_DEPTH, MAX_INT_DIGITS, BadJson, strict_loads
from tests.protocol.exact import same

CALL = (
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"to":"a:b",'
    b'"amount":12.5,"n":[1,-2,{"x":null}],"t":"\\u00e9\\n\\"\\\\"},"_meta":{"progressToken":"t"}}}'
)
SEEDS = [
    CALL,
    b'{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{"c":"\xc3\xa9\xf0\x9f\x98\x80"}}',
    b'{"jsonrpc":"2.0","method":"notifications/x","params":{"requestId":18446744073709551617}}',
    b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\\ud83d\\ude00"}]}}',
    b'{"a" : [ -0.0 , 1e-7, 1E+22, 9007199254740993, true, false ] , "b:":{"c\\":":"d,:"} }',
    b'{"a":1,"a:":2,":":":","\\u003a":"\\u003A"}',
]
TOKENS = [
    *(bytes([byte]) for byte in b'{}[]:,"\\ \n-.0'),
    *(b'"a":', b'"id":', b'"name":', b'"\\u006eame":', b"\\u003a", b'\\"', b"\\ud800", b"\\udc00"),
    *(b"NaN", b"Infinity", b"1e400", b"e9", b"1" * 19, b"9" * 1001, b"\x00", b"\xff"),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", b"[" * 70, b"]" * 70, b"null"),
]


class Refused(Exception):
    """The second reading says no."""


def second_reading(body: bytes) -> Any:
    """The rules said again, slowly, after decoding rather than before."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise Refused
        return dict(pairs)

    def whole(text: str) -> int:
        if len(text.lstrip("-")) > MAX_INT_DIGITS:
            raise Refused
        return int(text)

    try:
        text = body.decode("utf-8")
        value = json.loads(text, object_pairs_hook=unique, parse_int=whole)
        if text.startswith("\ufeff") or depth(value) > MAX_DEPTH:
            raise Refused
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise Refused from None
    return value


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


def mutate(rng: random.Random) -> bytes:
    body = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(body) + 1)
        match rng.randrange(5):
            case 0:
                body[at:at] = rng.choice(TOKENS)
            case 1:
                del body[at : at + rng.randrange(1, 6)]
            case 2:
                body[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                body[at : at + rng.randrange(1, 4)] = rng.choice(TOKENS)
            case _:
                start = rng.randrange(len(body) + 1)
                body[at:at] = body[start : start + rng.randrange(1, 30)]
    return bytes(body)


def check(body: bytes) -> bool:
    """Whether the body was accepted; AssertionError where the readings differ."""
    try:
        wanted = second_reading(body)
    except Refused:
        try:
            strict_loads(body)
        except BadJson:
            assert isinstance(parse(body), Malformed)
            return False
        raise AssertionError("accepted, but there are two readings") from None
    assert same(strict_loads(body), wanted)
    assert canonical(strict_loads(canonical(wanted))) == canonical(wanted)
    message = parse(body)
    if not isinstance(message, Malformed):
        assert parse(encode(message)) == message
        if message.method == "tools/call":
            assert strict_loads(tool_call(message).canonical) == tool_call(message).arguments
    return True


def main(seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    tried = accepted = 0
    while time.monotonic() < end:
        body = mutate(rng)
        try:
            accepted += check(body)
        except Exception as wrong:
            print(f"seed {seed}, input {tried}: {body!r}")
            raise SystemExit(1) from wrong
        tried += 1
    print(f"seed {seed}: {tried} inputs, {accepted} accepted, 0 wrong")
    return 0


if __name__ == "__main__":
    seconds_given = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed_given = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    raise SystemExit(main(seconds_given, seed_given))
