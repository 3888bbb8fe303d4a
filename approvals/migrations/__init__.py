"""Schema revisions, run by approvals.migrate."""

HEAD = "0006"
"""The newest of them."""
