"""JSON-RPC messages as they cross the bridge: bytes to plain objects and back. Pure.

Whole numbers of any size and unknown members survive; nothing is checked but that it is an object.
"""

from __future__ import annotations

import json
from typing import Any

from gateway.protocol.jsonrpc import error_body
from gateway.protocol.message import HTTP_STATUS
from gateway.relay.upstreams.upstream import OutcomeUnknown
from gateway.relay.upstreams.whole_answer import WholeAnswer

Json = dict[str, Any]
Id = str | int


def decoded(body: bytes) -> Json | None:
    """The message; None where it is not one JSON object."""
    try:
        message = json.loads(body, parse_constant=_not_a_number)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def encoded(message: Json) -> bytes:
    """One line of JSON; half surrogates stay escapes.

    Raises:
        OutcomeUnknown: a server nested its answer deeper than can be written again.
    """
    try:
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except UnicodeEncodeError:
        return json.dumps(message, separators=(",", ":")).encode("ascii")
    except RecursionError as error:
        raise OutcomeUnknown("nested too deeply") from error


def response(rpc_id: Id, result: Json) -> bytes:
    return encoded({"jsonrpc": "2.0", "id": rpc_id, "result": result})


def notification(method: str, params: Json | None = None) -> bytes:
    message: Json = {"jsonrpc": "2.0", "method": method}
    return encoded(message if params is None else {**message, "params": params})


def refusal(rpc_id: Id | None, code: int, text: str, *, modern: bool) -> WholeAnswer:
    """An error as the answer to a request, with the status its era gives it."""
    status = HTTP_STATUS.get(code, 200) if modern else 200
    return WholeAnswer(status, error_body(rpc_id, code, text))


def as_object(value: object) -> Json:
    """The value where it is an object, else {}."""
    return value if isinstance(value, dict) else {}


def identifier(value: object) -> Id | None:
    """A JSON-RPC id or progress token: text or a whole number."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _not_a_number(word: str) -> None:
    raise ValueError(word)
