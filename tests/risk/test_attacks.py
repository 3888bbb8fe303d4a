"""The attack catalogue is complete, sourced, and shown with the tools it concerns."""

from __future__ import annotations

from gateway.risk import Assessment, Category, Signal, attacks_for, catalogue, classify

NAMED = {
    "tool-poisoning",
    "rug-pull",
    "tool-shadowing",
    "cross-server-exfiltration",
    "confused-deputy",
    "argument-smuggling",
    "approval-fatigue",
    "lies-in-the-loop",
    "token-passthrough",
    "consent-padding",
    "hidden-characters",
    "duplicate-execution",
    "ssrf",
}


def test_every_attack_is_told_sourced_and_answered() -> None:
    attacks = catalogue()
    assert {a.id for a in attacks} >= NAMED
    assert len({a.id for a in attacks}) == len(attacks)
    for attack in attacks:
        assert attack.name
        assert attack.what
        assert attack.stopped_by
        assert attack.residual
        assert attack.classes
        assert attack.sources
        assert all(s.title and 1980 <= s.year <= 2026 for s in attack.sources)


def test_every_class_is_abused_by_something() -> None:
    assert {category for a in catalogue() for category in a.classes} == set(Category)


def test_an_attack_with_signals_is_shown_only_with_one_of_them() -> None:
    def ids(assessment: Assessment) -> set[str]:
        return {attack.id for attack in attacks_for(assessment)}

    properties = {"code": {"type": "string"}}
    runs = classify(
        {"name": "run", "description": "Run.", "inputSchema": {"properties": properties}}
    )
    assert Signal.FREEFORM_CODE in runs.signals
    assert {"argument-smuggling", "lies-in-the-loop", "tool-poisoning"} <= ids(runs)
    reads = classify({"name": "get_row", "description": "Get a row."})
    assert "lies-in-the-loop" not in ids(reads)
    assert "tool-poisoning" in ids(reads)
