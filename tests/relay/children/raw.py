"""A JSON-lines server of plain text for odd behaviour: the method's name says what it does."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

seen: list[Any] = []
asked: dict[str, Any] = {}
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"


def say(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def answer(message: Any, method: str, params: Any) -> None:  # noqa: C901, PLR0912  # a list of oddities
    identifier = message["id"]
    meta = params.get("_meta", {})
    if method in ("die", "garbage"):
        sys.stdout.buffer.write(b"hello\n\xff\xfe{\n[1,\n" if method == "garbage" else b"")
        sys.stdout.flush()
    if method == "die":
        os._exit(3)
    if method == "never":
        return
    if method == "initialize" and params.get("refuse"):
        say(id=identifier, error={"code": -32602, "message": "no"})
        return
    if method == "unknown":
        say(id=identifier, error={"code": -32601, "message": "Method not found", "data": {"x": 1}})
        return
    if method == "ask":
        asked["q-1"] = identifier
        say(id="q-1", method=params.get("what", "elicitation/create"), params={"message": "sure?"})
        return
    if method == "subscriptions/listen":
        tag = {SUBSCRIPTION: identifier}
        say(method="notifications/subscriptions/acknowledged", params={"_meta": tag})
        say(method="notifications/tools/list_changed", params={"_meta": tag})
        return
    for number in range(params.get("progress", 0)):
        progress = {"progressToken": meta["progressToken"], "progress": number, "extra": None}
        say(method="notifications/progress", params=progress)
    for text in params.get("say", []):
        say(method=text, params={"data": "x" * params.get("size", 1)})
    result: dict[str, Any] = {
        "pid": os.getpid(),
        "got": message,
        "seen": seen,
        "env": dict(os.environ),
    }
    if method == "spawn":
        null = subprocess.DEVNULL
        result["child"] = subprocess.Popen(["sleep", "300"], stdin=null, stdout=null).pid
    if method == "big":
        result["text"] = "y" * params["size"]
    if method == "odd":  # in one write, so that whoever stops at the first misses the second
        lines = ({"jsonrpc": "2.0", **one} for one in (*params["first"], {"id": identifier}))
        whole = "\n".join(json.dumps({"result": {}, **one}) for one in lines)
        print(whole, flush=True)
        return
    if method == "bad code":
        say(id=identifier, error={"code": [], "message": "no"})
        return
    if method == "nonsense":
        result = {"unknown": {"deep": [None, 2**70, -0.0, "\ud800"]}, "nul": None}
        say(id=identifier, result=result, surprise=[1])
        return
    say(id=identifier, result=result)


if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "dead" in sys.argv:
    sys.exit(1)
if "loud" in sys.argv:
    print("secret of the log", file=sys.stderr, flush=True)
for line in sys.stdin:
    received = json.loads(line)
    if "method" not in received:
        say(id=asked.pop(received["id"]), result={"answered": received})
    elif "id" in received:
        seen.append(received["method"])
        answer(received, received["method"], received.get("params") or {})
    else:
        seen.append(received)
while "stubborn" in sys.argv:
    signal.pause()
