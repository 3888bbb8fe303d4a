"""Imports what a gateway, a command and a test's server need, before any of them is forked."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import alembic.command
import uvicorn.main
import uvloop

import approvals
import gateway
import web

__all__ = ["alembic", "uvicorn", "uvloop"]

for package in (approvals, gateway, web):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith("approvals.migrations."):  # alembic finds those by itself
            importlib.import_module(module.name)
gc.freeze()
