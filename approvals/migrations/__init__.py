"""Schema revisions, run by approvals.migrate."""
