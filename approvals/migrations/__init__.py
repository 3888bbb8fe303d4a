"""Schema revisions, run by approvals.migrate."""

HEAD = "0008"
"""The newest of them."""
