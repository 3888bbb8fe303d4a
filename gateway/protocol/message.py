"""The words of one JSON-RPC message of MCP: codes, versions, Message and Malformed. Pure.

They neither parse nor encode: `gateway.protocol.jsonrpc` does, and hands these out again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal

RequestId = str | int

LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""Revisions opened by `initialize`, with sessions."""

MODERN_VERSIONS: Final = ("2026-07-28",)
"""Revisions in which every request carries its own envelope in `_meta`."""

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
CLIENT_KEY: Final = "io.modelcontextprotocol/clientInfo"
LEVEL_KEY: Final = "io.modelcontextprotocol/logLevel"
PROGRESS_TOKEN: Final = "progressToken"  # noqa: S105 - the name of a field
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"


class ErrorCode(IntEnum):
    """JSON-RPC and MCP error codes this gateway gives by itself."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    HEADER_MISMATCH = -32020
    MISSING_CAPABILITY = -32021
    UNSUPPORTED_VERSION = -32022


HTTP_STATUS: Final[Mapping[int, int]] = {
    ErrorCode.PARSE_ERROR: 400,
    ErrorCode.INVALID_REQUEST: 400,
    ErrorCode.INVALID_PARAMS: 400,
    ErrorCode.HEADER_MISMATCH: 400,
    ErrorCode.MISSING_CAPABILITY: 400,
    ErrorCode.UNSUPPORTED_VERSION: 400,
    ErrorCode.METHOD_NOT_FOUND: 404,
}
"""The status 2026-07-28 gives a response with one of these errors. The SDK's own table, which is
not imported here: the SDK weighs 17 MiB."""


@dataclass(frozen=True, slots=True)
class Message:
    """One well-formed message. Its values are decoded once and must not be changed."""

    kind: Literal["request", "notification", "response"]
    id: RequestId | None  # None: a notification, or an error about a request no one could read
    method: str  # "" for a response
    params: dict[str, Any] | None
    raw: dict[str, Any] | None = None  # the whole decoded response; None for anything else
    size: int = field(default=0, compare=False)  # bytes it was read from, where they are many

    @property
    def meta(self) -> dict[str, Any]:
        """`params._meta`, or {} where there is none or it is no object."""
        meta = self.params.get("_meta") if self.params else None
        return meta if isinstance(meta, dict) else {}

    @property
    def modern(self) -> bool:
        """Whether the body carries the envelope of 2026-07-28. Unchecked: see `headers`."""
        return VERSION_KEY in self.meta


@dataclass(frozen=True, slots=True)
class Malformed:
    """What to answer instead of going on: JSON-RPC error fields and the HTTP status."""

    code: ErrorCode
    message: str  # fixed text of ours, nothing of the sender's
    id: RequestId | None = None  # None where it could not be read safely
    http_status: int = 400
    data: dict[str, Any] | None = None
