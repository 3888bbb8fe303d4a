"""A press in Slack: who may, on what, and what comes of it. One cell of the table approves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from approvals.execution import Claimed
from approvals.model import Approval, Choice, NotAllowed, Reviewer, State, Terms, Vote
from approvals.rows import APPROVAL
from approvals.slack.blocks import MessageBody
from approvals.slack.card import card
from approvals.slack.card_context import CardContext
from approvals.slack.text import utc_second
from approvals.view import view_of
from gateway.enforcement import grants
from tests.slack.app_bench import Bench, bench
from tests.support.fake_slack.message import Fault
from tests.support.fake_slack.payloads import click, from_home
from tests.support.fake_slack.people import Person
from tests.support.fake_slack.rules import wrong_blocks
from tests.support.record import run

Json = dict[str, Any]


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Bench]:
    async with bench(tmp_path) as made:
        yield made


async def test_approve_moves_the_row_and_names_the_reviewer(there: Bench) -> None:
    held = there.held()
    assert await there.press(click(there.slack, held, "approval.approve")) is None
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert (found.state, found.decided_by, found.decided_via) == (State.APPROVED, "alice", "slack")
    assert there.whispered() == []


@dataclass(frozen=True)
class Who:
    """Someone who presses. `makes` changes the payload, `fault` what Slack answers about them."""

    name: str
    user: str
    told: str  # what the person is told on a pending call
    person: Json | None = None
    makes: Callable[[Json], Json] = lambda payload: payload
    fault: tuple[str, Fault] | None = None


def _another_team(payload: Json) -> Json:
    return {**payload, "team": {"id": "T9", "domain": "evil"}}


def _another_app(payload: Json) -> Json:
    return {**payload, "api_app_id": "A9"}


def _outsider(payload: Json) -> Json:
    return {**payload, "user": {**payload["user"], "team_id": "T9"}}


def _nobody(payload: Json) -> Json:
    return {name: value for name, value in payload.items() if name != "user"}


def _renamed(payload: Json) -> Json:
    return {
        **payload,
        "user": {**payload["user"], "id": "U4", "name": "alice", "username": "alice"},
    }


NO = "You are not a reviewer here"
UNCHECKED = "could not be checked"
PEOPLE = (
    Who("reviewer", "U1", ""),
    Who("member", "U4", NO),
    Who("viewer", "U5", "may look, but not decide"),
    Who("guest", "U1", "Guests", person={"is_restricted": True}),
    Who("single-channel guest", "U1", "Guests", person={"is_ultra_restricted": True}),
    Who("deleted", "U1", NO, person={"deleted": True}),
    Who("bot", "U1", "Bots", person={"is_bot": True}),
    Who("stranger", "U1", NO, person={"is_stranger": True}),
    Who("unknown account", "U9", NO),
    Who("Slack Connect", "U1", "not a member of this workspace", makes=_outsider),
    Who("moved to another team", "U1", "not a member", person={"team_id": "T9"}),
    Who("another workspace's payload", "U1", "", makes=_another_team),
    Who("another app's payload", "U1", "", makes=_another_app),
    Who("nobody", "U1", "", makes=_nobody),
    Who("a reviewer's name on another account", "U1", NO, makes=_renamed),
    Who("lower-case id", "u1", NO),
    Who("unsure: error", "U1", UNCHECKED, fault=("users.info", Fault(error="internal_error"))),
    Who("unsure: scope", "U1", UNCHECKED, fault=("users.info", Fault(error="missing_scope"))),
    Who("unsure: 500", "U1", UNCHECKED, fault=("users.info", Fault(status=500))),
    Who(
        "unsure: 429", "U1", UNCHECKED, fault=("users.info", Fault(status=429, error="ratelimited"))
    ),
)
STATES = ("pending", "approved", "denied", "expired", "edited", "superseded")


async def _in_state(there: Bench, state: str) -> Approval:
    """The approval as its card shows it; what the row says by now is `state`."""
    held = there.held()
    bob = Reviewer(id="bob", role="approver")
    decide = there.scene.approvals.decide
    if state in ("approved", "denied"):
        choice = Choice.APPROVE if state == "approved" else Choice.DENY
        vote = Vote(revision=1, reviewer=bob, choice=choice, reason="no", via="page")
        await decide(held.id, vote)
    changed: dict[str, Json] = {
        "expired": {"expires_at": 1},
        "edited": {"revision": 2, "digest": "e" * 64},
        "superseded": {"state": "superseded"},
    }
    values = changed.get(state)
    if values:
        there.scene.database.journal.write_now(
            lambda tx: tx.connection.execute(
                update(APPROVAL).where(APPROVAL.c.id == held.id).values(values)
            )
        )
    return held


async def test_of_all_people_and_states_one_cell_approves(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "alice", "dave@example.com")
    there.slack.people["U5"] = Person("U5", "vera", "vera@example.com")
    await there.scene.people.add("vera", role="viewer", identities=("slack:T1/U5",))
    approved = []
    for who in PEOPLE:
        for state in STATES:
            held = await _in_state(there, state)
            before = await there.scene.approvals.get(held.id)
            alice = there.slack.people["U1"]
            there.slack.people["U1"] = replace(alice, **(who.person or {}))
            if who.fault is not None:  # a read is repeated once when the connection drops
                there.slack.script(who.fault[0], who.fault[1])
            await there.press(who.makes(click(there.slack, held, "approval.approve", who.user)))
            there.slack.people["U1"] = alice
            after = await there.scene.approvals.get(held.id)
            assert before is not None
            assert after is not None
            if after.state is State.APPROVED and before.state is not State.APPROVED:
                approved.append((who.name, state))
            elif state != "expired":  # anyone who looks expires it
                assert after == before, (who.name, state)
    assert approved == [("reviewer", "pending")]


@pytest.mark.parametrize("who", PEOPLE, ids=lambda who: who.name)
async def test_the_one_who_pressed_is_told_alone_why_not(there: Bench, who: Who) -> None:
    there.slack.people["U4"] = Person("U4", "alice", "dave@example.com")
    there.slack.people["U5"] = Person("U5", "vera", "vera@example.com")
    await there.scene.people.add("vera", role="viewer", identities=("slack:T1/U5",))
    there.slack.people["U1"] = replace(there.slack.people["U1"], **(who.person or {}))
    if who.fault is not None:
        there.slack.script(who.fault[0], who.fault[1])
    held = there.held()
    await there.press(who.makes(click(there.slack, held, "approval.approve", who.user)))
    known = who.user in there.slack.people
    assert [who.told in text for text in there.whispered()] == (
        [True] if who.told and known else []
    )
    assert there.slack.shown() == []  # nothing in the channel


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("approved", "it was approved by bob via page at"),
        ("denied", "it was denied by bob via page at"),
        ("expired", "it has expired"),
        ("edited", "was changed after this was shown"),
        ("superseded", "the rules or the tool changed"),
    ],
)
async def test_who_is_late_is_told_who_was_first(there: Bench, state: str, told: str) -> None:
    held = await _in_state(there, state)
    await there.press(click(there.slack, held, "approval.approve"))
    assert len(there.whispered()) == 1
    assert told in there.whispered()[0]


@pytest.mark.parametrize(
    "payload",
    [
        {"value": ""},
        {"value": "v1|apr_nothere0000000|1|000000000000"},
        {"value": "v2|{id}|1|{digest}"},
        {"value": "v1|{id}|1|000000000000"},
        {"value": "v1|{id}|2|{digest}"},
        {"value": "v1|{id}|1|{digest}|approve"},
        {"value": "v1|{short}|1|{digest}"},
        {"value": "{id}"},
        {"block": "someone-elses"},
        {"action": "approval.always"},
        {"action": "approval.approve_all"},
        {"action": "Approval.approve"},
        {"action": ""},
    ],
    ids=str,
)
async def test_a_button_that_is_not_exactly_ours_does_nothing(there: Bench, payload: Json) -> None:
    held = there.held()
    names = {"id": held.id, "digest": held.digest[:12], "short": held.id[:10]}
    given = {name: text.format(**names) for name, text in payload.items()}
    action = given.pop("action", "approval.approve")
    await there.press(click(there.slack, held, action, **given))
    assert await there.state(held) is State.PENDING


async def test_a_payload_of_any_shape_is_acknowledged(there: Bench) -> None:
    held = there.held()
    good = click(there.slack, held, "approval.approve")
    odd: list[Json] = [
        {},
        {"type": "block_actions"},
        {**good, "actions": []},
        {**good, "actions": [*good["actions"], *good["actions"]]},
        {**good, "actions": "x"},
        {**good, "actions": [None]},
        {**good, "user": None},
        {**good, "user": {"id": 7}},
        {**good, "team": "T1"},
        {**good, "type": "shortcut"},
        {**good, "type": "view_closed"},
        {**good, "type": "view_submission"},
        {**good, "type": "view_submission", "view": {"callback_id": "approval.deny"}},
        {**good, "type": "event_callback", "event": []},
    ]
    for payload in odd[:-6] + odd[-5:]:
        await there.press(payload)
    assert await there.state(held) is State.PENDING


async def test_team_as_text_does_not_pass_for_ours_but_the_users_own_team_does(
    there: Bench,
) -> None:
    held = there.held()
    good = click(there.slack, held, "approval.approve")
    await there.press({**good, "team": None, "user": {"id": "U1"}})
    assert await there.state(held) is State.PENDING
    bare = {name: good[name] for name in ("type", "user", "actions", "trigger_id")}
    await there.press(bare)
    assert await there.state(held) is State.APPROVED


async def test_a_link_button_is_acknowledged_and_changes_nothing(there: Bench) -> None:
    held = there.held()
    await there.press(click(there.slack, held, "approval.open"))
    assert await there.state(held) is State.PENDING
    assert there.slack.called("chat.postEphemeral") == []


async def test_a_call_that_slack_does_not_show_whole_is_not_approved_there(there: Bench) -> None:
    held = there.scene.held("create_charge", {"note": "x" * 20_000})
    await there.press(click(there.slack, held, "approval.approve"))
    assert await there.state(held) is State.PENDING
    assert "does not show all of this call" in there.whispered()[0]


async def test_with_arguments_kept_off_slack_nothing_is_approved_there(tmp_path: Path) -> None:
    async with bench(tmp_path, show_arguments=False) as there:
        held = there.held()
        await there.press(click(there.slack, held, "approval.approve"))
        assert await there.state(held) is State.PENDING


async def test_a_quorum_needs_distinct_people_and_says_how_many(there: Bench) -> None:
    held = there.held(quorum=2)
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING
    await there.press(click(there.slack, held, "approval.approve", "U2"))
    assert await there.state(held) is State.APPROVED
    assert there.whispered() == [
        "Your approval counts. 1 more person must approve.",
        "You have already approved this. Nothing was recorded.",
    ]


async def test_one_person_on_the_page_and_in_slack_counts_once(there: Bench) -> None:
    held = there.held(quorum=2)
    alice = await there.scene.people.find("alice")
    assert alice is not None
    await there.scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.APPROVE, via="page")
    )
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING


async def test_the_owner_of_the_agent_may_not_approve_where_the_rule_says_so(there: Bench) -> None:
    grant, _ = there.scene.database.journal.write_now(
        lambda tx: grants.create(tx, label="a", servers=frozenset({"*"}), owner="alice")
    )
    held = _held_by(there, grant.id, not_owner=True)
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING
    assert "someone other than the agent's owner" in there.whispered()[0]
    await there.press(click(there.slack, held, "approval.approve", "U2"))
    assert await there.state(held) is State.APPROVED


async def test_an_account_linked_to_nobody_may_not_hide_the_owner(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    grant, _ = there.scene.database.journal.write_now(
        lambda tx: grants.create(tx, label="a", servers=frozenset({"*"}), owner="dave")
    )
    held = _held_by(there, grant.id, not_owner=True, reviewers=("slack:T1/U4",))
    await there.press(click(there.slack, held, "approval.approve", "U4"))
    assert await there.state(held) is State.PENDING
    assert "linked to no reviewer" in there.whispered()[0]


def _held_by(there: Bench, grant: str, **terms: Any) -> Approval:
    return there.scene.held(
        "create_charge", {"amount": 1}, grant=grant, terms=Terms(expires=1800, **terms)
    )


async def test_a_rule_for_the_page_alone_is_not_approved_or_changed_in_slack(there: Bench) -> None:
    held = there.held(web_only=True, editable=("args.amount",))
    await there.press(click(there.slack, held, "approval.approve"))
    await there.press(click(there.slack, held, "approval.edit"))
    assert await there.state(held) is State.PENDING
    assert "approved on the page, not in Slack" in there.whispered()[0]
    assert "changed on the page" in there.whispered()[1]
    assert there.slack.called("views.open") == []
    alice = await there.scene.people.find("alice")
    assert alice is not None
    refused = await there.scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.APPROVE, via="slack")
    )
    assert isinstance(refused, NotAllowed)
    await there.scene.approvals.decide(
        held.id, Vote(revision=1, reviewer=alice, choice=Choice.APPROVE, via="page")
    )
    assert await there.state(held) is State.APPROVED


async def test_a_rule_that_names_others_refuses(there: Bench) -> None:
    held = there.held(reviewers=("bob",))
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING
    assert "names other reviewers" in there.whispered()[0]


async def test_an_account_named_by_the_rule_needs_no_record_and_an_open_rule_names_nobody(
    there: Bench,
) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    named, other = there.held(reviewers=("slack:T1/U4",)), there.held(amount=5)
    for held in (named, other):
        await there.press(click(there.slack, held, "approval.approve", "U4"))
    found = await there.scene.approvals.get(named.id)
    assert found is not None
    assert (found.state, found.decided_by) == (State.APPROVED, "slack:T1/U4")
    assert await there.state(other) is State.PENDING


async def test_who_was_removed_does_not_come_back_through_slack(there: Bench) -> None:
    held = there.held(reviewers=("alice", "slack:T1/U1"))
    await there.scene.people.remove("alice")
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING


async def test_a_user_group_is_read_anew_at_every_decision(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    group = there.slack.groups["S1"]
    group.users.append("U4")
    first, second = (there.held(amount=n, reviewers=("slack-group:T1/S1",)) for n in (1, 2))
    await there.press(click(there.slack, first, "approval.approve", "U4"))
    assert await there.state(first) is State.APPROVED
    group.users.remove("U4")
    await there.press(click(there.slack, second, "approval.approve", "U4"))
    assert await there.state(second) is State.PENDING


@pytest.mark.parametrize("error", ["missing_scope", "plan_upgrade_required", "fatal_error"])
async def test_a_group_that_cannot_be_read_allows_nobody(there: Bench, error: str) -> None:
    held = there.held(reviewers=("slack-group:T1/S1",))
    there.slack.script("usergroups.users.list", Fault(error=error))
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert await there.state(held) is State.PENDING
    assert UNCHECKED in there.whispered()[0]


async def test_while_slack_is_busy_a_minute_old_answer_serves(there: Bench) -> None:
    first, second = (there.held(amount=n, reviewers=("slack-group:T1/S1",)) for n in (1, 2))
    await there.press(click(there.slack, first, "approval.approve", "U1"))
    for method in ("users.info", "usergroups.users.list"):
        there.slack.script(method, Fault(status=429, error="ratelimited", retry_after=30))
    await there.press(click(there.slack, second, "approval.approve", "U1"))
    assert await there.state(second) is State.APPROVED


@pytest.mark.parametrize(
    ("person", "allowed"),
    [
        ({}, True),
        ({"email": "Dave@Example.com"}, True),
        ({"email": "dave@evil.example"}, False),
        ({"email": "eve@example.com"}, False),
        ({"is_email_confirmed": False}, False),
    ],
    ids=str,
)
async def test_a_verified_address_of_an_allowed_domain_names_a_reviewer(
    tmp_path: Path, person: Json, *, allowed: bool
) -> None:
    async with bench(tmp_path, email_domains=("example.com",)) as there:
        await there.scene.people.add("dave@example.com", role="approver")
        given = {"email": "dave@example.com", **person}
        there.slack.people["U4"] = Person("U4", "dave", **given)
        held = there.held()
        await there.press(click(there.slack, held, "approval.approve", "U4"))
        assert (await there.state(held) is State.APPROVED) is allowed


async def test_addresses_count_for_nothing_unless_asked_for(there: Bench) -> None:
    await there.scene.people.add("dave@example.com", role="approver")
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    held = there.held()
    await there.press(click(there.slack, held, "approval.approve", "U4"))
    assert await there.state(held) is State.PENDING


async def test_an_account_of_two_reviewers_is_nobodys(tmp_path: Path) -> None:
    async with bench(tmp_path, reviewers={"U1": "bob"}) as there:
        held = there.held()
        await there.press(click(there.slack, held, "approval.approve", "U1"))
        assert await there.state(held) is State.PENDING
        assert "several reviewers" in there.whispered()[0]


async def test_an_account_may_be_mapped_by_settings_to_a_reviewer_on_record_only(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path, reviewers={"U4": "alice", "T1/U5": "nobody"}) as there:
        for user, name in (("U4", "dave"), ("U5", "erin")):
            there.slack.people[user] = Person(user, name, f"{name}@example.com")
        first, second = there.held(amount=1), there.held(amount=2)
        await there.press(click(there.slack, first, "approval.approve", "U4"))
        await there.press(click(there.slack, second, "approval.approve", "U5"))
        found = await there.scene.approvals.get(first.id)
        assert found is not None
        assert (found.state, found.decided_by) == (State.APPROVED, "alice")
        assert await there.state(second) is State.PENDING


async def test_refusals_of_one_person_are_told_once_in_a_while(there: Bench) -> None:
    there.slack.people["U4"] = Person("U4", "dave", "dave@example.com")
    held = there.held()
    for _ in range(20):
        await there.press(click(there.slack, held, "approval.approve", "U4"))
    assert len(there.whispered()) == 1


async def test_words_go_by_the_response_url_where_the_bot_is_not_let_in(there: Bench) -> None:
    got = there.sockets.responses
    there.slack.channels["C1"].archived = True
    held = there.held(reviewers=("bob",))
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    assert [(one["response_type"], one["replace_original"]) for one in got] == [
        ("ephemeral", False)
    ]


async def test_an_address_that_is_not_slacks_is_never_called(there: Bench) -> None:
    got = there.sockets.responses
    there.slack.channels["C1"].archived = True
    held = there.held(reviewers=("bob",))
    base = there.slack.url.removesuffix("/api/")
    elsewhere = f"{base.replace('127.0.0.1', 'localhost')}/respond/9"
    for url in (
        elsewhere,
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example/x",
        "",
    ):
        payload = click(there.slack, held, "approval.approve", "U1") | {"response_url": url}
        await there.press(payload)
    assert got == []


async def test_from_home_a_press_without_channel_or_message_works(there: Bench) -> None:
    held = there.held()
    await there.press(from_home(there.slack, held, "approval.approve"))
    assert await there.state(held) is State.APPROVED


async def test_an_approval_is_taken_back_from_the_decided_card(there: Bench) -> None:
    held = there.held()
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    faces = [drawn(there, held)]
    await there.press(click(there.slack, held, "approval.take_back", "U2"))
    assert "Only someone who approved it" in there.whispered()[-1]
    await there.press(click(there.slack, held, "approval.take_back", "U1"))
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    assert (found.state, found.decided_by, found.decided_via) == (
        *(State.WITHDRAWN, "alice", "slack"),
    )
    faces.append(drawn(there, held))
    buttons = [[one["action_id"] for one in elements(face)] for face in faces]
    assert buttons == [["approval.take_back"], []]
    assert "Taken back" in faces[1].text
    count = len(there.whispered())
    await there.press(click(there.slack, held, "approval.take_back", "U1"))
    assert "alice took it back already" in there.whispered()[count]
    await there.press(click(there.slack, held, "approval.approve", "U2"))
    assert "alice took the approval back" in there.whispered()[-1]


async def test_what_has_started_is_not_taken_back(there: Bench) -> None:
    held = there.held()
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    claimed = there.scene.database.journal.write_now(lambda tx: run(tx, held, "gw"))
    assert isinstance(claimed, Claimed)
    await there.press(click(there.slack, held, "approval.take_back", "U1"))
    assert there.whispered()[-1] == (
        "Nothing was done. It has started, and can no longer be taken back."
    )
    assert elements(drawn(there, held)) == []


async def test_the_card_says_until_when_a_call_waits_to_be_taken_back(there: Bench) -> None:
    held = there.held(undo=20)
    await there.press(click(there.slack, held, "approval.approve", "U1"))
    found = await there.scene.approvals.get(held.id)
    assert found is not None
    until = utc_second((found.decided_at or 0) + 20_000)
    why = next(one for one in drawn(there, held).blocks if one.get("block_id") == "why")
    assert f"It can be taken back until {until}." in str(why)


def drawn(there: Bench, held: Approval) -> MessageBody:
    """The card as it stands."""
    database, clock = there.scene.database, there.scene.approvals.clock
    view = database.read_now(lambda one: view_of(one, held.id, now=clock.now()))
    assert view is not None
    look = CardContext("http://127.0.0.1:1", show_arguments=True, team="T1")
    face = card(view, look, now=clock.now())
    assert wrong_blocks(list(face.blocks)) == []
    return face


def elements(face: MessageBody) -> list[Json]:
    """Its buttons."""
    found = [block for block in face.blocks if block["type"] == "actions"]
    return [one for block in found for one in block["elements"]]
