"""The named traps, the order of evidence, and hostile definitions."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.risk import Assessment, Category, Signal, classify
from gateway.risk.words import MONEY, SKIPPED, VERBS


def tool(name: str, description: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}, **more}


def takes(*names: str, **schemas: Any) -> dict[str, Any]:
    properties = {name: {"type": "string"} for name in names} | schemas
    return {"inputSchema": {"type": "object", "properties": properties}}


def test_close_session_without_a_description_is_other_and_low() -> None:
    assert classify(tool("close_session")) == Assessment(
        category=Category.OTHER,
        risk="low",
        confidence="low",
        rationale="Other: no description, and the name is not enough.",
        signals=(Signal.NO_DESCRIPTION,),
    )


@pytest.mark.parametrize("description", ["", "Handles it."])
@pytest.mark.parametrize(
    "name",
    ["manage_notification_subscription", "get_refund", "list_subscription_plans", "pricing"],
)
def test_a_money_noun_without_a_verb_that_moves_money_is_not_financial(
    name: str, description: str
) -> None:
    assert classify(tool(name, description)).category is not Category.FINANCIAL


@pytest.mark.parametrize("description", ["", "Handles it."])
@pytest.mark.parametrize("name", ["tf_apply", "git_commit", "browser_click"])
def test_a_verb_at_the_end_of_a_name_is_found(name: str, description: str) -> None:
    assert classify(tool(name, description)).category is not Category.OTHER


def test_wait_for_is_not_execute() -> None:
    assert classify(tool("wait_for")).category is Category.OTHER
    assert classify(tool("wait_for", "Wait for text to appear.")).category is Category.READ


@pytest.mark.parametrize("name", ["validate_export", "validateConfig", "validate-schema"])
def test_validate_is_not_write(name: str) -> None:
    assert classify(tool(name)).category is Category.OTHER
    assert classify(tool(name, "Validates the given file.")).category is Category.READ


@pytest.mark.parametrize(
    "name",
    [
        "send_funds",
        "create_refund",
        "transferFunds",
        "pay-invoice",
        "payments.payout",
        "wallet_withdraw",
        "initiate_transfer",
        "charge_customer",
        "capture_payment",
        "buyStock",
        "exercise_options",
    ],
)
def test_a_verb_that_moves_money_is_financial_and_critical(name: str) -> None:
    found = classify(tool(name, "Does it."))
    assert (found.category, found.risk) == (Category.FINANCIAL, "critical")


def test_an_order_is_financial_on_a_market_only() -> None:
    trade = tool("create_order", "Create a new order.", **takes("symbol", "side", "quantity"))
    rows = tool("create_order", "Stores the order of the columns.", **takes("columns"))
    assert classify(trade).category is Category.FINANCIAL
    assert classify(rows).category is Category.WRITE


def test_transferring_an_issue_moves_no_money() -> None:
    assert classify(tool("transfer_issue", "Move an issue.")).category is Category.WRITE


@pytest.mark.parametrize(
    "name",
    ["delete_user", "deleteUser", "delete-user", "users.delete", "API-delete-a-user", "userDelete"],
)
def test_snake_camel_kebab_and_dotted_names_read_the_same(name: str) -> None:
    assert classify(tool(name, "Handles it.")).category is Category.DESTRUCTIVE


def test_the_most_severe_of_several_verbs_wins() -> None:
    assert classify(tool("get_and_delete_row", "Handles it.")).category is Category.DESTRUCTIVE
    several = tool("row", "Create, update or delete a row.")
    assert classify(several).category is Category.DESTRUCTIVE
    hidden = tool("get_weather", "Deletes all forecasts.")
    assert classify(hidden).category is Category.DESTRUCTIVE


def test_the_choices_of_an_action_count_as_what_the_tool_can_do() -> None:
    action = {"type": "string", "enum": ["list", "create", "delete"]}
    found = classify(tool("manage_rows", "Manage rows.", **takes(action=action)))
    assert found.category is Category.DESTRUCTIVE
    assert found.rationale == 'Destructive: its choices of action include "delete".'


def test_annotations_raise() -> None:
    hint = tool("update_row", "Update a row.", annotations={"destructiveHint": True})
    assert classify(hint).category is Category.DESTRUCTIVE
    assert "destructiveHint" in classify(hint).rationale
    changes = tool("get_row", "Get a row.", annotations={"readOnlyHint": False})
    assert classify(changes).category is Category.WRITE


def test_annotations_never_lower() -> None:
    hints = {"readOnlyHint": True, "destructiveHint": False, "openWorldHint": False}
    found = classify(tool("delete_row", "Delete a row.", annotations=hints))
    assert (found.category, found.risk) == (Category.DESTRUCTIVE, "critical")
    assert found.confidence == "low"
    assert Signal.CONTRADICTION in found.signals


def test_no_annotation_makes_an_unknown_tool_a_reading_one() -> None:
    assert classify(tool("zzz", "Zzz.", annotations={"readOnlyHint": True})).category is (
        Category.OTHER
    )


def test_an_empty_description_lowers_confidence_but_hides_no_severe_verb() -> None:
    bare, told = classify(tool("delete_row")), classify(tool("delete_row", "Delete a row."))
    assert (bare.category, bare.confidence) == (Category.DESTRUCTIVE, "low")
    assert (told.category, told.confidence) == (Category.DESTRUCTIVE, "high")


def test_what_cannot_be_undone_is_destructive_unless_it_is_denied() -> None:
    said = classify(tool("close_account", "Close an account. This cannot be undone."))
    assert (said.category, said.risk) == (Category.DESTRUCTIVE, "critical")
    denied = classify(tool("update_account", "Update it. Does not permanently remove anything."))
    assert denied.category is Category.WRITE


@pytest.mark.parametrize(
    ("parameter", "signal"),
    [
        ("file_path", Signal.FILE_PATH),
        ("code", Signal.FREEFORM_CODE),
        ("sql", Signal.FREEFORM_CODE),
        ("apiKey", Signal.CREDENTIAL),
        ("access_token", Signal.CREDENTIAL),
        ("recipients", Signal.EXTERNAL_RECIPIENT),
        ("url", Signal.OPEN_WORLD),
        ("amount", Signal.AMOUNT),
    ],
)
def test_parameters_give_signals(parameter: str, signal: Signal) -> None:
    found = classify(tool("update_row", "Update a row.", **takes(parameter)))
    assert signal in found.signals


def test_sending_reaches_other_people_and_is_high() -> None:
    found = classify(tool("send_message", "Send a message."))
    assert (found.category, found.risk) == (Category.WRITE, "high")
    assert Signal.EXTERNAL_RECIPIENT in found.signals


def test_a_page_token_is_no_credential() -> None:
    assert Signal.CREDENTIAL not in classify(tool("list", "List.", **takes("page_token"))).signals


def test_bulk_many_parameters_and_open_world_are_signals() -> None:
    ids = {"type": "array", "items": {"type": "string"}}
    many = takes(*(f"p{n}" for n in range(13)), user_ids=ids)
    found = classify(tool("x", "Update.", annotations={"openWorldHint": True}, **many))
    assert {Signal.BULK, Signal.MANY_PARAMETERS, Signal.OPEN_WORLD} <= set(found.signals)


def test_code_runs_unless_it_is_only_looked_at() -> None:
    assert classify(tool("x", "Zzz.", **takes("code"))).category is Category.EXECUTE
    lint = classify(tool("validate_code", "Validate code.", **takes("code")))
    assert (lint.category, lint.risk) == (Category.READ, "medium")


def test_hidden_characters_raise_the_risk_and_stay_out_of_the_rationale() -> None:
    plain = classify(tool("get_row", "Get a row."))
    found = classify(tool("get_row", "Get a row.\u200b\U000e0041"))
    assert (plain.risk, found.risk) == ("low", "medium")
    assert Signal.HIDDEN_CHARACTERS in found.signals
    assert found.rationale.isascii()


@pytest.mark.parametrize(
    "definition",
    [
        None,
        [],
        "delete",
        7,
        {},
        {"name": 7},
        {"name": None, "description": ["x"]},
        {"name": "delete_row", "inputSchema": "x", "annotations": [1]},
        {"name": "x", "inputSchema": {"properties": [1, 2]}},
        {"name": "x", "inputSchema": {"properties": {"a": None, "b": {"enum": 3, "items": 4}}}},
        {"name": "x", "annotations": {"readOnlyHint": "no", "destructiveHint": 1}},
        {"name": "\x00\ud800\u202e", "description": "\ud800"},
    ],
)
def test_a_malformed_definition_is_assessed_without_raising(definition: object) -> None:
    found = classify(definition)
    assert found.confidence == "low"
    assert found.rationale


def test_a_huge_definition_is_cut_and_read_once() -> None:
    properties = {f"p{n}": {"description": "d" * 10_000} for n in range(5_000)}
    huge = {
        "name": "deleteX" * 100_000,
        "description": "delete, and " * 500_000,
        "inputSchema": {"properties": properties},
    }
    began = time.process_time()
    found = classify(huge)
    assert (
        time.process_time() - began < 20
    )  # seconds of CPU: 6 MB read more than once would take minutes
    assert found.category is Category.DESTRUCTIVE
    assert Signal.MALFORMED in found.signals


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


_WORDS = st.lists(
    st.sampled_from(
        [*sorted(VERBS), *sorted(SKIPPED), *sorted(MONEY), "and", ",", ".", "\n\n", "x"]
    )
).map(" ".join)


@given(_WORDS, _WORDS)
def test_any_wording_is_assessed_without_raising(name: str, description: str) -> None:
    assert classify(tool(name, description)).rationale.endswith(".")


@given(_JSON, _JSON, _JSON, _JSON)
def test_classification_never_raises_and_is_repeatable(
    name: Any, description: Any, schema: Any, annotations: Any
) -> None:
    definition = {
        "name": name,
        "description": description,
        "inputSchema": schema,
        "annotations": annotations,
    }
    assert classify(definition) == classify(definition)
    nested = {"inputSchema": {"properties": schema}}
    assert classify(definition | nested) == classify(definition | nested)
