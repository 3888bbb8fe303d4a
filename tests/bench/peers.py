"""Other gateways from PyPI, in front of the same server, for the bench.

They live in an environment of their own (`.venv-peers`, dependency group `peers`), each started as
its documentation says, with as much of what Signoff does as it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench.target import Target, served
from tests.support.live_gateway import free_port

PYTHON: Final = Path(".venv-peers/bin/python")
TOKEN: Final = "bench-token"


@contextmanager
def fastmcp(folder: Path, server_url: str) -> Iterator[Target]:
    """FastMCP's proxy with one connected client, the faster of its two ways; it checks nothing."""
    port = free_port()
    script = folder / "fastmcp_proxy.py"
    script.write_text(
        f"""
import asyncio
import os

os.environ["FASTMCP_CHECK_FOR_UPDATES"] = "off"

from fastmcp import Client
from fastmcp.server import create_proxy


async def main() -> None:
    async with Client({server_url!r}) as client:
        proxy = create_proxy(client, name="proxy")
        await proxy.run_async(
            transport="http", host="127.0.0.1", port={port}, path="/mcp", show_banner=False,
            log_level="error",
        )


asyncio.run(main())
""",
        encoding="utf-8",
    )
    with served([str(PYTHON), str(script)], port, quiet=True) as pid:
        yield Target("FastMCP proxy", f"http://127.0.0.1:{port}/mcp", pid, peer=True)


@contextmanager
def policy_gateway(folder: Path, server_url: str) -> Iterator[Target]:
    """mcp-policy-gateway with a token, a rule on arguments, a limit and its hash-chained log."""
    port = free_port()
    config = folder / "mcp-policy-gateway.yaml"
    config.write_text(  # JSON is YAML
        json.dumps(
            {
                "version": 1,
                "upstreams": {"bench": {"transport": "http", "url": server_url}},
                "tokens": [
                    {
                        "name": "bench",
                        "policy": "bench",
                        "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(),
                    }
                ],
                "rate_limits": {"calls": {"rate": 1_000_000_000, "per": "60s"}},
                "audit": {"path": str(folder / "peer-audit.jsonl")},
                "policies": {
                    "bench": {
                        "default": "deny",
                        "rules": [
                            {
                                "effect": "deny",
                                "tools": ["echo"],
                                "when": {"args.text": {"eq": "forbidden"}},
                            },
                            {"effect": "allow", "tools": ["echo"], "rate_limits": ["calls"]},
                        ],
                    }
                },
            }
        ),
        encoding="utf-8",
    )
    command = [
        str(PYTHON), "-m", "mcp_policy_gateway", "run", "-c", str(config), "--transport", "http",
        "--port", str(port),
    ]  # fmt: skip
    with served(command, port, quiet=True) as pid:
        yield Target("mcp-policy-gateway", f"http://127.0.0.1:{port}/mcp", pid, TOKEN, peer=True)


PEERS: Final = (fastmcp, policy_gateway)
