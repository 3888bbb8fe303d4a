"""What one era says, in the words of the other: capabilities, openings, results, errors. Pure.

Only what the two revisions spell differently is touched; unknown members pass. Which requests may
cross at all is `modern_agent`'s and `legacy_agent`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.protocol.message import LEGACY_VERSIONS, MODERN_VERSIONS, TASKS_EXTENSION, ErrorCode
from gateway.relay.bridge.messages import Json, as_object

MODERN: Final = MODERN_VERSIONS[-1]
LEGACY: Final = LEGACY_VERSIONS[-1]

OWN: Final = "io.modelcontextprotocol/"
"""What begins so in `_meta` is the envelope of 2026-07-28 and means nothing to older servers."""

SERVER_KEY: Final = f"{OWN}serverInfo"
LEVEL_KEY: Final = f"{OWN}logLevel"

ASKING: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""The requests that may be answered with `input_required`, and what names each."""

_CACHED: Final = frozenset(
    {
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "server/discover",
    }
)
_OURS: Final = frozenset({"tasks"})
_NOT_FOUND_2025: Final = -32002
_URL_NEEDED_2025: Final = -32042
_LISTS: Final = ("tools", "prompts", "resources")

LEVELS: Final = (
    *("debug", "info", "notice", "warning"),
    *("error", "critical", "alert", "emergency"),
)


def loud_enough(level: object, least: str | None) -> bool:
    """Whether a log line of this level is wanted by who asked for `least` (None: for nothing)."""
    if least not in LEVELS or level not in LEVELS:
        return False
    return LEVELS.index(str(level)) >= LEVELS.index(least)


def client_capabilities(declared: Mapping[str, Any]) -> Json:
    """What a client declares, without what cannot cross: tasks, and notices that roots changed."""
    kept = {
        name: value
        for name, value in declared.items()
        if name not in _OURS and isinstance(value, dict)
    }
    if "roots" in kept:
        kept["roots"] = {key: each for key, each in kept["roots"].items() if key != "listChanged"}
    extensions = {
        key: each for key, each in kept.pop("extensions", {}).items() if key != TASKS_EXTENSION
    }
    return {**kept, "extensions": extensions} if extensions else kept


def server_capabilities(declared: object, *, notices: bool) -> Json:
    """What a server offers to the other era; `notices`: whether news of changes can be had."""
    kept: Json = {key: each for key, each in as_object(declared).items() if key not in _OURS}
    for name in _LISTS:
        if isinstance(kept.get(name), dict) and not notices:
            news = ("listChanged", "subscribe")
            kept[name] = {key: each for key, each in kept[name].items() if key not in news}
    extensions = {
        key: each
        for key, each in as_object(kept.pop("extensions", None)).items()
        if key != TASKS_EXTENSION
    }
    return {**kept, "extensions": extensions} if extensions else kept


def discovered(opened: Mapping[str, Any], *, notices: bool) -> Json:
    """The result of `server/discover`, from that of a legacy `initialize`."""
    result: Json = {
        "supportedVersions": list(MODERN_VERSIONS),
        "capabilities": server_capabilities(opened.get("capabilities"), notices=notices),
    }
    if isinstance(opened.get("instructions"), str):
        result["instructions"] = opened["instructions"]
    return modern_result(result, "server/discover", opened.get("serverInfo"))


def opened(discovered: Mapping[str, Any], asked: object) -> Json:
    """The result of a legacy `initialize`, from that of `server/discover`.

    `asked`: the revision the client named; one that is not known gets the newest with sessions.
    """
    info = as_object(discovered.get("_meta")).get(SERVER_KEY)
    capabilities = server_capabilities(discovered.get("capabilities"), notices=True)
    result: Json = {
        "protocolVersion": asked if asked in LEGACY_VERSIONS else LEGACY,
        "capabilities": {**capabilities, "logging": {}},
        "serverInfo": info if isinstance(info, dict) else {"name": "server", "version": ""},
    }
    if isinstance(discovered.get("instructions"), str):
        result["instructions"] = discovered["instructions"]
    return result


def legacy_params(params: Mapping[str, Any], token: object) -> Json:
    """Params without the envelope of 2026-07-28; `token`: the progress token instead of theirs."""
    left = ("_meta", "inputResponses", "requestState", "task")
    kept = {key: each for key, each in params.items() if key not in left}
    meta = {
        key: each for key, each in as_object(params.get("_meta")).items() if not key.startswith(OWN)
    }
    if "progressToken" in meta:
        meta["progressToken"] = token
    return {**kept, "_meta": meta} if meta else kept


def modern_result(result: Mapping[str, Any], method: str, info: object) -> Json:
    """A complete result with what 2026-07-28 wants in each. `info`: the server's identity."""
    made: Json = {"resultType": "complete", **result}
    made["resultType"] = "complete"
    if method in _CACHED:
        made["ttlMs"], made["cacheScope"] = 0, "private"
    if isinstance(info, dict):
        made["_meta"] = {**as_object(result.get("_meta")), SERVER_KEY: info}
    return made


def legacy_result(result: Mapping[str, Any], method: str) -> Json:
    """A complete result without what only 2026-07-28 knows."""
    ours = {"resultType", *(("ttlMs", "cacheScope") if method in _CACHED else ())}
    made = {key: each for key, each in result.items() if key not in ours}
    meta = as_object(made.pop("_meta", None))
    kept = {key: each for key, each in meta.items() if not key.startswith(OWN)}
    return {**made, "_meta": kept} if kept else made


def modern_error(error: object) -> Json:
    """An error of a legacy server with a code that 2026-07-28 may carry."""
    made = as_object(error)
    match made.get("code"):
        case code if code == _NOT_FOUND_2025:
            return {**made, "code": int(ErrorCode.INVALID_PARAMS)}
        case code if code == _URL_NEEDED_2025:
            text = "The server needs the user to open an address first"
            return {**made, "code": -32603, "message": text}
        case _:
            return made or {"code": -32603, "message": "Internal error"}


def addresses(error: object) -> dict[str, Json]:
    """What a server wants the user to open before it does anything (2025-11-25, -32042), as
    `inputRequests`; {} for any other error.
    """
    if as_object(error).get("code") != _URL_NEEDED_2025:
        return {}
    asked = as_object(as_object(error).get("data")).get("elicitations")
    return {
        f"address-{number}": question({"method": "elicitation/create", "params": each})
        for number, each in enumerate(asked if isinstance(asked, list) else (), start=1)
        if isinstance(each, dict) and each.get("mode") == "url"
    }


def question(request: Mapping[str, Any]) -> Json:
    """A legacy server's request to the client as one of `inputRequests`."""
    params = as_object(request.get("params"))
    left = ("_meta", "task", "elicitationId")
    kept = {key: each for key, each in params.items() if key not in left}
    meta = {
        key: each
        for key, each in as_object(params.get("_meta")).items()
        if not key.startswith(OWN) and key != "progressToken"
    }
    return {"method": request["method"], "params": {**kept, "_meta": meta} if meta else kept}


def may_ask(method: object, declared: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a client that declared this may be asked that."""
    match method:
        case "elicitation/create":
            can = declared.get("elicitation")
            if not isinstance(can, dict):
                return False
            mode = params.get("mode", "form")
            return mode in can or (mode == "form" and "url" not in can)
        case "sampling/createMessage":
            return isinstance(declared.get("sampling"), dict)
        case "roots/list":
            return isinstance(declared.get("roots"), dict)
        case _:
            return False
