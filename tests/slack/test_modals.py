"""Denying with a reason, asking for a change, changing arguments; App Home and /approvals."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from approvals.model import Approval, Call, Choice, Reviewer, State, Terms, Vote
from approvals.phrases import ASKED, PRESETS
from approvals.record.transaction import Transaction
from approvals.slack.limits import check
from tests.slack.app_bench import Bench, bench
from tests.support.fake_slack.message import Fault
from tests.support.fake_slack.payloads import click, command, from_home, home_opened, submit
from tests.support.fake_slack.people import Person
from tests.support.fake_slack.rules import wrong_blocks, wrong_view

Json = dict[str, Any]


def judge(tx: Transaction, call: Call, *, held: Approval) -> str | None:
    """Stands for the guard, which has tests of its own."""
    assert held.call.tool == call.tool
    amount = json.loads(call.arguments)["amount"]
    return "The policy denies it." if amount > 1_000_000 else None


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path, judge_again=judge) as made:
        yield made


async def modal(there: Bench, held: Approval, action: str, user: str = "U1") -> Json:
    """The modal that this button opens, as Slack keeps it."""
    before = len(there.slack.called("views.open"))
    await there.press(click(there.slack, held, action, user))
    assert len(there.slack.called("views.open")) == before + 1, there.whispered()
    view = dict(there.slack.called("views.open")[-1].params["view"])
    assert wrong_view(view) == []
    return view


async def submitted(
    there: Bench, view: Json, user: str = "U1", **values: str | None
) -> Mapping[str, Any] | None:
    """The acknowledgement of a modal sent off."""
    return await there.press(submit(there.slack, view, values, user))  # type: ignore[no-any-return]


async def reason(there: Bench, held: Approval) -> tuple[State, str, str]:
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    return found.state, found.reason, found.decided_by


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"preset": PRESETS[1]}, PRESETS[1]),
        ({"reason": " Wrong customer. "}, "Wrong customer."),
        ({"preset": PRESETS[1], "reason": "Use cus_2"}, "Use cus_2"),
    ],
    ids=str,
)
async def test_a_denial_carries_its_reason(
    there: Bench, values: dict[str, str], expected: str
) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    assert await submitted(there, view, **values) is None
    assert await reason(there, held) == (State.DENIED, expected, "alice")


@pytest.mark.parametrize("values", [{}, {"reason": "   "}, {"preset": "Approved by security"}])
async def test_a_denial_without_a_reason_stays_open_with_an_error(
    there: Bench, values: dict[str, str]
) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    answer = await submitted(there, view, **values)
    assert answer is not None
    assert (answer["response_action"], list(answer["errors"])) == ("errors", ["reason"])
    assert await there.state(held) is State.PENDING


async def test_asking_for_a_change_is_a_denial_that_says_what_to_change(there: Bench) -> None:
    held = there.held()
    view = await modal(there, held, "approval.ask")
    assert (await submitted(there, view, reason=None) or {})["response_action"] == "errors"
    await submitted(there, view, reason="Split it in two.")
    assert await reason(there, held) == (State.DENIED, ASKED + "Split it in two.", "alice")


async def test_a_reason_that_is_no_utf8_is_kept_readable(there: Bench) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    payload = submit(there.slack, view, {"reason": "no \ud800\x00 way"})
    await there.press(payload)
    assert (await reason(there, held))[:2] == (State.DENIED, "no ? way")


async def test_whoever_may_not_decide_gets_no_form(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    held = there.held(editable=("args.amount",))
    for action in ("approval.deny", "approval.ask", "approval.edit"):
        await there.press(click(there.slack, held, action, "U4"))
    assert there.slack.called("views.open") == []


@pytest.mark.parametrize("action", ["approval.deny", "approval.ask", "approval.edit"])
async def test_a_button_of_another_call_opens_no_form(there: Bench, action: str) -> None:
    held = there.held(editable=("args.amount",))
    await there.press(click(there.slack, held, action, value=f"v1|{held.id}|1|000000000000"))
    assert there.slack.called("views.open") == []
    assert "was changed after this was shown" in there.whispered()[0]


async def test_the_person_is_checked_again_when_the_form_comes_back(there: Bench) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    there.slack.people["U1"].deleted = True
    await submitted(there, view, reason="no")
    assert await there.state(held) is State.PENDING
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    await submitted(there, view, "U4", reason="no")
    assert await there.state(held) is State.PENDING
    assert len(there.whispered()) == 2


async def test_a_form_that_comes_back_late_decides_nothing(there: Bench) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    bob = Reviewer(id="bob", role="approver")
    await there.scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=bob, choice=Choice.APPROVE, via="page")
    )
    await submitted(there, view, reason="no")
    assert await there.state(held) is State.APPROVED
    assert "it was approved by bob via page" in there.whispered()[0]


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", "7", '{"value": 1}', '{"value": "v1|apr_x|1|zz"}', '{"value": null}'],
)
async def test_metadata_that_is_not_ours_decides_nothing(there: Bench, metadata: str) -> None:
    held = there.held()
    view = await modal(there, held, "approval.deny")
    answer = await submitted(there, {**view, "private_metadata": metadata}, reason="no")
    assert (answer or {}).get("response_action") == "errors"
    assert await there.state(held) is State.PENDING


async def test_changed_arguments_make_a_new_revision_that_still_waits(there: Bench) -> None:
    held = there.held(editable=("args.amount",))
    view = await modal(there, held, "approval.edit")
    box = view["blocks"][1]["element"]
    assert json.loads(box["initial_value"]) == {"amount": 120000}
    assert await submitted(there, view, arguments='{"amount": 5}') is None
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert (found.state, found.revision) == (State.PENDING, 2)
    assert json.loads(found.call.arguments) == {"amount": 5, "customer": "cus_1"}
    await there.press(click(there.slack, held, "approval.approve"))  # the old card
    assert await there.state(held) is State.PENDING
    await there.press(click(there.slack, found, "approval.approve"))
    assert await there.state(held) is State.APPROVED


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ('{"amount": 120000}', "Nothing was changed yet."),
        ('{"amount": "5"}', "must stay a number"),
        ('{"amount": true}', "must stay a number"),
        ('{"amount": NaN}', "not JSON"),
        ('{"amount": 5, "amount": 6}', "there twice"),
        ('{"customer": "cus_2"}', "customer may not be changed here"),
        ('{"args.amount": 5}', "args.amount may not be changed here"),
        ("[5]", "Keep the form"),
        ("amount: 5", "not JSON"),
        ("[" * 2_000, "not JSON"),
        (None, "not JSON"),
    ],
    ids=str,
)
async def test_what_is_not_editable_or_no_json_is_said_in_the_form(
    there: Bench, written: str | None, error: str
) -> None:
    held = there.held(editable=("args.amount",))
    view = await modal(there, held, "approval.edit")
    answer = await submitted(there, view, arguments=written)
    assert answer is not None
    assert error in answer["errors"]["arguments"]
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert found.revision == 1


async def test_every_digit_of_a_number_survives_the_form(there: Bench) -> None:
    held = there.scene.held(
        "pay", {"amount": 9007199254740993, "rate": 0.1, "note": "a\nb"},
        terms=_terms("args"),
    )  # fmt: skip
    view = await modal(there, held, "approval.edit")
    written = view["blocks"][1]["element"]["initial_value"]
    assert await submitted(there, view, arguments=written.replace("0.1", "0.2")) is None
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert found.revision == 1  # the policy of this test denies such an amount
    assert (
        await submitted(
            there, view, arguments=written.replace("9007199254740993", "1").replace("0.1", "0.30")
        )
        is None
    )
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert found.call.arguments == b'{"amount":1,"note":"a\\nb","rate":0.3}'


def _terms(*editable: str) -> Terms:
    return Terms(expires=1800, editable=editable)


async def test_what_the_policy_says_to_the_change_is_told_to_the_editor(there: Bench) -> None:
    held = there.held(editable=("args.amount",))
    view = await modal(there, held, "approval.edit")
    await submitted(there, view, arguments='{"amount": 2000000}')
    assert there.whispered() == ["The policy denies it. Nothing was recorded."]


@pytest.mark.parametrize(
    "arguments",
    [
        {"password": "hunter2"},
        {"note": "x" * 3_000},
        {"n\u200bote": "x"},
        {"a": {"b": 1}, "a.b": 2},
    ],
    ids=["secret", "long", "hidden name", "two with one name"],
)
async def test_what_a_form_cannot_show_rightly_is_changed_on_the_page(
    there: Bench, arguments: Json
) -> None:
    held = there.scene.held("pay", arguments, terms=_terms("args"))
    await there.press(click(there.slack, held, "approval.edit"))
    assert there.slack.called("views.open") == []
    assert f"changed on the page: http://127.0.0.1:8788/approvals/{held.id}" in there.whispered()[0]


@pytest.mark.parametrize("error", ["expired_trigger_id", "invalid_arguments", "ratelimited"])
async def test_a_form_that_slack_does_not_open_is_told(there: Bench, error: str) -> None:
    held = there.held()
    there.slack.script("views.open", Fault(error=error))
    await there.press(click(there.slack, held, "approval.deny"))
    assert "too slow to open the form" in there.whispered()[0]
    assert await there.state(held) is State.PENDING


async def test_home_shows_what_this_person_may_decide_and_denies_from_there(there: Bench) -> None:
    mine, other = there.held(amount=1), there.held(amount=2, reviewers=("bob",))
    await there.press(home_opened(there.slack), kind="events_api")
    view = there.slack.homes["U1"]
    published = {name: view[name] for name in ("type", "blocks")}
    assert wrong_view(published) == []
    assert mine.id in json.dumps(view)
    assert other.id not in json.dumps(view)
    assert "approval.approve" not in json.dumps(view)
    press = from_home(there.slack, mine, "approval.deny:0")
    await there.press(press)
    form = there.slack.called("views.open")[-1].params["view"]
    await submitted(there, form, reason="no")
    assert await there.state(mine) is State.DENIED
    assert mine.id not in json.dumps(there.slack.homes["U1"])


async def test_home_of_a_stranger_shows_nothing_but_why(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    held = there.held()
    await there.press(home_opened(there.slack, "U4"), kind="events_api")
    await there.press(home_opened(there.slack, "U2", tab="messages"), kind="events_api")
    assert list(there.slack.homes) == ["U4"]
    assert held.id not in json.dumps(there.slack.homes["U4"])
    assert "not a reviewer here" in json.dumps(there.slack.homes["U4"])


async def test_home_holds_a_queue_of_any_length(there: Bench) -> None:
    for number in range(40):
        there.scene.held(f"tool_{number}" + "x" * 100, {"n": number}, reason="why " * 400)
    await there.press(home_opened(there.slack), kind="events_api")
    view = there.slack.homes["U1"]
    published = {name: view[name] for name in ("type", "blocks")}
    assert wrong_view(published) == []
    assert "And 25 more." in json.dumps(view)


@pytest.mark.parametrize(
    ("text", "user", "shown"), [("", "U1", 1), ("MINE ", "U1", 1), ("all", "U1", 2), ("", "U5", 0)]
)
async def test_the_command_lists_what_waits_for_oneself_or_all_of_it(
    there: Bench, text: str, user: str, shown: int
) -> None:
    there.slack.people["U5"] = Person("U5", "vera", "vera@example.com")
    await there.scene.people.add("vera", role="viewer", identities=("slack:T1/U5",))
    there.held(amount=1)
    there.held(amount=2, reviewers=("bob",))
    answer = await there.press(command(there.slack, text, user), kind="slash_commands")
    assert (answer["response_type"], check(answer["text"], answer["blocks"])) == ("ephemeral", [])
    assert wrong_blocks(answer["blocks"]) == []
    assert json.dumps(answer).count("/approvals/apr_") == shown


async def test_the_command_shows_one_call_whole_with_its_buttons(there: Bench) -> None:
    held = there.held()
    for written in (held.id, held.id[:10], held.id[4:10]):
        answer = await there.press(command(there.slack, written), kind="slash_commands")
        assert "approval.approve" in json.dumps(answer)
        assert wrong_blocks(answer["blocks"]) == []
    payload = click(there.slack, held, "approval.approve", ephemeral=True)
    await there.press(payload)
    assert await there.state(held) is State.APPROVED
    assert [one["replace_original"] for one in there.sockets.responses] == [True]


async def test_the_command_says_nothing_of_calls_to_others(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    held = there.held()
    for text, user in (("all", "U4"), (held.id, "U4"), ("apr_nothere", "U1"), ("x; drop", "U1")):
        answer = await there.press(command(there.slack, text, user), kind="slash_commands")
        assert "apr_" not in json.dumps(answer)
        assert "create_charge" not in json.dumps(answer)


async def test_one_whom_only_a_rule_names_sees_only_what_names_them(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    there.held(amount=1)
    named = there.held(amount=2, reviewers=("slack:T1/U4",))
    answer = await there.press(command(there.slack, "all", "U4"), kind="slash_commands")
    assert named.id in json.dumps(answer)
    assert json.dumps(answer).count("/approvals/apr_") == 1


async def test_an_administrator_denies_what_names_somebody_else(there: Bench) -> None:
    await there.scene.people.add("alice", role="admin", identities=("slack:T1/U1",))
    held = there.held(reviewers=("dave",))
    await there.press(click(there.slack, held, "approval.approve"))
    assert "names other reviewers" in there.whispered()[0]
    view = await modal(there, held, "approval.deny")
    assert await submitted(there, view, reason="Dave is away.") is None
    assert await reason(there, held) == (State.DENIED, "Dave is away.", "alice")
