"""The figures of the README: a gateway with everything on, beside the bare server, in one session.

make bench, or: python tests/bench/bench.py [--short] [-c 1 16 64] [--peers] [--loaded [ROWS]]
Direct and gateways take turns in every round, so that a busy machine disturbs all of them alike:
ratios and CPU per call count, calls per second do not. A wrong answer ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import burden, peers
from tests.bench.target import Target, served
from tests.support.live_gateway import Site, free_port

HERE = Path(__file__).parent
REVISIONS = ("2025-11-25", "2026-07-28")
DISTRIBUTIONS = ("signoff", "aiohttp", "uvicorn", "uvloop", "orjson", "SQLAlchemy")
SHORT_LIMIT = 450.0
"""Microseconds of CPU a call may cost in the short form. Twice what a quiet machine needs."""

POLICY = {
    "echo": {
        "limits": [{"counter": "calls", "window": "minute", "max": 10**9, "scope": "grant"}],
        "deny_if": [{"conditions": [{"path": "args.text", "op": "eq", "value": "forbidden"}]}],
    }
}


class WrongAnswer(Exception):
    """A call failed, so the figures mean nothing."""


@dataclass(frozen=True)
class Sample:
    """One round of one target."""

    calls_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mib: float


@dataclass(frozen=True)
class Row:
    """The medians of a target's rounds; ratio and added p50 against the direct of each round."""

    revision: str
    concurrency: int
    target: str
    ratio: float
    added_p50_ms: float
    p99_ms: float
    cpu_us: float
    rss_mib: float
    calls_per_s: float


@contextmanager
def upstream() -> Iterator[Target]:
    """The bare server: prepared JSON, so that what is measured is the gateway."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "upstream:app", "--app-dir", str(HERE), "--port",
        str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level",
        "error",
    ]  # fmt: skip
    with served(command, port) as pid:
        yield Target("direct", f"http://127.0.0.1:{port}/mcp", pid)


@contextmanager
def gateway(folder: Path, server: Target, *, history: int | None = None) -> Iterator[Target]:
    """`signoff up` with a grant, a policy on arguments, a counter and the durable record; with
    `history` also a thousand rules, a hundred servers, ten thousand pending calls and so many rows.
    """
    site = Site(folder, forked=False)
    loaded = history is not None
    site.policy(tools={**(burden.rules() if loaded else {}), **POLICY})
    site.servers(bench={"url": server.url}, **(burden.servers(server.url) if loaded else {}))
    token = site.grant()
    if history is not None:
        burden.fill(site, history=history)
    site.start()
    assert site.process is not None
    name = "signoff" if not loaded else "signoff, loaded"
    try:
        yield Target(name, f"{site.url}/mcp/bench", site.process.pid, token)
    finally:
        site.stop()


@contextmanager
def nginx(folder: Path, server: Target) -> Iterator[Target]:
    """A plain reverse proxy: what one more hop costs at least."""
    port = free_port()
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr crit;
        events {{ worker_connections 1024; }}
        http {{
          access_log off; keepalive_requests 100000000; client_body_temp_path {folder}/body;
          proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
          uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
          upstream server {{ server {server.url.split("/")[2]}; keepalive 64; }}
          server {{
            listen 127.0.0.1:{port};
            location /mcp {{
              proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
            }}
          }}
        }}
        """,
        encoding="utf-8",
    )
    command = [str(_nginx()), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with served(command, port) as pid:
        yield Target("nginx", f"http://127.0.0.1:{port}/mcp", pid)


def _nginx() -> str | None:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def load(target: Target, *, revision: str, concurrency: int, calls: int) -> Sample:
    """One round.

    Raises:
        WrongAnswer: a call failed or was answered wrongly.
    """
    command = [
        sys.executable, str(HERE / "load.py"), "--url", target.url, "--token", target.token,
        "--protocol", revision, "-c", str(concurrency), "-n", str(calls), "--seconds", "120",
        "--pid", str(target.pid),
    ]  # fmt: skip
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise WrongAnswer(f"{target.name}: {done.stderr.strip().splitlines()[-1]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["errors"] or figures["warmup_errors"] or figures["ok"] != calls:
        raise WrongAnswer(f"{target.name}: {done.stdout}")
    return Sample(**{name: figures[name] for name in Sample.__dataclass_fields__})


def measure(
    targets: Sequence[Target], *, revision: str, concurrency: int, calls: int, rounds: int
) -> list[Row]:
    """Every target in every round; the first target is the direct one."""
    taken: list[list[Sample]] = [[] for _ in targets]
    for _ in range(rounds):
        for target, samples in zip(targets, taken, strict=True):
            some = max(calls // target.share, concurrency)
            try:
                sample = load(target, revision=revision, concurrency=concurrency, calls=some)
            except WrongAnswer as wrong:
                if not target.peer:
                    raise
                print(
                    f"left out: {wrong}", file=sys.stderr
                )  # others' faults spoil no figure of ours
                continue
            samples.append(sample)
    return [
        _row(target, samples, taken[0], revision=revision, concurrency=concurrency)
        for target, samples in zip(targets, taken, strict=True)
        if len(samples) == rounds
    ]


def _row(
    target: Target,
    samples: Sequence[Sample],
    direct: Sequence[Sample],
    *,
    revision: str,
    concurrency: int,
) -> Row:
    rounds = list(zip(samples, direct, strict=True))
    return Row(
        revision=revision,
        concurrency=concurrency,
        target=target.name,
        ratio=_median([sample.calls_per_s / bare.calls_per_s for sample, bare in rounds], 3),
        added_p50_ms=_median([sample.p50_ms - bare.p50_ms for sample, bare in rounds], 2),
        p99_ms=_median([sample.p99_ms for sample in samples], 2),
        cpu_us=_median([sample.cpu_us for sample in samples], 0),
        rss_mib=_median([sample.rss_mib for sample in samples], 0),
        calls_per_s=_median([sample.calls_per_s for sample in samples], 0),
    )


def _median(values: Sequence[float], digits: int) -> float:
    return round(median(values), digits)


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| revision | callers | | of direct | added p50, ms | p99, ms | CPU, us/call | RSS, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.revision} | {row.concurrency} | {row.target} | {row.ratio:.2f} | "
        f"{row.added_p50_ms:+.2f} | {row.p99_ms:.1f} | {row.cpu_us:.0f} | {row.rss_mib:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in DISTRIBUTIONS},
    }


def full(options: argparse.Namespace, targets: Sequence[Target]) -> int:
    rows: list[Row] = []
    for revision in REVISIONS:
        for concurrency in options.concurrency:
            calls = max(options.calls if concurrency > 1 else options.calls // 4, concurrency)
            rows += measure(
                targets,
                revision=revision,
                concurrency=concurrency,
                calls=calls,
                rounds=options.rounds,
            )
            print(f"{revision}, {concurrency} callers: done", file=sys.stderr)
    facts = machine()
    print(
        f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, Python {facts['python']}, "
        f"medians of {options.rounds} rounds, SQLite synchronous=FULL, no wrong answer\n"
    )
    print(table(rows))
    print("\n" + json.dumps({**facts, "rows": [asdict(row) for row in rows]}))
    return 0


def short(options: argparse.Namespace, targets: Sequence[Target]) -> int:
    """Whether a call costs at most the limit. Noise only adds, so one round within it will do."""
    costs = []
    for _ in range(options.rounds):
        sample = load(targets[1], revision=REVISIONS[0], concurrency=16, calls=1_500)
        costs.append(sample.cpu_us)
        if sample.cpu_us <= options.limit:
            print(f"{sample.cpu_us:.0f} us of CPU a call, {sample.rss_mib:.0f} MiB")
            return 0
    print(f"A call costs {min(costs):.0f} us of CPU; at most {options.limit:.0f} are allowed")
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="only check the CPU of a call")
    parser.add_argument("--limit", type=float, default=SHORT_LIMIT, help="for --short, us a call")
    parser.add_argument("-c", "--concurrency", type=int, nargs="+", default=[1, 16])
    parser.add_argument("-n", "--calls", type=int, default=4_000, help="a round; a quarter at c=1")
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--peers", action="store_true", help="also the gateways of peers.py")
    parser.add_argument(
        "--loaded",
        type=int,
        nargs="?",
        const=burden.HISTORY,
        metavar="ROWS",
        help="also a gateway with many rules, servers, pending calls and so many rows of history",
    )
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signoff-bench-")))
        server = stack.enter_context(upstream())
        targets = [server, stack.enter_context(gateway(folder, server))]
        if options.short:
            return short(options, targets)
        if _nginx() is not None:
            targets.append(stack.enter_context(nginx(folder, server)))
        if options.loaded is not None:
            site = folder / "loaded"
            site.mkdir()
            targets.append(stack.enter_context(gateway(site, server, history=options.loaded)))
        if options.peers:
            targets += [stack.enter_context(start(folder, server.url)) for start in peers.PEERS]
        return full(options, targets)


if __name__ == "__main__":
    sys.exit(main())
