"""Imports what gateways, commands and the tests' servers and clients need, before the fork."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import alembic.command
import mcp.client.client
import mcp.client.streamable_http
import mcp.server.stdio
import mcp.server.streamable_http
import uvicorn.main
import uvloop

import approvals
import gateway
import web

__all__ = ["alembic", "mcp", "uvicorn", "uvloop"]

for package in (approvals, gateway, web):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith("approvals.migrations."):  # alembic finds those by itself
            importlib.import_module(module.name)
gc.freeze()
