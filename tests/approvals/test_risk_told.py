"""One risk, stored when the call is held: every place that tells it tells the same."""

from __future__ import annotations

import json

import pytest

from approvals.model import RISKS, Reviewer, Risk, State, Terms
from approvals.outbox import Notice
from approvals.record.history import HistoryQuery, search
from approvals.slack.card import RISK_WORDS, card
from approvals.slack.card_context import CardContext
from approvals.slack.home import home
from approvals.view import View, view_of
from approvals.webhook import payload
from gateway.cli.card import draw
from gateway.policy.terms import at_risk
from tests.support.record import Record
from web.api import full_of
from web.views.card import card_of

ROOT = Reviewer(id="root", role="admin")


def opened(record: Record, terms: Terms) -> View:
    held = record.hold(terms=terms)
    view = record.read(lambda connection: view_of(connection, held.id, now=record.clock.now()))
    assert view is not None
    return view


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("rule", ["nothing", "low", "set low"])
def test_every_surface_tells_the_stored_risk(
    record: Record, capsys: pytest.CaptureFixture[str], risk: Risk, rule: str
) -> None:
    stated = {
        "nothing": Terms(),
        "low": Terms(risk="low"),
        "set low": Terms(risk="low", risk_set=True),
    }[rule]
    view = opened(record, at_risk(stated, risk))
    approval, now = view.approval, record.clock.now()
    wanted: Risk = "low" if rule == "set low" else risk
    lowered = risk if rule == "set low" and risk != "low" else None
    grave = wanted in ("high", "critical")
    assert (approval.risk, approval.lowered_from, approval.grave) == (wanted, lowered, grave)

    page = card_of(view, ROOT, now)
    assert (page.risk, page.confirm, bool(page.lowered)) == (wanted, grave, lowered is not None)
    assert page.order.startswith(f"{3 - RISKS.index(wanted)}:")
    assert ("risk is decided one by one" in page.alone) is grave
    assert f"{wanted} risk" in page.said

    api = full_of(view)
    assert (api["risk"], api["risk_lowered_from"]) == (wanted, lowered)

    notice = Notice(
        id="out_1", approval_id=approval.id, kind="held", revision=1, version=1,
        state=State.PENDING, execution=approval.execution, at=now, tries=1,
    )  # fmt: skip
    sent = json.loads(payload(notice, approval, url="http://127.0.0.1") or b"{}")["data"]
    assert (sent["risk"], sent["risk_lowered_from"]) == (wanted, lowered)

    look = CardContext("https://gate.example", team="T1")
    face = json.dumps(card(view, look, now=now).blocks, ensure_ascii=False)
    assert RISK_WORDS[wanted] in face
    assert ("the rule sets it" in face) is (lowered is not None)
    assert ("Approve once?" in face) is grave
    shown = json.dumps(home(ROOT, [approval], look))
    assert f"{wanted} risk" in shown

    draw(view)
    said = capsys.readouterr().out
    assert wanted.upper() in said
    assert ("The rule sets this risk" in said) is (lowered is not None)

    query = HistoryQuery(approval_id=approval.id, event="held")
    (row,) = record.read(lambda connection: search(connection, query)).rows
    told = json.loads(row.event.data or "{}")
    assert (told["risk"], told["tool_risk"]) == (wanted, risk)
