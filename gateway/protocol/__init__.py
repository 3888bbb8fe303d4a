"""The words of MCP: messages, headers, calls and sealed tokens. Pure."""
