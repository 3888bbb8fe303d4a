"""What agents may see of a server's lists and of its account of itself: what is pinned, whatever
it says. A changed definition reaches no one before a person accepted it. Hidden tools are taken
out, and the gateway's own is put in where a call may be held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from approvals.digest import canonical
from approvals.pins import Kind
from gateway.enforcement.catalogue import Catalogue, TooManyNames, named
from gateway.enforcement.refusal_texts import AWAIT_TOOL
from gateway.enforcement.refusals import Refusal
from gateway.enforcement.rules_in_force import RulesInForce
from gateway.protocol.message import Message
from gateway.protocol.strict_json import BadJson, strict_loads
from gateway.relay.upstreams.reading import Garbage
from gateway.relay.upstreams.response_filter import Passed

log = structlog.get_logger()

_LARGE = 16 * 1024  # bytes of foreign text; more is not read on the event loop
_DEPTH = 128  # schemas nest deeper than arguments do

_OF_A_PROMPT = ("prompts/get", "completion/complete")

LISTS: Mapping[str, tuple[Kind, str]] = {
    "tools/list": ("tool", "tools"),
    "prompts/list": ("prompt", "prompts"),
    "resources/templates/list": ("template", "resourceTemplates"),
}
"""Method of a pinned list to what it lists and the member of its result that holds it."""

AWAIT_DEFINITION: Mapping[str, Any] = {
    "name": AWAIT_TOOL,
    "title": "Wait for an approval",
    "description": (
        "Waits until a person has decided on a held call, then returns that call's own result. "
        "Use it with the approval_id of a 'Not executed yet' answer."
    ),
    "inputSchema": {
        "type": "object",
        "properties": {"approval_id": {"type": "string", "description": "apr_…"}},
        "required": ["approval_id"],
        "additionalProperties": False,
    },
    "annotations": {"readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
}


class ListingFailed(Exception):
    """The server did not say which tools it has; carries the HTTP status it gave, or 0. `waits`: it
    was not asked, for no one has confirmed how it is started or reached.
    """

    def __init__(self, status: int = 0, why: str = "", *, waits: bool = False) -> None:
        super().__init__(why or f"HTTP {status}")
        self.status = status
        self.waits = waits


class PinnedLists:
    """Takes note of what servers list and shows agents what is pinned of it."""

    def __init__(self, rules: RulesInForce, catalogue: Catalogue) -> None:
        self._rules = rules
        self._catalogue = catalogue

    def resumed(self, server: str, passed: Passed) -> bytes:
        """One event of a stream that an agent came back to: a list in it is shown as pinned, and so
        are the server's instructions.
        """
        result = passed.message.get("result") if passed.message is not None else None
        if not isinstance(result, dict) or self._as_pinned(server, result) is None:
            return passed.encoded()
        try:
            message = strict_loads(passed.event.data or b"{}", max_depth=_DEPTH)
        except BadJson:
            return b""  # what cannot be read cannot be filtered
        message["result"] = self._as_pinned(server, message["result"])
        told = replace(passed.event, data=canonical(message))
        return replace(passed, event=told).encoded()

    def _as_pinned(self, server: str, result: dict[str, Any]) -> dict[str, Any] | None:
        """A result with what is pinned in place of what the server says; None: nothing in it is."""
        for method, (_, member) in LISTS.items():
            if isinstance(result.get(member), list):
                return self.shown(server, method, result, modern=False)
        if "serverInfo" in result or "supportedVersions" in result:
            return _instructed(result, self._pinned_instructions(server, result))
        return None

    async def instructed(self, server: str, result: dict[str, Any]) -> dict[str, Any]:
        """What a server says of itself (`initialize`, `server/discover`), with its instructions as
        they are pinned, which are taken note of.
        """
        words = result.get("instructions")
        said = words if isinstance(words, str) else ""
        if said or self._catalogue.pin(server, "instructions", "") is None:
            # Silence is pinned too: words that come later are a change.
            await self.observe(server, "instructions", [{"instructions": said}], complete=False)
        return _instructed(result, self._pinned_instructions(server, result))

    def _pinned_instructions(self, server: str, result: dict[str, Any]) -> str:
        pin = self._catalogue.pin(server, "instructions", "")
        words = pin.definition.get("instructions") if pin and result.get("instructions") else ""
        return words if isinstance(words, str) else ""

    def withheld(self, server: str, message: Message) -> Refusal | None:
        """What the agent is told of a prompt that the server changed and no one accepted yet."""
        params = message.params or {}
        subject = params if message.method == "prompts/get" else params.get("ref")
        name = subject.get("name") if isinstance(subject, dict) else None
        if message.method not in _OF_A_PROMPT or not isinstance(name, str):
            return None
        pin = self._catalogue.pin(server, "prompt", name)
        return self._rules.changed_prompt() if pin is not None and pin.quarantined else None

    async def whole_list(
        self, server: str, method: str, items: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """A whole list of prompts or templates as agents may see it, which is taken note of.

        Raises:
            ListingFailed: it lists more than the gateway takes up.
        """
        kind, _ = LISTS[method]
        await self.observe(server, kind, items, complete=True)
        return self.visible(server, kind, items)

    async def observe(
        self,
        server: str,
        kind: Kind,
        items: list[Any],
        *,
        complete: bool,
        changes: int | None = None,
    ) -> None:
        """Take note of what a server lists, all of it if `complete`; `changes`: how many changes of
        its tools were known when it was asked.

        Raises:
            ListingFailed: it lists more than the gateway takes up.
        """
        try:
            await self._catalogue.observe(
                server,
                [item for item in items if isinstance(item, dict)],
                kind=kind,
                complete=complete,
                changes=changes,
            )
        except TooManyNames as error:
            log.warning("server.too_many_names", server=server, kind=kind, error=str(error))
            raise ListingFailed(why=str(error)) from error

    def shown(
        self, server: str, method: str, listed: dict[str, Any], *, modern: bool
    ) -> dict[str, Any]:
        """The result of a list as agents may see it."""
        kind, member = LISTS[method]
        shown = {**listed, member: self.visible(server, kind, listed[member])}
        last = not isinstance(listed.get("nextCursor"), str)
        if last:
            shown.pop("nextCursor", None)  # some write null, which is no cursor
        if kind == "tool" and last and self._rules.can_hold(server):
            shown["tools"].append(dict(AWAIT_DEFINITION))
        if kind == "tool" and modern:
            # What is listed depends on the grant and on a policy that may change at any moment.
            shown["cacheScope"] = "private"
            shown["ttlMs"] = 0
        return shown

    def visible(self, server: str, kind: Kind, items: list[Any]) -> list[dict[str, Any]]:
        """What agents may see of these items: their pins, whatever the server says now."""
        shown: list[dict[str, Any]] = []
        for item in items:
            name = named(kind, item) if isinstance(item, dict) else None
            if name is None or (kind == "tool" and self._rules.hidden(server, name)):
                continue
            pin = self._catalogue.pin(server, kind, name)
            if pin is not None:
                shown.append(dict(pin.definition))
        return shown


def _instructed(result: dict[str, Any], words: str) -> dict[str, Any]:
    """A server's account of itself with these instructions, or none."""
    told = {key: value for key, value in result.items() if key != "instructions"}
    return {**told, "instructions": words} if words else told


async def read_list(body: bytes, method: str) -> dict[str, Any] | None:
    """The result of a list, strictly read; None: the server answered with an error.

    Raises:
        Garbage: it is neither.
    """
    if len(body) > _LARGE:
        return await asyncio.to_thread(_result, body, method)
    return _result(body, method)


def _result(body: bytes, method: str) -> dict[str, Any] | None:
    try:
        message = strict_loads(body, max_depth=_DEPTH)
    except BadJson as bad:
        raise Garbage(f"{method}: {bad.kind}") from bad
    result = message.get("result")
    if result is None:
        return None
    if not isinstance(result, dict) or not isinstance(result.get(LISTS[method][1]), list):
        raise Garbage(f"{method} without a list")
    return result
