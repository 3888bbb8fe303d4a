"""What of a server is confirmed, in words for people, and how it differs from what was. Pure.

Everything that is confirmed is shown as the file has it, `${VARIABLE}` not put in. Only a value
that looks like a secret is not; that it changed is said. What decides which program or library a
process loads is shown always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from approvals import confirmed, redact
from gateway.servers import WHAT_RUNS, CommandServer, Server

_LOADS: Final = re.compile(
    r"(?:.*PATH|PATHEXT|CLASSPATH|HOME|(?:LD|DYLD)_.*|PYTHON[A-Z0-9]+|PERL5?[A-Z0-9]+|RUBY[A-Z]+"
    r"|NODE_(?:OPTIONS|EXTRA_CA_CERTS|REPL_EXTERNAL_MODULE)|(?:.*_)?JAVA_(?:TOOL_)?OPTIONS"
    r"|BASH_ENV|ENV|SHELL|SHELLOPTS|BASHOPTS|PS4|IFS|PROMPT_COMMAND|ZDOTDIR|COMSPEC"
    r"|GIT_(?:SSH|SSH_COMMAND|CONFIG.*|EDITOR|ASKPASS)|EDITOR|PAGER|OPENSSL_(?:CONF|ENGINES)"
    r"|DOTNET_STARTUP_HOOKS|CORECLR_PROFILER.*|PHPRC|PHP_INI_SCAN_DIR|(?:.*_)?PROXY"
    r"|SSL_CERT_(?:FILE|DIR))",
    re.IGNORECASE,
)
"""Names of variables that say which program, library, start file or network runs: never hidden."""

_MAPS: Final = {"env": "variable", "headers": "header"}
_WORDS: Final = {
    "cwd": "folder",
    "policy": "policy of its own",
    "trust_annotations": "its annotations are believed",
    "shared": "one process for all agents",
}


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it was confirmed. None: it was, or is, not there."""

    what: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        was = "not there" if self.before is None else self.before
        return f"{self.what}: was {was}; is {'not there' if self.after is None else self.after}"


def shown(server: Server) -> str:
    """What is confirmed of a server, in one line."""
    entry = _entry(server.stated)
    if entry is None:  # given on the command line: there is no entry
        return _started(server)
    said = [_started(server)]
    if "cwd" in entry:
        said.append(f"in {_text(entry['cwd'])}")
    named = [
        f"{name}={_value(name, value)}"
        for key in _MAPS
        for name, value in sorted(_map(entry, key).items())
    ]
    line = " ".join(said) + (f" (with {', '.join(named)})" if named else "")
    further = [
        _WORDS[key] if entry[key] is True else f"{_WORDS[key]} {_text(entry[key])}"
        for key in ("policy", "trust_annotations", "shared")
        if key in entry
    ]
    return "; ".join([line, *further])


def digest(server: Server) -> str:
    """What names a server's command or URL as it stands in the file."""
    return confirmed.hash_of(server.stated)


def differences(before: str | None, server: Server) -> tuple[Change, ...]:
    """How the server differs from what was confirmed of it (its entry as stated then); nothing if
    nothing was.
    """
    old, new = _entry(before or ""), _entry(server.stated)
    if old is None or new is None:
        return ()
    return tuple(_compared(old, new))


def _compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    was, now = _argv(old), _argv(new)
    if was != now:
        yield Change("command", was, now)
    for key in WHAT_RUNS:
        if key in _MAPS:
            yield from _of_map(_MAPS[key], _map(old, key), _map(new, key))
        elif key not in ("command", "args") and old.get(key) != new.get(key):
            one, other = (_text(each[key]) if key in each else None for each in (old, new))
            yield Change(_WORDS.get(key, "URL"), one, other)


def _of_map(what: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        if name in old and name in new and old[name] == new[name]:
            continue
        was = _value(name, old[name]) if name in old else None
        now = _value(name, new[name]) if name in new else None
        if was is not None and was == now:
            now = f"another one {now}"
        yield Change(f"{what} {_text(name)}", was, now)


def _entry(stated: str) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(stated)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _map(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = entry.get(key)
    return found if isinstance(found, dict) else {}


def _started(server: Server) -> str:
    if isinstance(server, CommandServer):
        return " ".join(_text(part) for part in server.written)
    return server.written


def _argv(entry: Mapping[str, Any]) -> str | None:
    if "command" not in entry:
        return None
    args = entry.get("args")
    rest = args if isinstance(args, list) else []
    return " ".join(_text(part) for part in (entry["command"], *rest))


def _value(name: str, value: Any) -> str:
    """A variable's or header's value, if it may be shown."""
    if not isinstance(value, str):
        return json.dumps(value)
    if not _LOADS.fullmatch(name) and not redact.plain({name: value}):
        return f"(hidden, {len(value)} characters)"
    return _text(value)


def _text(value: Any) -> str:
    """A text as it stands, quoted where it would run together with what is beside it."""
    if not isinstance(value, str):
        return json.dumps(value)
    return value if value and not set(value) & set(" \t\n\"'\\,;()") else json.dumps(value)
