"""All servers behind one endpoint, /mcp: lists are merged, calls go to the server that is named."""
