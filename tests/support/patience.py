"""How long tests wait for what must come.

A wait ends as soon as it has come, so the bound costs a working product nothing. It is there for a
broken one, and stands far above what a busy machine takes.
"""

from __future__ import annotations

PATIENCE = 60.0
"""Seconds until something that must come counts as not coming."""
