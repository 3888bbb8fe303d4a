"""What an allowed call costs here and in another checkout, as a pair of one session.

make bench-pair OTHER=../before, or: python tests/bench/pair.py ../before [--rounds 11]
OTHER is a checkout with an environment of its own (`.venv`). This checkout runs twice: the two
differ by nothing, so their spread is what the machine adds. The three take turns in every round;
what counts is CPU per call. A change is "at most N % dearer" if its difference is below N % or
below that spread.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from tests.bench.bench import POLICY, REVISIONS, load, machine, upstream
from tests.bench.target import Target
from tests.support.live_gateway import DEPLOYED, ROOT, Site

ANSWERS = {"JSON": "/mcp", "event stream": "/sse"}


@contextmanager
def gateway(folder: Path, name: str, checkout: Path, server: str) -> Iterator[list[Target]]:
    """The checkout's gateway, once for each kind of answer."""
    folder.mkdir()
    site = Site(
        folder, DEPLOYED, forked=False, signoff=(str(checkout / ".venv" / "bin" / "signoff"),)
    )
    site.policy(tools=POLICY)
    root = server.removesuffix("/mcp")
    site.servers(**{f"s{at}": {"url": root + path} for at, path in enumerate(ANSWERS.values())})
    token = json.loads(site.run("grant", "create", "bench", "--json").stdout)["token"]
    site.start()
    assert site.process is not None
    try:
        yield [
            Target(name, f"{site.url}/mcp/s{at}", site.process.pid, token)
            for at in range(len(ANSWERS))
        ]
    finally:
        site.stop()


def compare(targets: Sequence[Target], *, revision: str, calls: int, rounds: int) -> str:
    """One line: microseconds of CPU per call, what that is against the other, and the spread."""
    costs: list[list[float]] = [[] for _ in targets]
    for number in range(rounds):
        order = range(len(targets)) if number % 2 else reversed(range(len(targets)))
        for at in order:
            sample = load(targets[at], revision=revision, concurrency=16, calls=calls)
            costs[at].append(sample.cpu_us)
    before, now, again = (median(one) for one in costs)
    difference = median(
        100 * (one / base - 1) for base, one in zip(costs[0], costs[1], strict=True)
    )
    spread = abs(median(100 * (two / one - 1) for one, two in zip(costs[1], costs[2], strict=True)))
    return f"{before:.0f} | {now:.0f} | {again:.0f} | {difference:+.1f} % | {spread:.1f} %"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout with its .venv")
    parser.add_argument("-n", "--calls", type=int, default=3_000, help="a round")
    parser.add_argument("-r", "--rounds", type=int, default=11)
    options = parser.parse_args()
    checkouts = {"before": options.other.resolve(), "now": ROOT, "again": ROOT}
    facts = machine()
    print(f"{facts['date']}, {facts['processor']}, load {facts['load_average']}, "
          f"{options.rounds} rounds of {options.calls} calls, 16 callers\n")  # fmt: skip
    print("| revision | answer | before, us | now, us | again, us | now : before | spread |")
    print("|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="signoff-pair-")))
        server = stack.enter_context(upstream())
        all_targets = [
            stack.enter_context(gateway(folder / name, name, checkout, server.url))
            for name, checkout in checkouts.items()
        ]
        for revision in REVISIONS:
            for answer, targets in zip(ANSWERS, zip(*all_targets, strict=True), strict=True):
                line = compare(
                    targets, revision=revision, calls=options.calls, rounds=options.rounds
                )
                print(f"| {revision} | {answer} | {line} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
