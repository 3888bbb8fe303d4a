"""Schema revisions, run by approvals.migrate."""

HEAD = "0005"
"""The newest of them."""
