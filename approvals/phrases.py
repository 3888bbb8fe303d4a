"""Words of a decision that reach the agent, the same on every surface. Pure."""

from __future__ import annotations

from typing import Final

PRESETS: Final = ("Not needed now", "Wrong target", "Too risky", "Ask me first")
"""Reasons at hand for a denial; each reaches the agent as it stands."""

ASKED: Final = "Not as it is. Change this and call again: "
"""What the agent reads before a reviewer's words when a change is asked for."""
