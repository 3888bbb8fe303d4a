"""Names of several servers' tools: one name each, and back."""

from __future__ import annotations

import pytest

from gateway.relay.aggregate.names import LONGEST, Names
from gateway.relay.aggregate.resource_owners import Ambiguous, ResourceOwners, fits


def back(names: Names, server: str, tool: str) -> tuple[str, str] | None:
    return names.tool(names.joined(server, tool), lambda one: {tool} if one == server else set())


def test_a_name_that_reads_as_another_servers_gets_another_name() -> None:
    names = Names(["a", "a__b"], "__")
    assert names.joined("a__b", "c") == "a__b__c"
    other = names.joined("a", "b__c")
    assert other != "a__b__c"
    assert back(names, "a", "b__c") == ("a", "b__c")
    assert back(names, "a__b", "c") == ("a__b", "c")


@pytest.mark.parametrize("tool", ["x" * 128, "y", "z__z", "t.o-o_l"])
@pytest.mark.parametrize("server", ["s" * 64, "git", "a_", "a__"])
def test_every_name_is_short_enough_and_leads_back(server: str, tool: str) -> None:
    names = Names(["s" * 64, "git", "a_", "a__", "a"], "__")
    joined = names.joined(server, tool)
    assert len(joined) <= LONGEST
    assert back(names, server, tool) == (server, tool)


def test_no_servers_tool_takes_the_name_of_the_way_back() -> None:
    names = Names(["signoff"], "_")
    assert names.joined("signoff", "await_approval") != "signoff_await_approval"


def test_a_tool_nobody_knows_is_its_servers_to_judge() -> None:
    assert Names(["git"], ".").tool("git.unheard", lambda _: ()) == ("git", "unheard")


@pytest.mark.parametrize(
    ("template", "uri", "expected"),
    [
        ("test://t/{id}/data", "test://t/7/data", True),
        ("test://t/{id}/data", "test://t/7/other", False),
        ("file:///{+path}", "file:///a/b", True),
        ("file:///{+path}", "git:///a/b", False),
        ("a://b", "a://b", True),
        ("a://b", "a://bc", False),
        ("{a}{b}", "anything", True),
        ("x{a}xx", "xx", False),
    ],
)
def test_a_uri_fits_a_template_when_its_fixed_parts_stand_in_it(
    template: str, uri: str, *, expected: bool
) -> None:
    assert fits(template, uri) is expected


def listing(**templates: str) -> dict[str, list[dict[str, str]]]:
    return {server: [{"uriTemplate": one}] for server, one in templates.items()}


@pytest.mark.parametrize("first", ["evil", "bank"])
def test_a_template_that_fits_everything_gets_nothing_that_another_speaks_of(first: str) -> None:
    owners = ResourceOwners()
    lists = listing(evil="{+any}", bank="bank://statement/{id}")
    owners.templates("g", {name: lists[name] for name in sorted(lists, key=lambda n: n != first)})
    assert owners.owner("g", "bank://statement/7") == "bank"
    assert owners.owner("g", "bank://statement/{id}") == "bank"
    assert owners.owner("g", "other://7") == "evil"


@pytest.mark.parametrize("theirs", ["bank://statement/{id}", "bank://statement/{+all}"])
def test_a_uri_that_two_servers_claim_equally_well_is_nobodys(theirs: str) -> None:
    owners = ResourceOwners()
    shown = owners.templates("g", listing(evil=theirs, bank="bank://statement/{id}"))
    assert owners.owner("g", "bank://statement/7") == Ambiguous(("bank", "evil"))
    assert len({one["uriTemplate"] for one in shown}) == len(shown)
    owners.resources("g", {"bank": [{"uri": "bank://statement/7"}]})
    assert owners.owner("g", "bank://statement/7") == "bank"  # it is listed by name
