"""Random policies and arguments for hypothesis: small alphabets, so that rules and calls meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from gateway.policy.conditions import OPERATORS

NAMES = ["t", "tt", "pay"]
PATTERNS = [*NAMES, "t*", "?", "*y", "*"]
KEYS = ["a", "b", "items"]
PATHS = [
    "args.a",
    "args.b",
    "args.a.b",
    "args.items[0]",
    "args.items[*]",
    "args.items[*].a",
    "args.items[*].items[*]",
]
FACT_PATHS = ["tool.annotations.readOnlyHint", "tool.risk", "client.name", "session.calls"]

numbers = st.one_of(
    st.integers(-3, 3), st.sampled_from([0.1, 0.5, -0.0, 2**53 + 1, 1e23, 10**23]), st.integers()
)
texts = st.sampled_from(["", "a", "b", "ab", "high", "é", "claude-code"])
scalars = st.one_of(numbers, texts, st.booleans())
leaves = st.one_of(scalars, st.none(), st.floats(), st.text(max_size=3))
json_values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=8,
)
arguments = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    op = draw(st.sampled_from(OPERATORS))
    value: Any
    if op == "exists":
        value = draw(st.booleans())
    elif op in ("lt", "lte", "gt", "gte"):
        value = draw(numbers)
    elif op in ("in", "not_in"):
        value = draw(st.lists(scalars, min_size=1, max_size=3))
    elif op in ("regex", "not_regex"):
        value = draw(st.sampled_from(["a", "^b", "", "[ab]+$", "."]))
    elif op in ("starts_with", "ends_with"):
        value = draw(st.sampled_from(["a", "b", "ab"]))
    else:
        value = draw(scalars)
    path = draw(st.sampled_from([*PATHS, *FACT_PATHS]))
    match = draw(st.sampled_from([None, "every", "any"])) if "[*]" in path else None
    return {"path": path, "op": op, "value": value} | ({"match": match} if match else {})


def rules(least: int = 0) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({"conditions": st.lists(conditions(), min_size=least, max_size=2)}),
        max_size=2,
    )


limits = st.lists(
    st.fixed_dictionaries(
        {
            "counter": st.sampled_from(["c", "d"]),
            "window": st.just("minute"),
            "max": st.integers(0, 5),
            "scope": st.just("grant"),
        },
        optional={"increment_from": st.sampled_from(["args.a", "args.items[0]"])},
    ),
    max_size=2,
)
hold_rules = st.lists(
    st.fixed_dictionaries(
        {"conditions": st.lists(conditions(), max_size=2)},
        optional={
            "reviewers": st.lists(st.sampled_from(["x", "y"]), min_size=1, unique=True),
            "quorum": st.integers(1, 2),
            "expires": st.sampled_from(["5m", 90]),
            "editable": st.just(["args.a"]),
            "summary": st.just("Do {args.a|money:minor} with {args.b}"),
            "risk": st.sampled_from(["low", "critical", {"set": "low"}, {"set": "medium"}]),
        },
    ),
    max_size=2,
)
all_tools = st.fixed_dictionaries(
    {},
    optional={
        "deny_if": rules(1),
        "require": rules(1),
        "approve_if": hold_rules,
        "require_approval": st.booleans(),
        "limits": limits,
    },
)
entries = st.one_of(
    all_tools,
    st.just({}),
    st.just({"action": "deny", "reason": "No."}),
    st.just({"action": "require_approval"}),
    st.just({"effect": "e:{args.a}"}),
    st.just({"summary": "Do {args.a}", "require_approval": True}),
    st.just({"effect": "e:{args.a}", "effect_for": "90m", "effect_again": "ask"}),
    st.just({"rate_limit": "3/hour"}),
)
tools = st.dictionaries(st.sampled_from(PATTERNS), entries, min_size=1, max_size=4)
defaults = st.sampled_from(["allow", "deny", "require_approval"])
sections = st.fixed_dictionaries(
    {},
    optional={
        "default": defaults,
        "hide": st.sampled_from([[], [], ["?"], ["pay"]]),
        "all_tools": all_tools,
        "tools": tools,
    },
)
documents = st.builds(
    lambda default, section, servers: {
        "version": "1",
        **section,
        "default": default,
        **({"servers": {"srv": servers}} if servers else {}),
    },
    defaults,
    sections,
    st.one_of(st.none(), sections),
)
