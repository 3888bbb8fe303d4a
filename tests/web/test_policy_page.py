"""Changing policy.json on the page: shown first, saved whole, over no one's work, on record."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
from pathlib import Path

import httpx2
import pytest

from approvals.model import Event, Role
from approvals.record.history import HistoryQuery
from tests.support.admin_place import RULES, Place, open_place, past_calls
from tests.support.review_scene import Scene
from tests.web.conftest import Door, Visit
from tests.web.test_inert import ATTACKS, stray
from web.app import build
from web.border import csrf_token

HOLD = {"server": "git", "tool": "git_status", "place": "", "choice": "hold"}


async def press(visit: Visit, path: str, **form: str) -> httpx2.Response:
    csrf = csrf_token(visit.http.cookies["signoff"])
    return await visit.post(path, {"csrf": csrf, **form})


def hidden(page: str) -> dict[str, str]:
    """The fields of the form that saves."""
    form = page[page.index('action="/policy/tool/save"') :].partition("</form>")[0]
    found = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', form))
    return {name: value.replace("&#34;", '"') for name, value in found.items()}


async def events(scene: Scene) -> list[Event]:
    page = await scene.approvals.history(HistoryQuery(limit=20))
    return [row.event for row in page.rows]


async def test_a_change_is_shown_first_then_saved_and_is_in_force(
    place: Place, office: Door
) -> None:
    visit = await office.signed_in("alice", "admin")
    answer = await press(visit, "/policy/tool", **HOLD, **{"/require_approval/quorum": "2"})
    assert answer.status_code == 200
    assert stray(answer.text) == ""
    assert "git_status: added: needs approval always [quorum 2]" in answer.text
    assert place.file.read_text() == RULES
    old = place.policies.current.hash
    saved = await visit.post("/policy/tool/save", hidden(answer.text))
    assert saved.status_code == 303
    assert place.json()["tools"]["git_status"] == {"require_approval": {"quorum": 2}}
    assert place.policies.current.hash != old
    assert "Saved, and in force" in (await visit.get(saved.headers["location"])).text
    loaded, changed = (await events(place.scene))[:2]
    assert (loaded.event, changed.event) == ("policy_loaded", "policy_changed")
    assert (changed.actor, changed.via, changed.verified) == ("alice", "page", "session")
    data = json.loads(changed.data or "")
    assert data["policy"] == {"before": old, "after": place.policies.current.hash}
    assert changed.policy_hash == place.policies.current.hash
    assert data["changes"] == ["git_status: added: needs approval always [quorum 2]"]


async def test_the_rest_of_the_file_stays_as_it_was_written(place: Place, office: Door) -> None:
    visit = await office.signed_in("alice", "admin")
    answer = await press(visit, "/policy/tool", **HOLD)
    await visit.post("/policy/tool/save", hidden(answer.text))
    expected = RULES.replace('"git_status": {}', '"git_status": {"require_approval": true}')
    assert place.file.read_text() == expected


async def test_a_change_on_a_file_that_moved_on_is_shown_again_and_loses_nothing(
    place: Place, office: Door
) -> None:
    visit = await office.signed_in("alice", "admin")
    fields = hidden((await press(visit, "/policy/tool", **HOLD)).text)
    theirs = RULES.replace('"max": 60', '"max": 30')
    place.file.write_text(theirs)
    refused = await visit.post("/policy/tool/save", fields)
    assert refused.status_code == 409
    assert "someone changed the file meanwhile" in refused.text
    assert place.file.read_text() == theirs
    again = await visit.post("/policy/tool/save", hidden(refused.text))
    assert again.status_code == 303
    both = theirs.replace('"git_status": {}', '"git_status": {"require_approval": true}')
    assert place.file.read_text() == both


async def test_two_administrators_saving_at_once_do_not_overwrite_each_other(
    place: Place, office: Door
) -> None:
    alice, carol = [await office.signed_in(name, "admin") for name in ("alice", "carol")]
    forms = [
        hidden((await press(alice, "/policy/tool", **HOLD)).text),
        hidden((await press(carol, "/policy/tool", **{**HOLD, "choice": "hide"})).text),
    ]
    first = await alice.post("/policy/tool/save", forms[0])
    second = await carol.post("/policy/tool/save", forms[1])
    assert (first.status_code, second.status_code) == (303, 409)
    assert place.json()["tools"]["git_status"] == {"require_approval": True}


async def test_what_has_errors_is_never_saved_and_says_where(place: Place, office: Door) -> None:
    visit = await office.signed_in("alice", "admin")
    form = {**HOLD, "/require_approval/expires": "soon"}
    answer = await press(visit, "/policy/tool", **form)
    assert answer.status_code == 422
    field = answer.text[answer.text.index('id="/require_approval/expires"') :][:600]
    assert 'aria-invalid="true"' in field
    assert "is no duration" in field
    assert 'action="/policy/tool/save"' not in answer.text
    rules = json.dumps({"require_approval": {"expires": "soon"}})
    forced = {"server": "git", "tool": "git_status", "place": "", "rules": rules}
    revision = place.editor.read().revision
    refused = await press(visit, "/policy/tool/save", **forced, revision=revision)
    assert refused.status_code in (409, 422)
    text = await press(visit, "/policy/text", text="{", revision=revision, do="save")
    assert (text.status_code, "Not JSON" in text.text) == (409, True)
    assert place.file.read_text() == RULES


async def test_the_whole_text_is_edited_with_the_same_care(place: Place, office: Door) -> None:
    visit = await office.signed_in("alice", "admin")
    revision = place.editor.read().revision
    wanted = RULES.replace('"default": "deny"', '"default": "require_approval"')
    sent = {"text": wanted.replace("\n", "\r\n"), "revision": revision}
    looked = await press(visit, "/policy/text", **sent, do="preview")
    assert "tools listed nowhere: deny -&gt; require_approval" in looked.text
    assert place.file.read_text() == RULES
    assert (await press(visit, "/policy/text", **sent, do="save")).status_code == 303
    assert place.file.read_text() == wanted
    stale = {"text": wanted.replace("30m", "10m"), "revision": revision}
    refused = await press(visit, "/policy/text", **stale, do="save")
    assert refused.status_code == 409
    assert "10m" in refused.text  # what was typed is still there
    assert place.file.read_text() == wanted


async def test_the_file_keeps_its_mode_its_line_ends_and_the_link_to_it(
    scene: Scene, tmp_path: Path
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    place = await open_place(scene, tmp_path)
    real = folder / "real.json"
    real.write_bytes(RULES.replace("\n", "\r\n").encode())
    real.chmod(0o640)
    place.file.unlink()
    place.file.symlink_to(real)
    visit = await Door(build(scene.services(**place.services())), scene).signed_in("alice", "admin")
    fields = hidden((await press(visit, "/policy/tool", **HOLD)).text)
    assert (await visit.post("/policy/tool/save", fields)).status_code == 303
    assert place.file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    content = real.read_bytes()
    assert content.count(b"\n") == content.count(b"\r\n") == RULES.count("\n")
    assert os.listdir(folder) == ["real.json"]  # noqa: PTH208 - names are the claim


async def test_a_call_that_the_new_policy_denies_is_superseded(place: Place, office: Door) -> None:
    held = place.scene.held("git_commit", {"message": "x"}, server="git")
    visit = await office.signed_in("alice", "admin")
    form = {**HOLD, "tool": "git_commit", "choice": "deny", "/on_deny": "Not now."}
    fields = hidden((await press(visit, "/policy/tool", **form)).text)
    await visit.post("/policy/tool/save", fields)
    found = await place.scene.approvals.get(held.id)
    assert found is not None
    assert found.state == "superseded"


async def test_a_draft_is_tried_on_the_calls_of_the_last_week(place: Place, office: Door) -> None:
    past_calls(place.scene)
    visit = await office.signed_in("alice", "admin")
    form = {**HOLD, "server": "billing", "tool": "list_invoices"}
    page = (await press(visit, "/policy/tool", **form)).text
    assert "Of 120 calls in 7 days" in page
    assert "60 newly held" in page
    assert "0 newly denied" in page
    form = {**HOLD, "server": "billing", "tool": "create_charge", "choice": "custom"}
    rule = {
        "/deny_if/0/keep": "", "/deny_if/0/conditions/0/path": "args.amount",
        "/deny_if/0/conditions/0/op": "gte", "/deny_if/0/conditions/0/value": "38000",
    }  # fmt: skip
    page = (await press(visit, "/policy/tool", **form, **rule)).text
    assert "2 newly denied" in page


async def test_a_record_that_cannot_be_written_keeps_the_file(place: Place, office: Door) -> None:
    visit = await office.signed_in("alice", "admin")
    fields = hidden((await press(visit, "/policy/tool", **HOLD)).text)
    place.scene.database.journal.write_now(
        lambda tx: tx.connection.exec_driver_sql(
            "CREATE TRIGGER full BEFORE INSERT ON history BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    )
    with pytest.raises(sqlite3.IntegrityError):  # a 500 for the browser
        await visit.post("/policy/tool/save", fields)
    assert place.file.read_text() == RULES


@pytest.mark.parametrize("role", ["viewer", "approver"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/policy/tool?tool=git_status"), ("GET", "/policy/text"),
        ("POST", "/policy/tool"), ("POST", "/policy/tool/save"), ("POST", "/policy/text"),
    ],
)  # fmt: skip
async def test_only_administrators_change_rules(
    place: Place, office: Door, role: Role, method: str, path: str
) -> None:
    visit = await office.signed_in("eve", role)
    assert "Change" not in (await visit.get("/policy")).text
    form = {**HOLD, "do": "save", "text": "{}", "rules": "{}"}
    answer = await (visit.get(path) if method == "GET" else press(visit, path, **form))
    assert answer.status_code == 403
    assert place.file.read_text() == RULES


@pytest.mark.parametrize("path", ["/policy/tool", "/policy/tool/save", "/policy/text"])
async def test_no_change_without_the_sessions_token(place: Place, office: Door, path: str) -> None:
    visit = await office.signed_in("alice", "admin")
    form = {**HOLD, "do": "save", "text": "{}", "rules": "{}"}
    assert (await visit.post(path, form)).status_code == 403
    assert place.file.read_text() == RULES


@pytest.mark.parametrize("attack", ATTACKS)
async def test_whatever_is_typed_into_the_form_is_text(
    place: Place, office: Door, attack: str
) -> None:
    visit = await office.signed_in("alice", "admin")
    form = {**HOLD, "server": attack, "tool": attack, "place": attack, "choice": "custom",
            "/deny_if/0/keep": attack, "/deny_if/0/conditions/0/path": attack,
            "/deny_if/0/conditions/0/op": attack, "/deny_if/0/conditions/0/value": attack,
            "/limits/0/keep": attack, "/limits/0/max": attack, "/redact": attack}  # fmt: skip
    for path, more in (
        ("/policy/tool", {}), ("/policy/tool", {"do": "more"}),
        ("/policy/tool/save", {"rules": attack, "revision": attack}),
        ("/policy/text", {"text": attack, "revision": attack}),
    ):  # fmt: skip
        answer = await press(visit, path, **{**form, **more})
        assert answer.status_code < 500
        assert stray(answer.text) == ""
    assert place.file.read_text() == RULES


async def test_while_the_file_is_broken_only_its_text_is_edited(place: Place, office: Door) -> None:
    place.file.write_text("{")
    visit = await office.signed_in("alice", "admin")
    page = await visit.get("/policy/tool?tool=git_status")
    assert (page.status_code, "Mend its text" in page.text) == (409, True)
    revision = place.editor.read().revision
    form = {"text": RULES, "revision": revision, "do": "save"}
    assert (await press(visit, "/policy/text", **form)).status_code == 303
    assert place.file.read_text() == RULES
