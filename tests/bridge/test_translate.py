"""The words of one era in those of the other, where no real server says them."""

from __future__ import annotations

import pytest

from gateway.relay.bridge import translate
from gateway.relay.bridge.legacy_client import LegacyClients
from gateway.relay.bridge.messages import decoded, encoded


def test_unknown_members_and_long_numbers_cross() -> None:
    given = {"content": [{"type": "future", "n": 2**80}], "structuredContent": 1, "own": None}
    crossed = translate.modern_result(decoded(encoded(given)) or {}, "tools/call", None)
    assert crossed == {"resultType": "complete", **given}
    assert translate.legacy_result(crossed, "tools/call") == given


def test_the_envelope_stays_and_other_metadata_passes() -> None:
    meta = {f"{translate.OWN}protocolVersion": "2026-07-28", "traceparent": "t", "progressToken": 3}
    found = translate.legacy_params({"name": "a", "requestState": "s", "_meta": meta}, 9)
    assert found == {"name": "a", "_meta": {"traceparent": "t", "progressToken": 9}}


def test_a_missing_resource_has_the_code_of_its_revision() -> None:
    error = {"code": -32002, "message": "Resource not found", "data": {"uri": "a"}}
    assert translate.modern_error(error) == {**error, "code": -32602}


@pytest.mark.parametrize(
    ("least", "heard"), [(None, []), ("debug", ["debug", "error"]), ("warning", ["error"])]
)
def test_only_log_lines_that_were_asked_for_are_heard(least: str | None, heard: list[str]) -> None:
    levels = ["debug", "error", "unheard of"]
    assert [each for each in levels if translate.loud_enough(each, least)] == heard


@pytest.mark.parametrize(
    ("declared", "params", "may"),
    [
        ({}, {}, False),
        ({"elicitation": {}}, {}, True),
        ({"elicitation": {}}, {"mode": "url"}, False),
        ({"elicitation": {"url": {}}}, {"mode": "url"}, True),
        ({"elicitation": {"url": {}}}, {"mode": "form"}, False),
    ],
)
def test_a_client_is_asked_only_in_the_ways_it_declared(
    declared: dict[str, object],
    params: dict[str, object],
    may: bool,  # noqa: FBT001
) -> None:
    assert translate.may_ask("elicitation/create", declared, params) is may


def test_tasks_are_not_promised_across_the_bridge() -> None:
    extensions = {"io.modelcontextprotocol/tasks": {}, "vendor/ui": {"a": 1}}
    declared = {"tasks": {}, "roots": {"listChanged": True}, "extensions": extensions}
    kept = {"roots": {}, "extensions": {"vendor/ui": {"a": 1}}}
    assert translate.client_capabilities(declared) == kept
    offered = {"tasks": {}, "tools": {"listChanged": True}, "extensions": extensions}
    assert translate.server_capabilities(offered, notices=False) == {
        "tools": {},
        "extensions": {"vendor/ui": {"a": 1}},
    }


def test_a_session_says_what_its_client_declared_and_no_more_than_fits() -> None:
    clients = LegacyClients()
    small = clients.new({"elicitation": {"form": {}}}, {"name": "n", "version": "1"})
    known = LegacyClients().find(small)  # of another process
    assert known is not None
    assert (known.capabilities, known.info["name"]) == ({"elicitation": {"form": {}}}, "n")
    large = clients.new({"sampling": {}, "experimental": {"x": "y" * 5_000}}, {})
    found = clients.find(large)
    assert found is not None
    assert found.capabilities == {"sampling": {}}
    assert clients.find("bridged.made.up") is None
