"""The traffic: judge each call, hold it, forward it."""
