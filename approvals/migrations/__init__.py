"""Schema revisions, run by approvals.migrate."""

HEAD = "0009"
"""The newest of them."""
