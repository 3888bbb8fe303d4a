"""policy: check, show, schema, explain, diff, import, backtest."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.cli.folder import Folder


def test_check_lists_every_error_and_is_exit_3(signoff: Command, folder: Folder) -> None:
    folder.policy(default="perhaps", colour="red")
    done = signoff("policy", "check")
    assert done.code == 3
    assert "error /default" in done.out
    assert "error /colour" in done.out


def test_check_of_a_good_policy_is_silent(signoff: Command, folder: Folder) -> None:
    folder.policy()
    done = signoff("policy", "check", "policy.json")
    assert (done.code, done.out, done.err) == (0, "", "policy.json: no errors, no warnings\n")


def test_check_speaks_json_and_github(signoff: Command, folder: Folder) -> None:
    folder.policy(default="perhaps")
    for argv in (("--json",), ("--format", "json")):
        shown = json.loads(signoff("policy", "check", *argv).out)
        assert (shown["schema"], shown["valid"]) == ("signoff.problems/1", False)
        assert shown["items"][0]["pointer"] == "/default"
    line = signoff("policy", "check", "--format", "github").out
    assert line.startswith("::error file=policy.json,title=/default::")


def test_a_file_that_is_not_there_is_exit_3(signoff: Command) -> None:
    done = signoff("policy", "check", "no.json")
    assert (done.code, done.err) == (3, "no.json cannot be read: No such file or directory\n")


def test_show_prints_the_normal_form(signoff: Command, folder: Folder) -> None:
    folder.policy(tools={"a": {"action": "allow"}, "b": {"rate_limit": "5/hour"}})
    shown = json.loads(signoff("policy", "show").out)
    assert shown["tools"]["a"] == {}
    assert shown["tools"]["b"]["limits"][0]["max"] == 5


def test_the_schema_is_printed(signoff: Command) -> None:
    assert json.loads(signoff("policy", "schema").out)["title"] == "Signoff policy"


def test_explain_traces_every_rule_with_values(signoff: Command, folder: Folder) -> None:
    folder.policy()
    out = signoff("policy", "explain", "refund", "--server", "s", "--args", '{"amount": 120}').out
    assert out.startswith("hold   refund on s\n")
    assert "/tools/refund/approve_if/0" in out
    assert "true: amount 120 > 100" in out
    shown = json.loads(signoff("policy", "explain", "drop", "--json").out)
    assert (shown["verdict"], shown["rule"]) == ("deny", "(default deny)")


def test_explain_says_how_a_held_call_would_read(signoff: Command, folder: Folder) -> None:
    summary = "Pay {args.amount|money:minor:EUR} with {args.card}"
    rule = {"summary": summary, "redact": ["args.card"], "require_approval": True}
    folder.policy(tools={"pay": rule})
    argv = ("policy", "explain", "pay", "--args", '{"amount": 120000, "card": "4111-1111"}')
    out = signoff(*argv).out
    assert "Pay €1,200.00 with “[redacted, 9 chars" in out
    told = json.loads(signoff(*argv, "--json").out)["headline"]
    assert told.startswith("Pay €1,200.00 with “[redacted, ")
    assert "4111-1111" not in out + told


def test_explain_says_what_is_left_of_a_limit(signoff: Command, folder: Folder) -> None:
    folder.policy()
    folder.grant = folder.granted("claude@laptop")
    argv = ("policy", "explain", "close", "--server", "s", "--grant", "claude@laptop", "--json")
    assert json.loads(signoff(*argv).out)["limits"][0]["left"] == "60"


@pytest.mark.parametrize("args", ["{", "[]", "1"])
def test_explain_refuses_arguments_that_are_no_object(
    signoff: Command, folder: Folder, args: str
) -> None:
    folder.policy()
    assert signoff("policy", "explain", "look", "--args", args).code == 2


def test_diff_is_in_words_and_ignores_spelling(signoff: Command, folder: Folder) -> None:
    old = folder.policy().rename(folder.path / "old.json")
    folder.policy(tools={"look": {"action": "deny", "reason": "No."}})
    out = signoff("policy", "diff", str(old), "policy.json").out
    assert 'look: added: denied always ("No.")' in out
    same = signoff("policy", "diff", "policy.json", "policy.json")
    assert (same.code, same.out) == (0, "")


YAML = """
version: "1"
default: deny
tools:
  create_charge:
    rules:
      - name: cap
        conditions: [{path: args.amount, op: lte, value: 500}]
        on_deny: Too much.
"""


def test_import_translates_and_never_overwrites(signoff: Command, tmp_path: Path) -> None:
    (tmp_path / "go.yaml").write_text(YAML)
    printed = json.loads(signoff("policy", "import", "go.yaml").out)
    assert printed["tools"]["create_charge"]["require"][0]["on_deny"] == "Too much."
    assert signoff("policy", "import", "go.yaml", "-o", "p.json").code == 0
    again = signoff("policy", "import", "go.yaml", "-o", "p.json")
    assert (again.code, "--force" in again.err) == (2, True)
    assert signoff("policy", "import", "go.yaml", "-o", "p.json", "--force").code == 0
    assert (tmp_path / "p.json.bak").exists()
    (tmp_path / "bad.yaml").write_text("- a\n")
    assert signoff("policy", "import", "bad.yaml").code == 3


def test_backtest_replays_the_history(signoff: Command, folder: Folder) -> None:
    folder.judged("refund", "allow", '{"amount":60}')
    folder.judged("refund", "allow", '{"amount":5}')
    folder.judged("look", "allow", "{}")
    folder.judged("drop", "deny", "{}", rule="(default deny)")
    held = {"conditions": [{"path": "args.amount", "op": "gt", "value": 50}], "reason": "Much."}
    folder.policy(tools={"refund": {"approve_if": [held]}, "drop": {}})
    out = signoff("policy", "backtest", "policy.json").out
    assert out.startswith("Of 4 calls since ")
    assert "1 newly held, 1 newly denied, 1 newly passed." in out
    shown = json.loads(signoff("policy", "backtest", "policy.json", "--json").out)
    assert [one["seq"] for one in shown["newly_held"]] == [1]
    assert [one["tool"] for one in shown["newly_denied"]] == ["look"]
    assert [one["tool"] for one in shown["newly_passed"]] == ["drop"]


def test_backtest_does_not_guess_at_masked_values(signoff: Command, folder: Folder) -> None:
    masked = '{"amount":5,"password":"[redacted, 8 chars, fp 1a2b3c4d]"}'
    folder.judged("refund", "allow", masked)
    reads = {"conditions": [{"path": "args.password", "op": "eq", "value": "x"}], "on_deny": "No."}
    folder.policy(tools={"refund": {"deny_if": [reads]}})
    done = signoff("policy", "backtest", "policy.json")
    assert "Not replayed: 1 calls, billing/refund (1)." in done.out
    other = {"conditions": [{"path": "args.amount", "op": "lt", "value": 9}], "on_deny": "No."}
    folder.policy(tools={"refund": {"deny_if": [other]}})
    shown = json.loads(signoff("policy", "backtest", "policy.json", "--json").out)
    assert (len(shown["newly_denied"]), shown["not_replayed"]) == (1, [])


def test_a_reviewers_denial_is_no_verdict_of_a_policy(signoff: Command, folder: Folder) -> None:
    folder.people(alice="approver")
    held = folder.held()
    signoff("deny", held.id, "--reason", "no")
    folder.policy()
    shown = json.loads(signoff("policy", "backtest", "policy.json", "--json").out)
    assert (shown["calls"], shown["held"], shown["newly_passed"]) == (1, 1, [])


def test_semantics_lists_the_calls_that_are_read_otherwise_now(
    signoff: Command, folder: Folder
) -> None:
    for args in ("{}", '{"env":"prod"}', '{"env":"staging"}', "{}"):
        folder.judged("deploy", "allow", args)
    unless = {"conditions": [{"path": "args.env", "op": "neq", "value": "staging"}]}
    folder.policy(tools={"deploy": {"approve_if": [unless]}})
    out = signoff("policy", "diff", "--semantics").out
    assert out.startswith("Of 4 calls since ")
    assert "2 are judged otherwise" in out
    assert "/tools/deploy/approve_if/0" in out
    shown = json.loads(signoff("policy", "diff", "policy.json", "--semantics", "--json").out)
    assert [(one["seq"], one["was"], one["verdict"]) for one in shown["items"]] == [
        (1, "allow", "hold"),
        (4, "allow", "hold"),
    ]
    assert signoff("policy", "diff", "a", "b", "--semantics").code == 2
    assert signoff("policy", "diff", "policy.json").code == 2


def test_check_knows_servers_and_pinned_arguments(signoff: Command, folder: Folder) -> None:
    definition = {
        "name": "refund",
        "description": "Refunds",
        "inputSchema": {"type": "object", "properties": {"amount": {"type": "number"}}},
    }

    folder.lists("billing", definition)
    (folder.path / "servers.json").write_text(
        '{"mcpServers": {"billing": {"url": "https://billing.example/mcp"}}}'
    )
    wrong = {"conditions": [{"path": "args.amout", "op": "lt", "value": 0}], "on_deny": "No."}
    folder.policy(tools={"refund": {"deny_if": [wrong]}}, servers={"biling": {}})
    shown = json.loads(signoff("policy", "check", "--json").out)
    assert shown["valid"]
    assert {one["pointer"]: one["write"] for one in shown["items"]} == {
        "/servers/biling": 'Did you mean "billing"?',
        "/tools/refund/deny_if/0/conditions/0": 'Did you mean "amount"?',
    }


def test_explain_says_where_the_risk_comes_from(signoff: Command, folder: Folder) -> None:
    folder.lists("s", {"name": "wipe", "description": "Deletes a folder.", "inputSchema": {}})
    folder.policy(tools={"wipe": {"require_approval": {"risk": "low"}}})
    argv = ("policy", "explain", "wipe", "--server", "s")
    assert "high: the tool's class says high, the rule says low" in signoff(*argv).out
    folder.policy(tools={"wipe": {"require_approval": {"risk": {"set": "low"}}}})
    assert "low, as the rule sets it; the tool's class says high" in signoff(*argv).out
    shown = json.loads(signoff(*argv, "--json").out)
    assert (shown["risk"], shown["tool_risk"]) == ("low", "high")
