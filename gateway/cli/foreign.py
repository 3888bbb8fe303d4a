"""Servers files of other programs: found where they lie, read as they are, never changed.

Claude Code, Claude Desktop, Cursor, VS Code and whatever else writes `mcpServers` or `servers`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.cli.exits import Exit, Stop
from gateway.servers import json_trouble

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOW = 'Write {"mcpServers": {"NAME": {"command": "…", "args": []}}}.'
_OTHERS = {"context_servers": "Zed's", "mcp": "OpenCode's", "amp.mcpServers": "Amp's"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The entries of a file, each as written, by a name that can be used here."""

    entries: Mapping[str, Any]
    renamed: Mapping[str, str]  # new name by the one written
    ours: tuple[str, ...]  # entries that lead to this gateway; left out


def places(home: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Where such files lie, the nearest first."""
    for name in (".mcp.json", "mcp.json", ".vscode/mcp.json", ".cursor/mcp.json"):
        yield Path(name)
    file = "claude_desktop_config.json"
    if sys.platform == "darwin":
        yield home / "Library/Application Support/Claude" / file
    if environ.get("APPDATA"):
        yield Path(environ["APPDATA"]) / "Claude" / file
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "Claude" / file


def read(path: Path, text: bytes, *, own: str) -> Found:
    """The servers of a file; `own` is this gateway's URL.

    Raises:
        Stop: it is no such file; the text says what to write.
    """
    entries = _entries(path, _decoded(path, text))
    kept: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    ours = []
    for written, entry in entries.items():
        if _leads_here(entry, own):
            ours.append(written)
            continue
        name = _usable(written, kept)
        if name != written:
            renamed[written] = name
        kept[name] = entry
    return Found(entries=kept, renamed=renamed, ours=tuple(ours))


def _decoded(path: Path, text: bytes) -> Any:
    import json5

    if path.suffix in (".toml", ".yaml", ".yml"):
        raise Stop(Exit.INVALID, f"{path} is not JSON, and is not read yet. {_HOW}")
    try:
        plain = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Stop(Exit.INVALID, f"{path} is not UTF-8 text.") from None
    try:
        return json.loads(plain)
    except (ValueError, RecursionError):
        pass
    try:
        return json5.loads(plain)
    except (ValueError, RecursionError) as error:
        raise Stop(Exit.INVALID, f"{path} is not JSON: {json_trouble(error)}.") from None


def _entries(path: Path, decoded: Any) -> dict[str, Any]:
    if not isinstance(decoded, dict):
        raise Stop(Exit.INVALID, f"{path} holds no servers. {_HOW}")
    for key in ("mcpServers", "servers"):
        if isinstance(decoded.get(key), dict):
            return dict(decoded[key])
    for key, whose in _OTHERS.items():
        if key in decoded:
            raise Stop(Exit.INVALID, f"{path} is {whose} format, which is not read yet. {_HOW}")
    bare = {
        name: entry
        for name, entry in decoded.items()
        if isinstance(entry, dict) and {"command", "url", "httpUrl"} & entry.keys()
    }
    if not bare:
        raise Stop(Exit.INVALID, f"{path} holds no servers. {_HOW}")
    return bare


def _leads_here(entry: Any, own: str) -> bool:
    """Whether the entry is this gateway itself: behind itself it would wait for itself."""
    if not isinstance(entry, dict):
        return False
    command = entry.get("command")
    if isinstance(command, str) and Path(command).name == "signoff":
        return True
    url = entry.get("httpUrl") or entry.get("url")
    if not isinstance(url, str):
        return False
    try:
        there, here = urlsplit(url), urlsplit(own)
        same = there.port == here.port and (there.hostname or "") in (
            here.hostname,
            "localhost",
            "127.0.0.1",
            "::1",
        )
    except ValueError:
        return False
    return same and there.path.startswith("/mcp/")


def _usable(written: str, taken: Mapping[str, Any]) -> str:
    """The name, or the nearest one that a server may have and no one has."""
    name = written
    if not _NAME.fullmatch(name):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", written).strip("-")[:60] or "server"
    number, base = 2, name
    while name in taken:
        name = f"{base}-{number}"
        number += 1
    return name
