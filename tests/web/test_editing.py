"""Approve with changes: what is offered, what is refused, and who still has to approve it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from approvals.digest import canonical
from approvals.editing import Edited, edited, fields_of
from approvals.fingerprint import fingerprint
from approvals.model import Approval, State, Terms
from approvals.redact import masked
from gateway.enforcement.catalogue import Catalogue
from gateway.enforcement.freezes import Freezes
from gateway.enforcement.guard import Guard
from gateway.enforcement.input_schema import fault
from gateway.enforcement.policy_file import PolicyFile
from gateway.policy import terms
from tests.support.review_scene import HOSTILE, Scene
from tests.web.conftest import Door, Visit
from tests.web.test_inert import stray
from web.app import build
from web.border import csrf_token

PAY = {
    "name": "pay",
    "description": "Pays",
    "inputSchema": {
        "type": "object",
        "properties": {
            "amount": {"type": "integer", "maximum": 1_000_000},
            "note": {"type": "string", "pattern": "^[^!]*$"},
            "urgent": {"type": "boolean"},
        },
        "required": ["amount"],
    },
}
POLICY = {
    "version": "1",
    "default": "deny",
    "tools": {
        "pay": {
            "effect": "pay:{args.to}:{args.invoice}",
            "deny_if": [{"conditions": [{"path": "args.amount", "op": "gt", "value": 90_000}]}],
            "require_approval": {
                "reason": "Payments",
                "editable": ["args.amount"],
                "risk": "medium",
            },
            "approve_if": [
                {
                    "conditions": [{"path": "args.amount", "op": "gt", "value": 50_000}],
                    "reason": "Large payments",
                    "editable": ["args.amount"],
                    "quorum": 2,
                },
            ],
        }
    },
}
ARGUMENTS = {
    "amount": 1200,
    "invoice": "A-1",
    "note": "first\nsecond",
    "to": "acme",
    "urgent": False,
    "api_key": "sk_live_abcdefghijklmnop",
}
EDITABLE = Terms(risk="medium", editable=("args.amount", "args.note", "args.urgent", "args.to"))


class Place:
    """A gateway's guard behind the page, and one held payment."""

    def __init__(self, scene: Scene, guard: Guard) -> None:
        self.scene = scene
        self.door = Door(build(scene.services(judge_again=guard.judge_again)), scene)

    def held(self, arguments: Mapping[str, Any] = ARGUMENTS, given: Terms = EDITABLE) -> Approval:
        effect = f"pay:{arguments.get('to')}:{arguments.get('invoice')}"
        return self.scene.held(
            "pay",
            arguments,
            server="bank",
            terms=given,
            effect=effect,
            tool_hash=fingerprint(PAY),
        )

    async def now(self, held: Approval) -> tuple[int, dict[str, Any]]:
        found = await self.scene.approvals.get(held.id)
        assert found is not None
        return found.revision, json.loads(found.call.arguments)


@pytest.fixture
async def place(scene: Scene, tmp_path: Path) -> Place:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(POLICY))
    catalogue = Catalogue(scene.database)
    await catalogue.observe("bank", [PAY], complete=True)
    guard = Guard(
        database=scene.database,
        policies=PolicyFile(file, scene.clock),
        catalogue=catalogue,
        freezes=Freezes(scene.database),
        trusted=frozenset(),
        default_hold=50,
        max_pending=10,
        lease_seconds=30,
        process="gw_test",
    )
    return Place(scene, guard)


def name_of(*path: str | int) -> str:
    (field,) = (
        field
        for field in fields_of(canonical(ARGUMENTS), canonical(ARGUMENTS).decode(), ("args",))
        if field.path == path
    )
    return field.name


async def send(visit: Visit, held: Approval, **form: str) -> httpx2.Response:
    """Posts the change; keys are arguments' names, `sure` and `revision` are themselves."""
    own = ("sure", "revision")
    named = {key if key in own else name_of(key): value for key, value in form.items()}
    csrf = csrf_token(visit.http.cookies["signoff"])
    sent = {"csrf": csrf, "revision": "1", **named}
    return await visit.post(f"/approvals/{held.id}/edit", sent)


async def test_only_plain_editable_values_are_offered_and_shown_as_they_are(place: Place) -> None:
    held = place.held()
    visit = await place.door.signed_in("alice")
    page = (await visit.get(f"/approvals/{held.id}")).text
    assert stray(page) == ""
    offered = re.findall(r'name="(set:[^"]*)"', page)
    assert offered == [name_of(key) for key in ("amount", "note", "to", "urgent")]
    assert "sk_live" not in page
    assert "first\nsecond</textarea>" in page


async def test_nothing_is_written_before_the_difference_was_shown(place: Place) -> None:
    held = place.held()
    visit = await place.door.signed_in("alice")
    shown = await send(visit, held, amount="900", note="first\r\nsecond", urgent="true")
    assert shown.status_code == 200
    assert stray(shown.text) == ""
    assert "<del>1200</del> → <b>900</b>" in shown.text
    assert "<del>false</del> → <b>true</b>" in shown.text
    assert 'name="sure" value="1"' in shown.text
    assert await place.now(held) == (1, ARGUMENTS)


async def test_a_saved_change_is_a_new_revision_that_somebody_still_has_to_approve(
    place: Place,
) -> None:
    held = place.held()
    visit = await place.door.signed_in("alice")
    saved = await send(visit, held, amount="900", urgent="true", sure="1")
    assert (saved.status_code, saved.headers["location"]) == (303, f"/approvals/{held.id}")
    assert await place.now(held) == (2, {**ARGUMENTS, "amount": 900, "urgent": True})
    found = await place.scene.approvals.get(held.id)
    assert found is not None
    assert found.state is State.PENDING
    form = {**await visit.form(held.id), "choice": "approve"}
    assert form["revision"] == "2"
    await visit.post(f"/approvals/{held.id}/decide", form)
    found = await place.scene.approvals.get(held.id)
    assert found is not None
    assert found.state is State.APPROVED


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"amount": "9000000"}, 403, "amount: the value is greater than the maximum of 1000000"),
        ({"amount": "12.5"}, 403, "does not fit the tool's schema"),
        ({"note": "now!"}, 403, "does not match"),
        ({"amount": "90001"}, 403, "not allowed"),
        ({"amount": "50001"}, 403, "asks for more than this approval does"),
        ({"to": "evil"}, 403, "another effect"),
        ({"invoice": "A-2"}, 422, "may not be changed here"),
        ({"amount": "many"}, 422, "amount must be a number"),
        ({"amount": "NaN"}, 422, "amount must be a number"),
        ({"amount": "1e999"}, 422, "cannot be sent as JSON"),
        ({"urgent": "maybe"}, 422, "must be a yes or no"),
        ({"amount": "1200"}, 422, "Nothing was changed"),
    ],
)
async def test_a_change_that_may_not_stand_is_refused_in_words(
    place: Place, change: dict[str, str], status: int, words: str
) -> None:
    held = place.held()
    visit = await place.door.signed_in("alice")
    answer = await send(visit, held, **change, sure="1")
    assert (answer.status_code, words in html.unescape(answer.text)) == (status, True)
    assert await place.now(held) == (1, ARGUMENTS)


async def test_an_old_form_a_viewer_and_a_stranger_change_nothing(place: Place) -> None:
    held = place.held()
    alice = await place.door.signed_in("alice")
    viewer = await place.door.signed_in("eve", "viewer")
    assert (await send(viewer, held, amount="900", sure="1")).status_code == 403
    assert (await send(alice, held, amount="900", sure="1", revision="2")).status_code == 409
    form = {"csrf": "x", "revision": "1", name_of("amount"): "900", "sure": "1"}
    assert (await alice.post(f"/approvals/{held.id}/edit", form)).status_code == 403
    assert await place.now(held) == (1, ARGUMENTS)
    denial = {**await alice.form(held.id), "choice": "deny", "reason": "no"}
    await alice.post(f"/approvals/{held.id}/decide", denial)
    assert (await send(alice, held, amount="900", sure="1")).status_code == 409


async def test_without_editable_paths_nothing_is_offered(place: Place) -> None:
    plain = place.held({"amount": 5}, Terms(risk="low"))
    visit = await place.door.signed_in("alice")
    assert "Approve with changes" not in (await visit.get(f"/approvals/{plain.id}")).text
    assert (await send(visit, plain, amount="900", sure="1")).status_code == 422
    assert await place.now(plain) == (1, {"amount": 5})


def test_hidden_characters_secrets_and_nesting_are_not_offered() -> None:
    arguments = {**HOSTILE, "card": {"pin": 1234, "holder": "A"}, "list": [1, {"x": None}], "e": {}}
    shown = masked(canonical(arguments), (), key=b"k" * 32)
    labels = [field.label for field in fields_of(canonical(arguments), shown, ("args",))]
    assert "note" not in labels  # it holds characters no one would see
    assert not {"card.pin", "list[1].x", "e"} & set(labels)
    assert {"card.holder", "list[0]", "reason", "purge_related"} <= set(labels)


def test_a_change_touches_nothing_else() -> None:
    arguments = {"a": [{"n": 2**70, "f": 1.0}], "b": "x"}
    raw = canonical(arguments)
    fields = fields_of(raw, raw.decode(), ("args.a[*].f", "args.b"))
    assert [field.label for field in fields] == ["a[0].f", "b"]
    found = edited(raw, fields, {fields[0].name: "2.5", fields[1].name: "x"})
    assert isinstance(found, Edited)
    assert found.arguments == canonical({"a": [{"n": 2**70, "f": 2.5}], "b": "x"})
    assert [row.path for row in found.rows] == ["a[0].f"]


def test_a_schema_that_cannot_be_read_fits_nothing_and_fetches_nothing() -> None:
    for schema in ({"$ref": "http://127.0.0.1:1/x"}, {"type": "blah"}, {"pattern": "("}, 7):
        assert fault(schema, {}) is not None
    assert fault(None, {}) is None
    assert fault(PAY["inputSchema"], {"amount": 1}) is None
    secret = fault({"properties": {"a": {"maxLength": 2}}}, {"a": "hunter2"})
    assert secret is not None
    assert "hunter2" not in secret
    slow = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    assert fault(slow, {"a": "a" * 5000 + "b"}) is not None


@pytest.mark.parametrize(
    ("asked", "covered"),
    [
        (Terms(risk="medium"), True),
        (Terms(risk="low"), True),
        (Terms(risk="medium", reviewers=("alice", "bob")), True),
        (Terms(risk="high"), False),
        (Terms(risk="medium", quorum=2), False),
        (Terms(risk="medium", not_owner=True), False),
        (Terms(risk="medium", web_only=True), False),
        (Terms(risk="medium", reviewers=("alice",)), False),
        (Terms(risk="medium", reviewers=("carol",)), False),
    ],
)
def test_terms_cover_what_asks_for_no_more(asked: Terms, *, covered: bool) -> None:
    given = Terms(risk="medium", reviewers=("alice", "bob"))
    assert terms.cover(given, asked) is covered
