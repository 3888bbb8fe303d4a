"""The lines that connect agents' programs to the gateway. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

EVERYTHING = "all"
"""Instead of a server's name: every server the grant reaches, behind one URL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTarget:
    """Where a program is to connect to, and as whom."""

    url: str  # the gateway's
    server: str  # or EVERYTHING
    token: str
    command: str = "signoff"  # how hosts start us

    @property
    def name(self) -> str:
        """What the program calls it."""
        return "signoff" if self.server == EVERYTHING else self.server

    @property
    def address(self) -> str:
        """The MCP URL."""
        return f"{self.url}/mcp" if self.server == EVERYTHING else f"{self.url}/mcp/{self.server}"

    @property
    def entry(self) -> dict[str, object]:
        return {"url": self.address, "headers": {"Authorization": f"Bearer {self.token}"}}


@dataclass(frozen=True, slots=True)
class Program:
    """A program people use. `line` is what to type or paste."""

    title: str
    line: Callable[[ClientTarget], str]
    hold: int | None = None  # seconds its held calls may wait; None: the gateway's default


def lines(url: str, server: str, token: str) -> list[tuple[str, str]]:
    """(program, what to type or paste) for each program people use."""
    place = ClientTarget(url=url, server=server, token=token)
    return [(one.title, one.line(place)) for one in PROGRAMS.values()]


def _claude_code(to: ClientTarget) -> str:
    header = f'--header "Authorization: Bearer {to.token}"'
    return f"claude mcp add --transport http {to.name} {to.address} {header}"


def _claude_desktop(to: ClientTarget) -> str:
    entry = {
        "command": to.command,
        "args": ["connect", to.server],
        "env": {"SIGNOFF_URL": to.url, "SIGNOFF_TOKEN": to.token},
    }
    return json.dumps({"mcpServers": {to.name: entry}}, indent=2)


def _cursor(to: ClientTarget) -> str:
    return json.dumps({"mcpServers": {to.name: to.entry}}, indent=2)


def _vscode(to: ClientTarget) -> str:
    return json.dumps({"servers": {to.name: {"type": "http", **to.entry}}}, indent=2)


def _codex(to: ClientTarget) -> str:
    headers = f'{{ Authorization = "Bearer {to.token}" }}'
    return f'[mcp_servers.{to.name}]\nurl = "{to.address}"\nhttp_headers = {headers}'


PROGRAMS: Mapping[str, Program] = {
    # It gives a silent server 300 s and counts progress as a sign of life.
    "claude-code": Program("Claude Code", _claude_code, hold=240),
    "cursor": Program("Cursor: .cursor/mcp.json", _cursor),
    "vscode": Program("VS Code: .vscode/mcp.json", _vscode),
    "codex": Program("Codex: ~/.codex/config.toml", _codex),
    "claude-desktop": Program(
        "Claude Desktop and others that start commands: claude_desktop_config.json",
        _claude_desktop,
    ),
}
