"""A real server of 2026-07-28 whose tools take their time: they are slow, fail, ask back, or make
tasks of their own. It remembers on disk, one fsynced line each, what came and what was done.

JOBS_FILE=… uvicorn tests.support.task_server:app. Its tools are those the official suite's
`tasks-*` scenarios name, and a few more. The file, not anyone's answer, says what ran.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

TASKS = "io.modelcontextprotocol/tasks"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
META = {"io.modelcontextprotocol/serverInfo": {"name": "jobs", "version": "1"}}
CACHE = {"ttlMs": 60_000, "cacheScope": "public"}
OWN_SECONDS = 0.15  # until a task of ours is done

Json = dict[str, Any]


class Failed(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, text: str, status: int = 200, data: Json | None = None) -> None:
        super().__init__(text)
        self.error: Json = {"code": code, "message": text} | ({"data": data} if data else {})
        self.status = status


def remember(what: str, tool: str, key: object, more: object = None) -> None:
    """One line, on disk before the answer."""
    line = json.dumps([what, tool, key, more]) + "\n"
    handle = os.open(os.environ["JOBS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def text(words: str, *, error: bool = False) -> Json:
    return {"resultType": "complete", "content": [{"type": "text", "text": words}]} | (
        {"isError": True} if error else {}
    )


def question(*keys: str, state: str | None = None) -> Json:
    """What a tool answers that wants to know more first."""
    asked: Json = {
        key: {
            "method": "elicitation/create",
            "params": {
                "mode": "form",
                "message": f"{key}?",
                "requestedSchema": {"type": "object", "properties": {key: {"type": "string"}}},
            },
        }
        for key in keys
    }
    result: Json = {"resultType": "input_required", "inputRequests": asked}
    return result | ({"requestState": state} if state is not None else {})


class Asked:
    """One tools/call, and what its client can do."""

    def __init__(self, params: Json) -> None:
        self.tool: str = params["name"]
        self.arguments: Json = params.get("arguments") or {}
        self.answers: Json = params.get("inputResponses") or {}
        self.state: str | None = params.get("requestState")
        self.meta: Json = params.get("_meta") or {}
        self.key = self.arguments.get("key", self.arguments.get("filename"))

    @property
    def takes_tasks(self) -> bool:
        return TASKS in self.meta.get(CAPABILITIES, {}).get("extensions", {})

    def need_tasks(self) -> None:
        if not self.takes_tasks:
            needed: Json = {"requiredCapabilities": {"extensions": {TASKS: {}}}}
            raise Failed(-32021, "Missing required client capability", 400, needed)

    def done(self, words: str, *, error: bool = False) -> Json:
        remember("done", self.tool, self.key, self.answers or None)
        return text(words, error=error)


async def greet(asked: Asked) -> Json:
    return asked.done(f"Hello, {asked.arguments.get('name')}!")


async def slow_compute(asked: Asked) -> Json:
    await asyncio.sleep(float(asked.arguments.get("seconds", 0)))
    return asked.done(f"computed {asked.arguments.get('label', asked.key)}")


async def failing_job(asked: Asked) -> Json:
    asked.need_tasks()
    await asyncio.sleep(0.2)
    return asked.done("It failed", error=True)


async def protocol_error_job(asked: Asked) -> Json:
    remember("done", asked.tool, asked.key)
    raise Failed(-32603, "It broke")


async def confirm_delete(asked: Asked) -> Json:
    """Asks once, and knows by its own state what for."""
    state = f"delete {asked.key}"
    if not asked.answers:
        return question("confirm", state=state)
    if asked.state != state:
        raise Failed(-32602, f"not my state: {asked.state}", 400)
    return asked.done(f"deleted {asked.key}")


async def multi_input(asked: Asked) -> Json:
    """Asks for two things at once, and keeps no state."""
    if {"first", "second"} <= asked.answers.keys():
        return asked.done("both")
    return question("first", "second")


async def steps(asked: Asked) -> Json:
    """Asks `count` times, always under the same key."""
    done = int(asked.state or "0")
    if asked.answers:
        done += 1
    if done >= int(asked.arguments["count"]):
        return asked.done(f"{done} steps")
    return question("step", state=str(done))


async def again(asked: Asked) -> Json:
    """Asks for nothing but to be asked again."""
    if asked.state != "ready":
        return {"resultType": "input_required", "requestState": "ready"}
    return asked.done("ready")


OWN: dict[str, Json] = {}
"""Tasks of ours: when they began, whose they are, what was answered."""


async def own_task(asked: Asked) -> Json:
    """Makes a task of its own, which asks first where `ask` is given."""
    asked.need_tasks()
    name = f"own-{len(OWN)}"
    OWN[name] = {"asked": asked, "at": time.monotonic(), "open": bool(asked.arguments.get("ask"))}
    remember("task", asked.tool, asked.key)
    return created(name)


async def test_tool_with_task(asked: Asked) -> Json:
    """Asks in its first round, and makes a task of the second."""
    if not asked.answers:
        return question("user_name", state="named")
    return await own_task(asked)


def created(name: str) -> Json:
    return {"resultType": "task", "status": "working", **common(name)}


def common(name: str) -> Json:
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    times = {"createdAt": now, "lastUpdatedAt": now}
    return {"taskId": name, **times, "ttlMs": 60_000, "pollIntervalMs": 100}


def own(params: Json) -> tuple[str, Json]:
    name = params.get("taskId")
    if not isinstance(name, str) or name not in OWN:
        raise Failed(-32602, "Task not found", 400)
    return name, OWN[name]


def get_task(params: Json) -> Json:
    name, task = own(params)
    asked: Asked = task["asked"]
    shown: Json = {"resultType": "complete", **common(name), "status": "working"}
    if task.get("cancelled"):
        return shown | {"status": "cancelled"}
    if task["open"]:
        return shown | {
            "status": "input_required",
            "inputRequests": question("detail")["inputRequests"],
        }
    if time.monotonic() - task["at"] < OWN_SECONDS:
        return shown
    if "result" not in task:
        said = asked.answers.get("user_name", {}).get("content", {}).get("name", asked.key)
        task["result"] = asked.done(f"task of {said}")
    return shown | {"status": "completed", "result": task["result"]}


def update_task(params: Json) -> Json:
    _, task = own(params)
    if "detail" in params.get("inputResponses", {}):
        remember("answer", task["asked"].tool, task["asked"].key, params["inputResponses"])
        task["open"] = False
    return {"resultType": "complete"}


def cancel_task(params: Json) -> Json:
    _, task = own(params)
    task["cancelled"] = True
    remember("cancel", task["asked"].tool, task["asked"].key)
    return {"resultType": "complete"}


Tool = Callable[[Asked], Awaitable[Json]]
TOOLS: dict[str, Tool] = {
    tool.__name__: tool
    for tool in (
        greet, slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input, steps,
        again, own_task, test_tool_with_task,
    )
}  # fmt: skip


async def called(params: Json) -> Json:
    asked = Asked(params)
    if asked.tool not in TOOLS:
        raise Failed(-32602, "Unknown tool", 400)
    remember("came", asked.tool, asked.key, asked.state)
    try:
        return await TOOLS[asked.tool](asked)
    except asyncio.CancelledError:
        remember("cancelled", asked.tool, asked.key)
        raise


async def answered(message: Json) -> Json:
    method, params = message["method"], message.get("params") or {}
    match method:
        case "tools/call":
            return await called(params)
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
            return {"resultType": "complete", "tools": tools, **CACHE}
        case "server/discover":
            offered: Json = {"tools": {}}
            return {
                "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": offered, "_meta": META, **CACHE,
            }  # fmt: skip
        case "tasks/get":
            return get_task(params)
        case "tasks/update":
            return update_task(params)
        case "tasks/cancel":
            return cancel_task(params)
    raise Failed(-32601, "Method not found", 404)


async def app(scope: Json, receive: Any, send: Any) -> None:
    """The ASGI application: one JSON answer, or none where the client hangs up first."""
    if scope["type"] != "http":
        return
    body, more = b"", scope["method"] == "POST"
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    if not body:
        await respond(send, 405, None)
        return
    message = json.loads(body)
    work = asyncio.create_task(answered(message))
    gone = asyncio.create_task(hung_up(receive))
    await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if not work.done():
        work.cancel()  # closing the stream cancels the request (2026-07-28, cancellation)
        await asyncio.wait({work})
        return
    head = {"jsonrpc": "2.0", "id": message.get("id")}
    try:
        await respond(send, 200, {**head, "result": work.result()})
    except Failed as failed:
        await respond(send, failed.status, {**head, "error": failed.error})


async def hung_up(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(send: Any, status: int, message: Json | None) -> None:
    content = b"" if message is None else json.dumps(message).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
