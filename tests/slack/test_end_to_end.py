"""An agent, the gateway as users start it, and Slack: held, posted, pressed, run once, updated."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from approvals import reviewers
from approvals.record.database import Transaction
from tests.support.agents import Agent, agent
from tests.support.fake_slack.message import Fault, Message
from tests.support.fake_slack.payloads import click, command, interaction, signed, submit
from tests.support.fake_slack.sockets import Sockets
from tests.support.fake_slack.workspace import Workspace
from tests.support.live_gateway import Site, Witness, eventually, witness
from tests.support.reviewer_desk import Desk

Json = dict[str, Any]
TOOLS: Json = {
    "held": {"require_approval": {"reason": "A person decides.", "editable": ["args.amount"]}},
    "slow": {"require_approval": {"channel": "#payments", "reviewers": ["bob"]}},
    "secret": {"require_approval": {"reviewers": ["payments"], "web_only": True}},
}
GROUPS: Json = {"payments": {"members": ["bob", "dana"], "channel": "#payments"}}


@dataclass
class Town:
    """Slack in a thread, and gateways beside it."""

    folder: Path
    portal: BlockingPortal
    slack: Workspace
    sockets: Sockets
    witness: Witness
    seen: int = 0  # messages of earlier tests
    heard: int = 0  # and what people were told alone

    def made(self, name: str = "site", **environ: str) -> Site:
        """A gateway that does not run yet; alice and bob are U1 and U2."""
        site = Site(
            self.folder / name,
            {
                "SIGNOFF_SLACK_BOT_TOKEN": self.slack.bot_token,
                "SIGNOFF_SLACK_APP_TOKEN": self.slack.app_token,
                "SIGNOFF_SLACK_SIGNING_SECRET": self.slack.signing_secret,
                "SIGNOFF_SLACK_CHANNEL": "C1",
                "SIGNOFF_SLACK_API_URL": self.slack.url,
                "SIGNOFF_HOLD": "180",
                **environ,
            },
        )
        site.folder.mkdir()
        site.policy(reviewers=GROUPS, tools=TOOLS)
        site.servers(w={"url": self.witness.url})
        for person, user in (("alice", "U1"), ("bob", "U2")):
            site.write(partial(_add, person=person, identity=f"slack:T1/{user}"))
        return site

    def deliver(self, payload: Json, kind: str = "interactive") -> Json | None:
        """Over the socket; what the app acknowledged."""
        return self.portal.call(lambda: self.sockets.deliver(payload, kind=kind))

    def connected(self, number: int = 1) -> None:
        """Until so many gateways listen."""
        self.portal.call(self.sockets.connected, number, 30)

    def card(self, channel: str = "C1") -> Message:
        """The card of this test's call."""

        def posted() -> Message | None:
            found = [one for one in self.slack.shown(channel) if one.buttons()]
            new = [one for one in self.slack.messages[self.seen :] if one in found]
            return new[0] if new else None

        return eventually(posted)

    def told(self, words: str) -> bool:
        """Wait until someone is told so alone."""

        def found() -> bool:
            return any(words in one["text"] for one in self.slack.ephemerals[self.heard :])

        return eventually(found)

    def form(self, before: int) -> Json:
        """The modal that was opened last, after so many."""
        opened = eventually(lambda: self.slack.called("views.open")[before:])
        return dict(opened[-1].params["view"])

    def press(self, card: Message, action: str, user: str = "U1") -> Json:
        """The payload of a press on this card, as Slack makes it from what we posted."""
        button = card.button(action)
        block = next(one["block_id"] for one in card.blocks if one["type"] == "actions")
        return click(
            self.slack,
            None,
            action,
            user,
            value=button["value"],
            block=block,
            channel=card.channel,
            ts=card.ts,
        )

    def filled(self, card: Message, action: str, **values: str) -> Json:
        """The payload of the form that this button opens, sent off."""
        before = len(self.slack.called("views.open"))
        self.deliver(self.press(card, action))
        return submit(self.slack, self.form(before), dict(values))


def _add(tx: Transaction, person: str, identity: str) -> None:
    reviewers.add(tx, person, role="approver", identities=(identity,))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Town, Site]]:
    """Slack and one running gateway for the tests that break neither."""
    folder = tmp_path_factory.mktemp("town")
    with _town(folder) as town:
        site = town.made()
        site.start()
        try:
            yield town, site
        finally:
            site.stop()


@pytest.fixture
def town(whole: tuple[Town, Site]) -> Town:
    town = whole[0]
    town.seen, town.heard = len(town.slack.messages), len(town.slack.ephemerals)
    return town


@pytest.fixture
def site(whole: tuple[Town, Site]) -> Site:
    whole[0].connected()
    return whole[1]


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Town]:
    """A Slack that a test may break, and no gateway yet."""
    with _town(tmp_path) as town:
        yield town


@contextmanager
def _town(folder: Path) -> Iterator[Town]:
    slack = Workspace()
    sockets = Sockets(slack)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(slack.running()),
        witness(folder) as server,
    ):
        yield Town(folder, portal, slack, sockets, server)


@contextmanager
def calling(site: Site, token: str = "") -> Iterator[Agent]:
    """A real client with a grant of its own, or with the one of `token`."""
    grant = token or site.grant("agent")
    with agent("py2-modern", f"{site.url}/mcp/w", grant, log=site.folder / "agent.log") as made:
        yield made


def readiness(site: Site) -> Json:
    with urllib.request.urlopen(f"{site.url}/readyz") as answer:  # noqa: S310 - our own
        return dict(json.loads(answer.read()))


def degraded(site: Site) -> Json | None:
    found = readiness(site)
    return found if found["slack"] != "ok" else None


def text_of(message: Message) -> str:
    return json.dumps(message.blocks, ensure_ascii=False)


def says(message: Message, words: str) -> bool:
    """Wait until the card says so."""
    return eventually(lambda: words in text_of(message))


def test_approve_in_slack_runs_the_call_once_and_the_card_says_so(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("held", key="one", amount=5)
        card = town.card()
        town.deliver(town.press(card, "approval.approve"))
        assert not call.answer().refused
    assert says(card, "Done: Held amount 5, one")
    assert says(card, "by alice via slack")
    assert card.buttons() == []
    assert [key for _, key in town.witness.ran()].count("one") == 1
    assert readiness(site)["slack"] == "ok"
    site.run("history", "verify")


def test_a_reason_given_in_slack_reaches_the_agent(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("held", key="reason")
        card = town.card()
        town.deliver(town.filled(card, "approval.deny", reason="Wrong customer: use cus_2."))
        answer = call.answer()
    assert answer.refused
    assert "Denied by alice: Wrong customer: use cus_2." in answer.text
    assert "reason" not in [key for _, key in town.witness.ran()]


def test_changed_arguments_are_what_runs_after_a_second_press(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("held", key="changed", amount=120_000)
        card = town.card()
        old = town.press(card, "approval.approve")
        form = town.filled(card, "approval.edit", arguments='{"amount": 5}')
        assert town.deliver(form) is None
        assert says(card, "revision 2")
        town.deliver(old)
        assert town.told("was changed after this was shown")
        town.deliver(town.press(card, "approval.approve"))
        assert not call.answer().refused
    ran = [one for one in town.witness.arguments() if one["key"] == "changed"]
    assert [one["amount"] for one in ran] == [5]


def test_over_http_with_signed_requests_it_is_the_same(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("held", key="http")
        body = interaction(town.press(town.card(), "approval.approve"))
        headers = signed(town.slack.signing_secret, body)
        request = urllib.request.Request(f"{site.url}/slack/interactions", body, headers)  # noqa: S310 - our own
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            assert (answer.status, answer.read()) == (200, b"")
        assert not call.answer().refused
    assert [key for _, key in town.witness.ran()].count("http") == 1


def test_a_rules_channel_and_reviewers_hold_in_slack_too(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("slow", key="rule", seconds=0)
        card = town.card(channel="G1")
        town.deliver(town.press(card, "approval.approve", "U1"))
        assert town.told("names other reviewers")
        assert "rule" not in [key for _, key in town.witness.ran()]
        town.deliver(town.press(card, "approval.approve", "U2"))
        assert not call.answer().refused


def test_a_groups_channel_shows_a_rule_for_the_page_alone_and_only_the_page_approves(
    town: Town, site: Site
) -> None:
    with calling(site) as caller:
        call = caller.begin("secret", key="page")
        card = town.card(channel="G1")
        assert card.buttons()[0]["text"]["text"] == "Review in full"
        button = {**card.button("approval.deny"), "action_id": "approval.approve"}
        card.blocks[-2]["elements"].append(button)
        town.deliver(town.press(card, "approval.approve", "U2"))
        assert town.told("approved on the page, not in Slack")
        assert "page" not in [key for _, key in town.witness.ran()]
        page = Desk(site.url, site.reviewer("dana"))
        page.approve(page.waiting("page")["id"])
        page.close()
        assert not call.answer().refused
    assert says(card, "Done: Secret page")


def test_the_command_answers_from_the_running_gateway(town: Town, site: Site) -> None:
    with calling(site) as caller:
        call = caller.begin("held", key="listed")
        card = town.card()
        answer = town.deliver(command(town.slack, "mine"), kind="slash_commands")
        assert answer is not None
        assert card.button("approval.open")["url"] in json.dumps(answer)
        town.deliver(town.filled(card, "approval.ask", reason="Not now."))
        assert "Not as it is" in call.answer().text


def test_doctor_posts_a_card_whose_button_the_gateway_answers(town: Town, site: Site) -> None:
    done = site.run("doctor", "--slack", "--json")
    assert json.loads(done.stdout)["ok"] is True
    card = town.card()
    assert card.text == "Signoff can post here."
    town.deliver(click(town.slack, None, "approval.test", "U2", block="test", ts=card.ts))
    assert town.told("you decide as bob")
    card.deleted = True


def test_pending_survives_a_restart_and_its_old_button_works(apart: Town) -> None:
    site = apart.made(SIGNOFF_HOLD="1")
    token = site.grant("agent")
    site.start()
    try:
        with calling(site, token) as caller:
            apart.connected()
            caller.begin("held", key="k").answer()
            card = apart.card()
            press = apart.press(card, "approval.approve")
        site.kill()
        site.start()
        apart.connected()
        apart.deliver(press)
        assert says(card, "by alice via slack")
        with calling(site, token) as caller:
            assert not caller.begin("held", key="k").answer().refused
        assert apart.witness.ran() == [("held", "k")]
    finally:
        site.stop()


HANGS = 600.0  # seconds: far longer than anyone waits
HISTORY = frozenset(("channels:history", "groups:history"))


def cards(town: Town) -> list[Message]:
    """Every card that stands in the channel."""
    return [one for one in town.slack.shown("C1") if one.blocks[0]["type"] == "header"]


def killed_while_posting(town: Town, site: Site, token: str, *, acted: bool) -> None:
    """The call is on record and its card on the way; Slack has it or has it not, and says nothing.
    Then kill -9, and the same gateway again.
    """
    town.slack.script("chat.postMessage", Fault(acted=acted, seconds=HANGS))
    site.start()
    with calling(site, token) as caller:
        town.connected()
        caller.begin("held", key="k").answer()
        eventually(lambda: town.slack.called("chat.postMessage"))
    site.kill()
    assert len(cards(town)) == int(acted)


def passes(tx: Transaction, seconds: int) -> None:
    """What was leased, claimed or in doubt at the kill is that much older."""
    for table, column in (
        ("outbox", "due_at"),
        ("slack_message", "busy_until"),
        ("slack_message", "doubt_at"),
    ):
        tx.connection.exec_driver_sql(
            f"UPDATE {table} SET {column} = {column} - {seconds * 1000}"  # noqa: S608 - our own
            + (" WHERE kind <> 'reminder'" if table == "outbox" else "")
        )


def approved_from(town: Town, site: Site, token: str, card: Message) -> None:
    """Press its button: the call runs, once."""
    town.deliver(town.press(card, "approval.approve"))
    assert says(card, "by alice via slack")
    with calling(site, token) as caller:
        assert not caller.begin("held", key="k").answer().refused
    assert town.witness.ran() == [("held", "k")]
    assert says(card, "Done: Held k")


@pytest.mark.parametrize("acted", [False, True], ids=["not posted", "posted"])
def test_a_gateway_killed_while_posting_shows_one_card_that_can_be_approved(
    apart: Town, *, acted: bool
) -> None:
    site = apart.made(SIGNOFF_HOLD="1")
    token = site.grant("agent")
    killed_while_posting(apart, site, token, acted=acted)
    site.write(partial(passes, seconds=30))
    site.start()
    try:
        apart.connected()
        known = "SELECT count(*) FROM slack_message WHERE kind = 'card' AND ts <> ''"
        eventually(lambda: counted(site, known) == 1)
        (card,) = cards(apart)
        approved_from(apart, site, token, card)
        assert cards(apart) == [card]
    finally:
        site.stop()


def test_a_card_nobody_may_look_for_is_posted_twice_and_both_are_kept_up_to_date(
    apart: Town,
) -> None:
    apart.slack.scopes -= HISTORY
    site = apart.made(SIGNOFF_HOLD="1")
    token = site.grant("agent")
    killed_while_posting(apart, site, token, acted=True)
    site.write(partial(passes, seconds=90))
    site.start()
    try:
        apart.connected()
        eventually(lambda: len(cards(apart)) == 2)
        stray, card = cards(apart)
        approved_from(apart, site, token, stray)
        assert says(card, "Done: Held k")
        assert (stray.buttons(), card.buttons()) == ([], [])
    finally:
        site.stop()


@pytest.mark.slow
def test_a_killed_gateways_card_is_there_within_half_a_minute_of_the_restart(apart: Town) -> None:
    site = apart.made(SIGNOFF_HOLD="1")
    token = site.grant("agent")
    killed_while_posting(apart, site, token, acted=False)
    site.start()
    try:
        apart.connected()
        approved_from(apart, site, token, eventually(lambda: one_of(cards(apart))))
    finally:
        site.stop()


def one_of(found: list[Message]) -> Message | None:
    return found[0] if found else None


def counted(site: Site, query: str) -> int:
    return site.write(lambda tx: int(tx.connection.exec_driver_sql(query).scalar_one()))


def test_slack_down_stops_no_call_and_no_decision_and_recovers(apart: Town) -> None:
    apart.slack.down = True
    site = apart.made()
    site.policy(reviewers=GROUPS, tools={**TOOLS, "free": {}})
    site.start()
    try:
        told = eventually(lambda: degraded(site))
        assert told["ready"] is True
        assert "cannot be reached" in told["slack"]
        with calling(site) as caller:
            assert not caller.begin("free", key="f").answer().refused
            call = caller.begin("held", key="k")
            page = Desk(site.url, site.reviewer("carol"))
            page.approve(page.waiting("k")["id"])
            page.close()
            assert not call.answer().refused
        apart.slack.down = False
        apart.connected()
        eventually(lambda: readiness(site)["slack"] == "ok")
    finally:
        site.stop()


def test_a_gateway_nobody_could_approve_on_from_slack_does_not_start(apart: Town) -> None:
    site = apart.made()
    site.policy(tools={"free": {}})
    for person in ("alice", "bob"):
        site.write(partial(reviewers.remove, reviewer_id=person))
    site.write(partial(reviewers.add, reviewer_id="carol", role="approver"))
    done = site.run("up", check=False)
    assert done.returncode == 3
    assert "no one could approve from it" in done.stderr
    assert "signoff reviewer add YOUR-NAME --slack" in done.stderr
    named = site.run("reviewer", "identify", "carol", "--slack", "U3")
    assert named.stdout == "carol is also slack:T1/U3\n"


def test_rules_that_wait_are_told_in_the_channel_and_their_words_do_nothing(apart: Town) -> None:
    site = apart.made()
    site.start()
    try:
        evil = "<!channel> <https://evil.example|Look>"
        one = [{"path": "args.a", "op": "eq", "value": 1}]
        listed = {"free": {"deny_if": [{"conditions": one, "on_deny": evil}]}}
        site.policy(reviewers=GROUPS, tools={**TOOLS, **listed})

        def told() -> Message | None:
            words = "waits to be confirmed"
            return next((one for one in apart.slack.shown("C1") if words in one.text), None)

        message = eventually(told)
        assert "<!channel>" not in message.text
        said, link = message.blocks
        assert said["text"]["type"] == "plain_text"
        assert link["text"]["text"] == f"<{site.url}/policy/confirm|Look and confirm>"
    finally:
        site.stop()
