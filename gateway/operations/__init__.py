"""Keeping a gateway going: housekeeping, health and what is wrong right now."""
