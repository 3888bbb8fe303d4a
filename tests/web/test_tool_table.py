"""What the tables of tools say becomes of a call."""

from __future__ import annotations

import pytest

from gateway.admin.models import ToolLine
from web.views.tool_table import grouped


@pytest.mark.parametrize(
    ("verdict", "state", "word"),
    [
        ("allow", "accepted", "Passes freely"),
        ("allow", "changed", "Refused until settled"),
        ("hold", "changed", "Refused until settled"),
        ("deny", "changed", "Refused"),
        ("hidden", "changed", "Hidden"),
    ],
)
def test_a_tool_whose_definition_changed_is_not_said_to_pass(
    verdict: str, state: str, word: str
) -> None:
    line = ToolLine(
        server="crm",
        name="look",
        description="",
        risk="high",
        kind="write",
        verdict=verdict,
        rule="/tools/look",
        changed=state == "changed",
    )
    assert grouped([line], {})[0].tools[0].word == word
