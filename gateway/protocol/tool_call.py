"""A tools/call as it is judged: name, arguments, their one spelling, its envelope's words. Pure.

It checks nothing: `gateway.protocol.jsonrpc.parse` has. Policy and approval are others' business.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from approvals.digest import canonical, kept
from approvals.model import Client, Metadata
from gateway.protocol.message import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    TASKS_EXTENSION,
    VERSION_KEY,
    Message,
    RequestId,
)
from gateway.protocol.metadata import metadata_of

MAX_CLIENT_LENGTH: Final = 128
"""Characters kept of a client's own name and version."""

CALL_EXTRA: Final = ("task", "inputResponses", "requestState")
"""Params of tools/call beside name, arguments and _meta; no part of a call's identity."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tools/call request. Its values are decoded once and must not be changed."""

    id: RequestId
    name: str
    arguments: dict[str, Any]
    canonical: bytes  # the arguments' one spelling: shown, stored, digested and sent
    meta: dict[str, Any]
    progress_token: RequestId | None
    extra: dict[str, Any]  # those of CALL_EXTRA that were given
    answering: int | None = None  # the round of an approved call that this goes on with

    @property
    def modern(self) -> bool:
        return VERSION_KEY in self.meta

    @property
    def client(self) -> Client:
        return client_of(self.meta.get(CLIENT_KEY))

    @property
    def client_capabilities(self) -> dict[str, Any]:
        return _object(self.meta.get(CAPABILITIES_KEY))

    @property
    def declares_tasks(self) -> bool:
        """Whether this request takes a task of the 2026-07-28 extension as its result."""
        extensions = _object(self.client_capabilities.get("extensions"))
        return isinstance(extensions.get(TASKS_EXTENSION), dict)

    @property
    def task(self) -> dict[str, Any] | None:
        """What a 2025-11-25 client asks for by `params.task`."""
        return self.extra.get("task")

    @property
    def metadata(self) -> Metadata:
        """What it brings beside name and arguments, as it is kept if the call is held."""
        return metadata_of(self.meta, self.task)

    def without_task(self) -> ToolCall:
        """The same call without the wish that its result be a task."""
        extra = {key: value for key, value in self.extra.items() if key != "task"}
        return replace(self, extra=extra)

    @property
    def input_responses(self) -> dict[str, Any] | None:
        return self.extra.get("inputResponses")

    @property
    def request_state(self) -> str | None:
        return self.extra.get("requestState")


def tool_call(message: Message) -> ToolCall:
    """The call inside a message that `parse` accepted. A `task` beside the key of the newer
    revision, which knows none, is left out: whatever it holds, it goes nowhere.

    Raises:
        ValueError: the message is no tools/call request; a mistake of the caller.
    """
    params = message.params
    if message.method != "tools/call" or message.id is None or params is None:
        raise ValueError("not a tools/call request")
    arguments = params.get("arguments", {})
    meta = params.get("_meta", {})
    return ToolCall(
        id=message.id,
        name=params["name"],
        arguments=arguments,
        canonical=canonical(arguments),
        meta=meta,
        progress_token=meta.get("progressToken"),
        extra={
            key: params[key]
            for key in CALL_EXTRA
            if key in params and not (key == "task" and VERSION_KEY in meta)
        },
    )


def client_of(info: Any) -> Client:
    """What a `clientInfo` object says, in `_meta` or in initialize; cut to MAX_CLIENT_LENGTH."""
    name, version = _object(info).get("name"), _object(info).get("version")
    return Client(
        name=kept(name[:MAX_CLIENT_LENGTH])[:MAX_CLIENT_LENGTH] if isinstance(name, str) else "",
        version=kept(version[:MAX_CLIENT_LENGTH])[:MAX_CLIENT_LENGTH]
        if isinstance(version, str)
        else "",
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
