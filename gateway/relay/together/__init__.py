"""`/mcp`: every server a grant reaches, behind one URL. Each message becomes one of its server."""
