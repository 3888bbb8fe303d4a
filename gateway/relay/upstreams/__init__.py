"""The servers' side of the relay: over HTTP, and as processes on pipes."""
