"""The record: what was asked, who decided, what happened. Knows no MCP and no HTTP server."""
