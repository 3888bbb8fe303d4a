"""Schema revisions, run by approvals.migrate."""

HEAD = "0004"
"""The newest of them."""
