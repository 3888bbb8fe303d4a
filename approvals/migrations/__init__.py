"""Schema revisions, run by approvals.migrate."""

HEAD = "0007"
"""The newest of them."""
