"""Schema revisions, run by approvals.record.migrate."""

HEAD = "0011"
"""The newest of them."""
