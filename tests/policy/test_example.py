"""The example at the root says what people copy: its patterns let no spelling through."""

from __future__ import annotations

import pytest

from gateway.policy.document import load
from gateway.policy.rules import Policy
from tests.policy.asking import ask, word
from tests.support.live_gateway import ROOT


@pytest.fixture(scope="module")
def example() -> Policy:
    return load((ROOT / "policy.json").read_bytes())


@pytest.mark.parametrize(
    "to",
    [
        "a@competitor.example",
        "A@Competitor.EXAMPLE",
        "Ann <a@competitor.example>",
        "a@competitor.example ",
        "a@competitor.example\n",
        "b@friend.example\r\na@competitor.example\r\nc@friend.example",
        "a@competitor.example, b@friend.example",
        "a@mail.competitor.example",
        "a@competitor.example.",
        "<a@competitor.example> (Ann)",
    ],
)
def test_no_spelling_of_an_address_passes(example: Policy, to: str) -> None:
    assert word(ask(example, "send_email", {"to": ["b@friend.example", to]})) == "deny"
    assert word(ask(example, "send_email", {"to": to})) == "deny"


@pytest.mark.parametrize("to", ["a@friend.example", "a@notcompetitor.example"])
def test_other_addresses_pass(example: Policy, to: str) -> None:
    assert word(ask(example, "send_email", {"to": [to]})) == "allow"


@pytest.mark.parametrize(
    "query", ["drop table x", "DROP\n TABLE x", "drop /* ; */ table x", "drop --\ntable x"]
)
def test_no_spelling_of_dropping_a_table_passes(example: Policy, query: str) -> None:
    assert word(ask(example, "list_customers", {"query": query})) == "deny"
    assert word(ask(example, "list_customers", {"query": "drop the tablecloth"})) == "allow"
