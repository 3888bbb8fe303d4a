"""policy.json: read, checked, and judged by. Pure."""
