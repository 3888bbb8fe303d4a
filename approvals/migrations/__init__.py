"""Schema revisions, run by approvals.migrate."""

HEAD = "0011"
"""The newest of them."""
