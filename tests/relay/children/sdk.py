"""A server made with the SDK, over stdio: progress, log lines, a question, a slow call."""

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from pydantic import BaseModel

server = MCPServer("sdk-child")


class Sure(BaseModel):
    yes: bool


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


@server.tool()
async def steps(count: int, ctx: Context) -> str:
    for number in range(count):
        await ctx.report_progress(number + 1, count, f"step {number + 1}")
    return "done"


@server.tool()
async def confirm(ctx: Context) -> str:
    answer = await ctx.elicit("sure?", Sure)
    return f"{answer.action}"


@server.tool()
async def slow() -> str:
    await anyio.sleep(300)
    return "late"


server.run("stdio")
