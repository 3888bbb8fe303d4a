"""Schema revisions, run by approvals.migrate."""

HEAD = "0010"
"""The newest of them."""
