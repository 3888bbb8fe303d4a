"""servers.json: which MCP servers stand behind the gateway, in the ecosystem's own format.

Reads `{"mcpServers": {...}}`, VS Code's `{"servers": {...}}` with comments, or the bare map, and
puts environment variables in. Starts nothing and asks no one. Pure: the environment is an argument.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import json5

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_VARIABLE = re.compile(r"(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_FRAMING = frozenset(
    {
        *("connection", "content-encoding", "content-length", "expect", "keep-alive", "te"),
        *("trailer", "transfer-encoding", "upgrade"),
    }
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: a header's name
_PLACE = re.compile(
    r"""<string>:(\d+) (Unexpected (?:"."|'.'|end of input)).* at column (\d+)""", re.DOTALL
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
#: Hosts write `timeout` in seconds (up to an hour) or in milliseconds (from some thousands on).
_LONGEST_IN_SECONDS = 3_600


Protocol = Literal["auto", "legacy", "modern"]

WHAT_RUNS = (
    *("command", "args", "env", "cwd", "url", "httpUrl", "headers", "policy"),
    "trust_annotations",  # of an untrusted server annotations may close rules, never open them
    "shared",  # one process for all agents: what one leaves in it, the others find
)
"""The keys of an entry that decide what is started or reached, for whom, and how far it is
believed. A key that joins them has a default that is left out, so that what was confirmed without
it stays confirmed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    name: str
    protocol: Protocol = "auto"  # the revisions it speaks: asked for, with sessions, or 2026-07-28
    timeout: float | None = None  # seconds of silence after which a request is given up
    policy: str | None = None  # a policy of this server's own, as written
    trust_annotations: bool = False
    #: As written, all that decides what runs, as JSON.
    stated: str = field(default="", repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandServer(_Common):
    """A server started as a command. Values that may carry secrets are not in its repr."""

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    shared: bool = False  # one process for everybody, instead of one per session or grant
    written: tuple[str, ...] = field(default=(), repr=False)  # argv before variables were put in


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlServer(_Common):
    """A server reached by URL. Neither URL (it may carry a key) nor headers are in its repr."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    written: str = field(default="", repr=False)  # the URL before variables were put in


Server = CommandServer | UrlServer


@dataclass(frozen=True, slots=True)
class ServerProblem:
    """What is wrong and what to write instead. Never holds a value, only names and places."""

    server: str  # "" for the file as a whole
    text: str

    def __str__(self) -> str:
        return f"{self.server}: {self.text}" if self.server else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """The usable servers by name, in the file's order; the others stand under `problems`."""

    servers: Mapping[str, Server]
    problems: tuple[ServerProblem, ...] = ()
    disabled: tuple[str, ...] = ()

    @property
    def trusted(self) -> frozenset[str]:
        """Those whose tools' annotations are believed."""
        return frozenset(name for name, one in self.servers.items() if one.trust_annotations)


class _Wrong(Exception):
    """Something about one server that makes it unusable."""


def load_servers(
    text: bytes, environ: Mapping[str, str], *, workspace: str | None = None
) -> Servers:
    """Read a servers file. Never raises: what is wrong is in `problems`, all of it.

    Args:
        text: JSON, also with comments and trailing commas (JSON5).
        environ: what `${VAR}` and `${env:VAR}` stand for; `${userHome}` is its HOME.
        workspace: what `${workspaceFolder}` stands for; None: PWD of `environ`.
    """
    try:
        entries = _entries(_decoded(text))
    except _Wrong as wrong:
        return Servers(servers={}, problems=(ServerProblem("", str(wrong)),))
    values = dict(environ)
    known = {
        "userHome": environ.get("HOME") or environ.get("USERPROFILE"),
        "workspaceFolder": workspace or environ.get("PWD"),
    }
    servers: dict[str, Server] = {}
    problems: list[ServerProblem] = []
    disabled: list[str] = []
    for name, entry in entries:
        if isinstance(entry, dict) and (entry.get("disabled") or entry.get("enabled") is False):
            disabled.append(name)
            continue
        reader = _Reader(values, known)
        server = reader.server(name, entry)
        if name in servers:
            reader.wrong.append("stands in the file twice; give one of them another name")
        problems.extend(ServerProblem(name, text) for text in dict.fromkeys(reader.wrong))
        if server is not None and not reader.wrong:
            servers[name] = server
    return Servers(
        servers=MappingProxyType(servers), problems=tuple(problems), disabled=tuple(disabled)
    )


class _Pairs(list[tuple[str, Any]]):
    """The members of the outer objects as written: a doubled name must not vanish."""


def _decoded(text: bytes) -> Any:
    try:
        plain = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _Wrong("is not UTF-8 text") from None
    try:
        return json.loads(plain, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pass
    try:
        return json5.loads(plain, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"is not JSON: {json_trouble(error)}") from None


def json_trouble(error: BaseException) -> str:
    """Where a text stops being JSON, whether json or json5 says it: one character at most is
    quoted, no value.
    """
    if isinstance(error, json.JSONDecodeError):
        return f"look at line {error.lineno}, column {error.colno}"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    place = _PLACE.match(str(error))
    if place is None:
        return "it is empty" if str(error).startswith("Empty") else "it cannot be read"
    return f"{place[2].lower()} at line {place[1]}, column {place[3]}"


def _entries(decoded: Any) -> Iterator[tuple[str, Any]]:
    how = 'write {"mcpServers": {"NAME": {"command": "…", "args": []}}}'
    if not isinstance(decoded, _Pairs):
        raise _Wrong(f"must be an object; {how}")
    top = dict(decoded)
    for key in ("mcpServers", "servers"):
        if isinstance(top.get(key), _Pairs):
            return ((name, _plain(entry)) for name, entry in top[key])
        if key in top:
            raise _Wrong(f"{key} must be an object; {how}")
    entries = [(name, _plain(entry)) for name, entry in decoded if isinstance(entry, _Pairs)]
    if decoded and not any({"command", "url", "httpUrl"} & entry.keys() for _, entry in entries):
        raise _Wrong(f"has no servers; {how}")
    return iter(entries)


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {key: _plain(each) for key, each in value}
    return [_plain(each) for each in value] if isinstance(value, list) else value


class _Reader:
    """Reads one entry and collects everything that is wrong with it."""

    def __init__(self, environ: Mapping[str, str], known: Mapping[str, str | None]) -> None:
        self._environ = environ
        self._known = known
        self.wrong: list[str] = []

    def server(self, name: str, entry: Any) -> Server | None:
        if not _NAME.fullmatch(name):
            better = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "my-server"
            self.wrong.append(
                f"a server's name is 1 to 64 of A-Z a-z 0-9 _ -; write {json.dumps(better)}"
            )
        if not isinstance(entry, dict):
            self.wrong.append('must be an object with "command" or "url"')
            return None
        url = entry.get("httpUrl") or entry.get("url")
        if ("command" in entry) == (url is not None):
            self.wrong.append('needs either "command" or "url"')
            return None
        common: dict[str, Any] = {
            "name": name,
            "protocol": self._protocol(entry.get("protocol", "auto")),
            "timeout": self._timeout(entry.get("timeout")),
            "policy": self._text(entry, "policy") if "policy" in entry else None,
            "trust_annotations": self._flag(entry, "trust_annotations"),
            "stated": _stated(entry),
        }
        if url is None:
            return self._command(entry, common)
        return self._url(entry, "httpUrl" if entry.get("httpUrl") else "url", common)

    def _command(self, entry: dict[str, Any], common: dict[str, Any]) -> CommandServer:
        if entry.get("type", "stdio") not in ("stdio", "local", None):
            self.wrong.append('"type" of a command is "stdio"; leave it out')
        args = entry.get("args") or []
        if not isinstance(args, list) or not all(isinstance(each, str) for each in args):
            self.wrong.append('"args" must be a list of texts, one an argument')
            args = []
        command = self._text(entry, "command")
        server = CommandServer(
            **common,
            command=self._expanded(command, "command"),
            args=tuple(self._expanded(each, f"args[{i}]") for i, each in enumerate(args)),
            env=MappingProxyType(self._map(entry, "env")),
            cwd=self._expanded(self._text(entry, "cwd"), "cwd") if entry.get("cwd") else None,
            shared=self._flag(entry, "shared"),
            written=(command, *args),
        )
        if not server.command and not self.wrong:
            self.wrong.append('"command" is empty')
        if any("\0" in each for each in (server.command, *server.args, *server.env.values())):
            self.wrong.append("holds a NUL character, which no command can take")
        if any(not key or "=" in key or "\0" in key for key in server.env):
            self.wrong.append('a name in "env" is empty or holds "="')
        return server

    def _url(self, entry: dict[str, Any], key: str, common: dict[str, Any]) -> UrlServer:
        if entry.get("type") in ("sse", "ws"):
            self.wrong.append(
                f'"type": "{entry["type"]}" is not spoken; write the address of the server\'s '
                'Streamable HTTP endpoint and "type": "http"'
            )
        if entry.get("shared"):
            self.wrong.append('"shared" is for commands; a URL is reached by everybody anyway')
        written = self._text(entry, key)
        url = self._expanded(written, key)
        if not self.wrong and not _is_http(url):
            self.wrong.append(f'"{key}" must be an address like https://host/mcp')
        headers = self._map(entry, "headers")
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name) or _CONTROL.search(value):
                self.wrong.append(f"header {json.dumps(name)} holds characters no header can take")
        self._fit_together(url, headers)
        return UrlServer(**common, url=url, headers=MappingProxyType(headers), written=written)

    def _fit_together(self, url: str, headers: Mapping[str, str]) -> None:
        """Whether these headers and this address can be sent together."""
        names = [name.lower() for name in headers]
        for name in sorted({name for name in names if names.count(name) > 1}):
            self.wrong.append(f"header {json.dumps(name)} is written twice; leave one of them out")
        for name in sorted(_FRAMING.intersection(names)):
            self.wrong.append(
                f"header {json.dumps(name)} says how a message is sent, and each message says that "
                "for itself; leave it out"
            )
        if "authorization" in names and _is_http(url) and "@" in urlsplit(url).netloc:
            self.wrong.append(
                "the address carries a user's name (user:password@) and there is an Authorization "
                "header too; leave one of them out"
            )

    def _text(self, entry: dict[str, Any], key: str) -> str:
        value = entry.get(key)
        if isinstance(value, str):
            return value
        self.wrong.append(f'"{key}" must be text')
        return ""

    def _protocol(self, value: Any) -> Protocol:
        for known in get_args(Protocol):
            if value == known:
                return known  # type: ignore[no-any-return]  # get_args forgets the type
        self.wrong.append(
            '"protocol" must be "auto" (ask the server), "legacy" (only revisions with sessions, '
            'up to 2025-11-25) or "modern" (only 2026-07-28)'
        )
        return "auto"

    def _flag(self, entry: dict[str, Any], key: str) -> bool:
        value = entry.get(key, False)
        if not isinstance(value, bool):
            self.wrong.append(f'"{key}" must be true or false')
        return value is True

    def _map(self, entry: dict[str, Any], key: str) -> dict[str, str]:
        """Texts by name; numbers as their digits, null left out, as VS Code has it."""
        value = entry.get(key) or {}
        if not isinstance(value, dict):
            self.wrong.append(f'"{key}" must be an object of texts')
            return {}
        read: dict[str, str] = {}
        for name, each in value.items():
            if isinstance(each, str):
                read[name] = self._expanded(each, f"{key}.{name}")
            elif isinstance(each, int | float) and not isinstance(each, bool):
                read[name] = str(each)
            elif each is not None:
                self.wrong.append(f'"{key}.{name}" must be text')
        return read

    def _timeout(self, value: Any) -> float | None:
        """Up to 3600 it is seconds, above it milliseconds."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            self.wrong.append('"timeout" must be a number of seconds (or of ms, above 3600)')
            return None
        return float(value) if value <= _LONGEST_IN_SECONDS else value / 1_000

    def _expanded(self, text: str, place: str) -> str:
        """One pass: what a variable holds is not expanded again."""
        return _REFERENCE.sub(lambda match: self._value(match.group(1), place), text)

    def _value(self, inner: str, place: str) -> str:
        if inner in self._known:
            if (found := self._known[inner]) is None:
                self.wrong.append(f'"{place}" uses ${{{inner}}}, which is not known here')
            return found or ""
        match = _VARIABLE.fullmatch(inner)
        if match is None:
            self.wrong.append(
                f'"{place}" uses ${{{inner}}}, which cannot be asked for here; '
                "set an environment variable and write ${VARIABLE}"
            )
            return ""
        name, default = match.groups()
        value = self._environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            self.wrong.append(f'"{place}" needs the environment variable {name}, which is not set')
        return value or ""


def _stated(entry: Mapping[str, Any]) -> str:
    """What an administrator confirms of the entry, variables not put in."""
    kept = {key: entry[key] for key in WHAT_RUNS if entry.get(key) not in (None, [], {}, False)}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
