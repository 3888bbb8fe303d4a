"""Takes tools/list from public MCP servers and stores the facts. A tool for people, not a test.

Run by hand: `python -m tests.risk.collect [NAME ...]`. It installs other people's programs into
throw-away folders under /tmp and starts them with dummy credentials; do that in a sandbox. Labels
already given are kept where the tool still exists; new tools wait for one.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
INSTALL_SECONDS = 240
LIST_SECONDS = 60
CAP = 11
DESCRIPTION_CHARS = 300
PARAMETER_CHARS = 80
PROPERTIES = 40

Json = dict[str, Any]


def environment(home: Path, extra: dict[str, str]) -> dict[str, str]:
    """Nothing of ours but the search path and what a package manager needs for its registry."""
    wanted = ("PATH", "LANG", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "UV_DEFAULT_INDEX")
    managers = ("NPM_CONFIG_", "npm_config_", "UV_", "PIP_", "HTTP_PROXY", "HTTPS_PROXY")
    ours = {k: v for k, v in os.environ.items() if k in wanted or k.startswith(managers)}
    return {**ours, "HOME": str(home), "NO_COLOR": "1", **extra}


def install(entry: Json, home: Path) -> tuple[Path, str]:
    """The folder that holds the server's commands, and the version that was installed."""
    package, version = entry["package"], entry.get("version", "")
    env = environment(home, {})
    if entry["from"] == "npm":
        command = ["npm", "install", "--prefix", str(home), "--ignore-scripts", "--no-audit"]
        spec = f"{package}@{version}" if version else package
        run([*command, "--no-fund", "--loglevel=error", spec], env)
        manifest = json.loads((home / "node_modules" / package / "package.json").read_text("utf-8"))
        return home / "node_modules" / ".bin", str(manifest["version"])
    venv = home / "venv"
    run(["uv", "venv", "--quiet", "--python", sys.executable, str(venv)], env)
    spec = f"{package}=={version}" if version else package
    run(
        ["uv", "pip", "install", "--quiet", "--python", str(venv), spec, *entry.get("with", [])],
        env,
    )
    shown = run(["uv", "pip", "show", "--python", str(venv), package], env)
    return venv / "bin", shown.split("Version:")[1].split()[0]


def run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        ["nice", *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        raise OSError(done.stderr.strip()[-300:])
    return done.stdout


def program(entry: Json, folder: Path) -> str:
    """The command to start: the one named, else the only or best matching one of the package."""
    if "bin" in entry:
        return str(folder / entry["bin"])
    package = str(entry["package"])
    if entry["from"] == "npm":
        manifest = json.loads((folder.parent / package / "package.json").read_text("utf-8"))
        found = manifest["bin"]
        only = package.rpartition("/")[2]
        return str(folder / (only if isinstance(found, str) else next(iter(found))))
    names = {p.name: p for p in folder.iterdir()}
    for name in (package, package.replace("awslabs-", "awslabs."), package.replace("-", "_")):
        if name in names:
            return str(names[name])
    mcp = sorted(n for n in names if package.partition("-")[0] in n and "mcp" in n)
    return str(names[mcp[0]])


def list_tools(command: list[str], env: dict[str, str], cwd: Path) -> list[Json]:
    """initialize, initialized, tools/list over stdio; raises TimeoutError or EOFError."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=pump, args=(process, lines), daemon=True).start()
        try:
            return talk(process, lines)
        except EOFError:
            errors.seek(0)
            raise EOFError(errors.read().decode("utf-8", "replace")[-300:]) from None
        finally:
            process.kill()
            process.wait()


def pump(process: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(b"")


def talk(process: subprocess.Popen[bytes], lines: queue.Queue[bytes]) -> list[Json]:
    assert process.stdin is not None
    end = time.monotonic() + LIST_SECONDS

    def send(message: Json) -> None:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()

    def answer(wanted: int) -> Json:
        while True:
            try:
                line = lines.get(timeout=max(0.1, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError("no answer in a minute") from None
            if not line:
                raise EOFError
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if (
                isinstance(message, dict)
                and message.get("id") == wanted
                and "method" not in message
            ):
                return dict(message.get("result") or {})

    hello = {"protocolVersion": "2025-06-18", "capabilities": {}}
    client = {"clientInfo": {"name": "collect", "version": "1"}}
    send({"id": 1, "method": "initialize", "params": {**hello, **client}})
    answer(1)
    send({"method": "notifications/initialized"})
    tools: list[Json] = []
    cursor: dict[str, str] = {}
    for number in range(2, 12):
        send({"id": number, "method": "tools/list", "params": cursor})
        page = answer(number)
        tools += page.get("tools", [])
        if not page.get("nextCursor"):
            break
        cursor = {"cursor": page["nextCursor"]}
    return tools


def trimmed_schema(schema: Any) -> Json:
    """What classification reads: names, types, formats and short texts of the first two levels."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        return {}
    kept: Json = {}
    for name, value in list(properties.items())[:PROPERTIES]:
        facts = value if isinstance(value, dict) else {}
        short = {k: facts[k] for k in ("type", "format") if k in facts}
        if isinstance(facts.get("description"), str):
            short["description"] = facts["description"][:PARAMETER_CHARS]
        if isinstance(facts.get("enum"), list):
            short["enum"] = facts["enum"][:12]
        kept[name] = short
    required = schema.get("required")
    return {"properties": kept, **({"required": required[:PROPERTIES]} if required else {})}


def facts(entry: Json, version: str, tool: Json) -> Json:
    text = tool.get("description") or ""
    row: Json = {
        "server": entry["server"],
        "package": f"{entry['from']}:{entry['package']}",
        "version": version,
        "name": tool["name"],
    }
    if tool.get("title"):
        row["title"] = tool["title"]
    row["description"] = text[:DESCRIPTION_CHARS]
    row["inputSchema"] = trimmed_schema(tool.get("inputSchema"))
    if tool.get("annotations"):
        row["annotations"] = tool["annotations"]
    return row


def sample(tools: list[Json], cap: int) -> list[Json]:
    """Up to `cap` tools, chosen by the hash of their names: a sample nobody picked."""
    ranked = sorted(tools, key=lambda tool: hashlib.sha256(tool["name"].encode()).hexdigest())
    return sorted(ranked[:cap], key=lambda tool: str(tool["name"]))


def collect(entry: Json) -> list[Json]:
    home = Path(tempfile.mkdtemp(prefix="risk-"))
    try:
        folder, version = install(entry, home)
        env = environment(home, entry.get("env", {}))
        command = ["nice", program(entry, folder), *entry.get("args", [])]
        tools = list_tools(command, env, home)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if not tools:
        raise EOFError("it lists no tools without a connection")
    return [facts(entry, version, tool) for tool in sample(tools, entry.get("cap", CAP))]


def labels(target: Path) -> dict[str, Json]:
    if not target.exists():
        return {}
    rows = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    return {row["name"]: {"label": row["label"]} for row in rows if "label" in row}


def main(names: list[str]) -> None:
    servers: list[Json] = json.loads((DATA / "servers.json").read_text("utf-8"))
    for entry in servers:
        if names and entry["server"] not in names:
            continue
        target = DATA / "tools" / f"{entry['server']}.jsonl"
        target.parent.mkdir(exist_ok=True)
        try:
            rows = collect(entry)
        except (
            OSError,
            EOFError,
            KeyError,
            IndexError,
            ValueError,
            subprocess.TimeoutExpired,
        ) as e:
            print(f"{entry['server']:20} skipped: {type(e).__name__} {str(e)[-200:]!r}", flush=True)
            continue
        given = labels(target)
        rows = [{**row, **given.get(row["name"], {})} for row in rows]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        target.write_text(text, "utf-8")
        print(f"{entry['server']:20} {len(rows)} tools of {rows[0]['version']}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
