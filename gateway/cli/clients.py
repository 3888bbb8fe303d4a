"""The lines that connect agents' programs to a server behind the gateway. Pure."""

from __future__ import annotations

import json


def lines(url: str, server: str, token: str) -> list[tuple[str, str]]:
    """(program, what to type or paste) for each program people use."""
    address = f"{url}/mcp/{server}"
    bearer = f"Bearer {token}"
    entry = {"url": address, "headers": {"Authorization": bearer}}
    toml = f'{{ Authorization = "{bearer}" }}'
    vscode = {"servers": {server: {"type": "http", **entry}}}
    return [
        (
            "Claude Code",
            " ".join(
                (
                    f"claude mcp add --transport http {server} {address}",
                    f'--header "Authorization: {bearer}"',
                )
            ),
        ),
        ("Cursor: .cursor/mcp.json", json.dumps({"mcpServers": {server: entry}}, indent=2)),
        ("VS Code: .vscode/mcp.json", json.dumps(vscode, indent=2)),
        (
            "Codex: ~/.codex/config.toml",
            f'[mcp_servers.{server}]\nurl = "{address}"\nhttp_headers = {toml}',
        ),
    ]
