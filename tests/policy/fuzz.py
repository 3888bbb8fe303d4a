"""Feeds the loader, the judge and the importer with mutated policies for a while.

    .venv/bin/python tests/policy/fuzz.py [SECONDS]

Prints what broke, with its seed, and exits 1; a quiet run prints one line.
"""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from gateway.policy.document import PolicyInvalid, check, load
from gateway.policy.explain import explain
from gateway.policy.facts import GrantFacts, ToolFacts
from gateway.policy.importing import BadYaml, import_rules
from gateway.policy.rules import Policy
from tests.policy.asking import call

ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, "", "*", "args.a", "args.a[*].b", "deny", "1h", "5/hour",
    "gt", [], {}, [[]], {"a": {}}, "(", "\x00", "é\U0001f600", "a" * 2000, ["alice"], "tool.risk",
]  # fmt: skip
KEYS = ["conditions", "path", "op", "value", "limits", "deny_if", "t", "action", "rate_limit", "x"]


def parts(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below the value."""
    found: list[tuple[Any, Any]] = []
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in list(keys):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            found += parts(value[key])
    return found


def mutate(document: Any, chance: random.Random) -> Any:
    changed = json.loads(json.dumps(document))
    for _ in range(chance.randint(1, 3)):
        places = parts(changed)
        if not places:
            return changed
        container, key = chance.choice(places)
        match chance.randint(0, 3):
            case 0:
                container[key] = chance.choice(ODD)
            case 1:
                other, at = chance.choice(places)
                container[key] = json.loads(json.dumps(other[at]))
            case 2 if isinstance(container, dict):
                container[chance.choice(KEYS)] = container.pop(key)
            case _:
                del container[key]
    return changed


def text_of(document: Any, chance: random.Random) -> bytes:
    text = bytearray(json.dumps(document, ensure_ascii=False).encode("utf-8", "replace"))
    if chance.random() < 0.3:  # now and then the bytes themselves
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text) + 1)
            text[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    return bytes(text)


def try_one(seed: int, example: Any) -> bool:
    """One document through everything; whether it loaded."""
    chance = random.Random(seed)
    text = text_of(mutate(example, chance), chance)
    check(text)
    if chance.random() < 0.05:  # YAML is slow to read
        with contextlib.suppress(BadYaml):
            import_rules(text.decode("utf-8", "replace"))
    policy: Policy | None = None
    with contextlib.suppress(PolicyInvalid):
        policy = load(text)
    if policy is None:
        return False
    load(json.dumps(policy.normal).encode())
    for tool in ("create_charge", "get_x", "t", "delete_x", "send_email", "no such"):
        args = {key: chance.choice(ODD) for key in ("a", "amount", "currency", "to", "order_id")}
        facts = ToolFacts(annotations={"destructiveHint": chance.choice(ODD)})
        explain(policy, call(tool, server="live2d"), tool=facts, grant=GrantFacts(), args=args)
    return True


def main(seconds: float) -> int:
    example = json.loads((Path(__file__).parents[2] / "policy.json").read_bytes())
    until = time.monotonic() + seconds
    start = seed = time.time_ns()
    good = 0
    while time.monotonic() < until:
        try:
            good += try_one(seed, example)
        except BaseException:
            print(f"seed {seed}", file=sys.stderr)
            raise
        seed += 1
    print(f"{seed - start} documents, {good} of them loaded and judged, nothing broke")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10))
