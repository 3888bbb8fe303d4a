"""What a call brings beside its tool's name and arguments: what of it a person sees before it runs,
and what passes unseen, with the reason. Pure.

What a request was held with is kept, shown, bound to the decision and sent when the call runs; of
the request that collects the answer counts only what concerns its own connection, in the words the
protocol has for it: whatever else a key of the protocol holds is shown, or not sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from approvals.digest import canonical
from approvals.model import Client, Metadata
from gateway.protocol.message import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LEGACY_VERSIONS,
    LEVEL_KEY,
    MODERN_VERSIONS,
    PROGRESS_TOKEN,
    VERSION_KEY,
)

MOST: Final = 4_096
"""Bytes of it that are kept of a held call; one that brings more is refused."""

NOTHING: Final = Metadata()


_LEVELS: Final = frozenset(
    {"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}
)
_REVISIONS: Final = frozenset({*LEGACY_VERSIONS, *MODERN_VERSIONS})
_EXTENSION: Final = re.compile(r"io\.modelcontextprotocol/[a-z-]{1,32}").fullmatch
_CAPABILITIES: Final = frozenset({"roots", "sampling", "elicitation", "tasks", "extensions"})
_FACETS: Final = frozenset(
    {
        *("listChanged", "context", "tools", "form", "url", "applyDefaults", "list", "cancel"),
        *("requests", "sampling", "elicitation", "createMessage", "create"),
    }
)
"""What stands inside a capability of a client, as far as the revisions say."""
_SETTINGS: Final[tuple[object, ...]] = ({}, {"mimeTypes": ["text/html;profile=mcp-app"]})
"""Of an extension; the second is every host's that shows apps (SEP-1865)."""


def _text(form: Callable[[str], object]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and form(value) is not None


def _capabilities(value: Any) -> bool:
    """Whether a client declares what the revisions know, and nothing of its own."""
    if value == {}:
        return True
    if not isinstance(value, dict) or not value.keys() <= _CAPABILITIES:
        return False
    extensions = value.get("extensions", {})
    if not isinstance(extensions, dict) or not all(map(_EXTENSION, extensions)):
        return False
    declared = (one for name, one in value.items() if name != "extensions")
    return all(map(_facets, declared)) and all(one in _SETTINGS for one in extensions.values())


def _facets(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    return isinstance(value, dict) and value.keys() <= _FACETS and all(map(_facets, value.values()))


@dataclass(frozen=True, slots=True)
class Unseen:
    """A key of `_meta` that passes without being shown. With another `form` it is shown."""

    why: str
    connection: bool = False  # of the request that is being answered, whatever was held
    form: Callable[[Any], bool] | None = None  # None: checked elsewhere

    def fits(self, value: Any) -> bool:
        return self.form is None or self.form(value)


UNSEEN: Final[Mapping[str, Unseen]] = {
    VERSION_KEY: Unseen(
        "The revision the request is written in.",
        connection=True,
        form=lambda value: isinstance(value, str) and value in _REVISIONS,
    ),
    CAPABILITIES_KEY: Unseen(
        "What the waiting client can be asked.", connection=True, form=_capabilities
    ),
    CLIENT_KEY: Unseen(
        "The program; name and version are the agent's on cards, and all that is sent of it.",
        connection=True,
    ),
    LEVEL_KEY: Unseen(
        "From which level on the waiting client hears logs.",
        connection=True,
        form=lambda value: isinstance(value, str) and value in _LEVELS,
    ),
    PROGRESS_TOKEN: Unseen("Under which the waiting client hears progress.", connection=True),
    "traceparent": Unseen(
        "W3C Trace Context: random ids that tie log lines of several programs together.",
        form=_text(re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch),
    ),
    "tracestate": Unseen(
        "W3C Trace Context: the tracing systems' own ids, for tracing systems.",
        form=_text(re.compile(r"[\x20-\x7e]{0,512}").fullmatch),
    ),
    "baggage": Unseen(
        "W3C Baggage: labels for tracing systems, which no tool takes for its input.",
        form=_text(re.compile(r"[\x20-\x7e]{0,1024}").fullmatch),
    ),
    "claudecode/toolUseId": Unseen(
        "Claude Code's own number of the call; another one with every call.",
        form=_text(re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch),
    ),
}


def metadata_of(meta: Mapping[str, Any], task: Any = None) -> Metadata:
    """What a request with this `_meta` and this `task` (None: without) brought."""
    shown: dict[str, Any] = {}
    unseen: dict[str, Any] = {}
    for key, value in meta.items():
        known = UNSEEN.get(key)
        if known is None or not known.fits(value):
            shown[key] = value
        elif not known.connection:
            unseen[key] = value
    if task is None and not shown and not unseen:
        return NOTHING
    whole = {**({"_meta": shown} if shown else {}), **({} if task is None else {"task": task})}
    # What is unseen is plain ASCII text under known keys: one spelling either way, and often there.
    kept = orjson.dumps(unseen, option=orjson.OPT_SORT_KEYS) if unseen else b""
    return Metadata(canonical(whole) if whole else b"", kept)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes to the server beside name and arguments."""

    meta: dict[str, Any]
    task: dict[str, Any] | None


def outgoing(live: Mapping[str, Any], held: Metadata, client: Client) -> Outgoing:
    """What a held call is sent with, when it is answered on a request with this `_meta`. `client`:
    the program that asked, as cards show it.
    """
    whole = json.loads(held.shown or b"{}")
    connection: dict[str, Any] = {}
    for key, value in live.items():
        known = UNSEEN.get(key)
        if known is None or not known.connection:
            continue
        if key == CLIENT_KEY:
            if client.name:
                connection[key] = {"name": client.name, "version": client.version}
        elif known.fits(value):
            connection[key] = value
        elif key == CAPABILITIES_KEY:  # which a request must have
            connection[key] = {}
    kept = {**whole.get("_meta", {}), **json.loads(held.unseen or b"{}")}
    return Outgoing({**connection, **kept}, whole.get("task"))
