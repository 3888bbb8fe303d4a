"""The MCP door agents talk to, and the ways to the servers behind it."""
