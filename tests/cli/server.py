"""A small MCP server for scanning: `python server.py [slow|broken|loud]`."""

import sys
import time

from mcp.server import MCPServer

MODE = sys.argv[1] if len(sys.argv) > 1 else ""
if MODE == "slow":
    time.sleep(300)
if MODE == "broken":
    print("no configuration found", file=sys.stderr)
    sys.exit(1)
if MODE == "loud":
    print("hello, I am no JSON")

server = MCPServer("scanned")


@server.tool()
def list_customers() -> str:
    """List all customers."""
    return ""


@server.tool()
def create_customer(name: str) -> str:
    """Create a customer."""
    return name


@server.tool()
def delete_customer(customer_id: str) -> str:
    """Delete a customer for good. This cannot be undone."""
    return customer_id


server.run("stdio")
