"""Slack: cards out, clicks in. It shows and submits; only the record decides."""
