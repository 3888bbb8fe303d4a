"""What a call brings beside its tool's name and arguments: what of it a person sees before it runs,
and what passes unseen, with the reason. Pure.

What a request was held with is kept, shown, bound to the decision and sent when the call runs; of
the request that collects the answer counts only what concerns its own connection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from approvals.digest import canonical
from approvals.model import Metadata
from gateway.protocol.message import (
    CAPABILITIES_KEY,
    CLIENT_KEY,
    LEVEL_KEY,
    PROGRESS_TOKEN,
    VERSION_KEY,
)

MOST: Final = 4_096
"""Bytes of it that are kept of a held call; one that brings more is refused."""

NOTHING: Final = Metadata()


@dataclass(frozen=True, slots=True)
class Unseen:
    """A key of `_meta` that passes without being shown. With another `form` it is shown."""

    why: str
    connection: bool = False  # of the request that is being answered, whatever was held
    form: Callable[[str], object] | None = None  # None: the revision's own, checked elsewhere


UNSEEN: Final[Mapping[str, Unseen]] = {
    VERSION_KEY: Unseen("The revision the request is written in.", connection=True),
    CAPABILITIES_KEY: Unseen("What the waiting client can be asked.", connection=True),
    CLIENT_KEY: Unseen("The waiting program; cards show it as the agent's.", connection=True),
    LEVEL_KEY: Unseen("From which level on the waiting client hears logs.", connection=True),
    PROGRESS_TOKEN: Unseen("Under which the waiting client hears progress.", connection=True),
    "traceparent": Unseen(
        "W3C Trace Context: random ids that tie log lines of several programs together.",
        form=re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch,
    ),
    "tracestate": Unseen(
        "W3C Trace Context: the tracing systems' own ids, for tracing systems.",
        form=re.compile(r"[\x20-\x7e]{0,512}").fullmatch,
    ),
    "baggage": Unseen(
        "W3C Baggage: labels for tracing systems, which no tool takes for its input.",
        form=re.compile(r"[\x20-\x7e]{0,1024}").fullmatch,
    ),
    "claudecode/toolUseId": Unseen(
        "Claude Code's own number of the call; another one with every call.",
        form=re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch,
    ),
}


def metadata_of(meta: Mapping[str, Any], task: Any = None) -> Metadata:
    """What a request with this `_meta` and this `task` (None: without) brought."""
    if task is None and all(key in UNSEEN and UNSEEN[key].connection for key in meta):
        return NOTHING
    shown: dict[str, Any] = {}
    unseen: dict[str, Any] = {}
    for key, value in meta.items():
        known = UNSEEN.get(key)
        if known is None:
            shown[key] = value
        elif known.form is not None:
            formed = isinstance(value, str) and known.form(value) is not None
            (unseen if formed else shown)[key] = value
    whole = {**({"_meta": shown} if shown else {}), **({} if task is None else {"task": task})}
    # What is unseen is plain ASCII text under known keys: one spelling either way, and often there.
    kept = orjson.dumps(unseen, option=orjson.OPT_SORT_KEYS) if unseen else b""
    return Metadata(canonical(whole) if whole else b"", kept)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes to the server beside name and arguments."""

    meta: dict[str, Any]
    task: dict[str, Any] | None


def outgoing(live: Mapping[str, Any], held: Metadata) -> Outgoing:
    """What a held call is sent with, when it is answered on a request with this `_meta`."""
    whole = json.loads(held.shown or b"{}")
    connection = {key: one for key, one in live.items() if key in UNSEEN and UNSEEN[key].connection}
    kept = {**whole.get("_meta", {}), **json.loads(held.unseen or b"{}")}
    return Outgoing({**kept, **connection}, whole.get("task"))
