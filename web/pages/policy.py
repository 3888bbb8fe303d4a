"""The policy as pages: what is in force, a form for each tool, the whole text, and saving.

Every change is shown first: what it changes in words and in the file, what is wrong with it, and
what it would have meant for the calls of the last week. Nothing here decides; the editor writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateway.admin.backtest import Trial
from gateway.admin.models import Draft, Saved, ToolLine
from gateway.admin.policy_editor import PolicyEditor
from gateway.policy.drafting import pointer_to
from web.context import Context
from web.page_request import PageRequest, admin_page_of, page_of
from web.views.frame import FormNotice
from web.views.rule_form import KINDS, PATHS, WINDOW_NAMES, builder
from web.views.rule_form_reader import choice_of
from web.views.tool_table import fate_words, grouped

_LONGEST = 900_000  # characters of a policy a form may carry; larger ones are edited in their file
_Asked = Annotated[str, Query(max_length=200)]
_SAID = {
    "same": "Nothing was saved: this is what the file says already.",
    "invalid": "Nothing was saved: it has errors.",
    "changed": "Nothing was saved: someone changed the file meanwhile. This is your change on top "
    "of the file as it is now. Look at it again, then save.",
    "waiting": "Nothing was saved: someone changed the file, and that waits to be confirmed. Look "
    "at it first: saving on top would confirm it with yours.",
    "unwritable": "Nothing was saved: the gateway may not write this file. Copy the text and put "
    "it there yourself.",
}


@dataclass(frozen=True, slots=True)
class Named:
    """Rules of the file for names that no server has listed: globs, and tools not seen yet."""

    place: str
    name: str


@dataclass(frozen=True, slots=True)
class RuleAddress:
    """Which tool of which server rules are for, and where in the file they stand: in the section of
    the server `place`, "" for the whole document.
    """

    server: str
    tool: str
    place: str


@dataclass(frozen=True, slots=True)
class Filled:
    """What was chosen for a tool: its rules, and the kind of choice that the form had marked."""

    choice: Any
    kind: str = ""


routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/policy")
async def policy(request: Request, context: Context, saved: _Asked = "") -> Response:
    page = await page_of(context, request)
    shown = context.services.admin.policy()
    lines = list(await context.services.admin.tools())
    done = saved == shown.hash[:12] and bool(saved)
    return await page.render(
        "policy.html",
        policy=shown,
        groups=grouped(lines, {}),
        named=_named(shown.text, lines),
        default=_default(shown.text),
        admin=page.is_admin,
        notice=FormNotice("Saved, and in force.", "good") if done else None,
    )


@routes.get("/policy/tool")
async def tool(
    request: Request,
    tool: _Asked,
    context: Context,
    server: _Asked = "",
    place: _Asked | None = None,
) -> Response:
    page = await admin_page_of(context, request)
    at = place if place is not None else _place(context.services.editor, server, tool)
    return await _form(page, RuleAddress(server, tool, at))


@routes.post("/policy/tool")
async def filled(request: Request, context: Context) -> Response:
    # Shows what it would change, or what is wrong with it.
    form = await _sent(request)
    page = await admin_page_of(context, request, form.get("csrf", ""))
    at = _address(form)
    rules = context.services.editor.rules(at.server, at.tool, at.place)
    if rules is None:
        return await _broken(page)
    chosen = Filled(choice_of(form, rules.choice), form.get("choice", ""))
    if form.get("do") == "more":
        return await _form(page, at, chosen)
    return await _drafted(page, at, chosen)


@routes.post("/policy/tool/save")
async def save(request: Request, context: Context) -> Response:
    # Saves what was shown; on another file than it was shown on, shows it again instead.
    form = await _sent(request)
    page = await admin_page_of(context, request, form.get("csrf", ""))
    at, editor = _address(form), context.services.editor
    if editor.rules(at.server, at.tool, at.place) is None:
        return await _broken(page)
    try:
        choice = json.loads(form.get("rules", ""))
    except (ValueError, RecursionError):
        return await _form(page, at, status=422)
    text, on = editor.drafted(at.tool, at.place, choice)
    saved = Saved("changed")
    if on == form.get("revision"):
        saved = await editor.save(text, on, page.viewer.reviewer)
    if saved.outcome == "saved":
        return _done(saved)
    return await _drafted(page, at, Filled(choice), FormNotice(_SAID[saved.outcome], "bad"))


@routes.get("/policy/text")
async def text(request: Request, context: Context) -> Response:
    page = await admin_page_of(context, request)
    file = context.services.editor.read()
    return await _text(page, file.text, file.revision)


@routes.post("/policy/text", name="filled")
async def filled_text(request: Request, context: Context) -> Response:
    form = await _sent(request)
    page = await admin_page_of(context, request, form.get("csrf", ""))
    written, revision = form.get("text", ""), form.get("revision", "")
    if form.get("do") != "save":
        return await _text(page, written, revision, looked=True)
    saved = await context.services.editor.save(written, revision, page.viewer.reviewer)
    if saved.outcome == "saved":
        return _done(saved)
    return await _text(page, written, "", looked=True, saved=saved)


async def _form(
    page: PageRequest,
    at: RuleAddress,
    filled: Filled | None = None,
    draft: Draft | None = None,
    notice: FormNotice | None = None,
    status: int = 200,
) -> Response:
    """The form of one tool, as it was filled, else as the file says."""
    rules = page.context.services.editor.rules(at.server, at.tool, at.place)
    if rules is None:
        return await _broken(page)
    shown = rules.choice if filled is None else filled.choice
    pointer = pointer_to(at.place, at.tool)
    near = [one for one in draft.problems if _inside(one.pointer, pointer)] if draft else []
    tried = await _tried(page, draft)
    return await page.render(
        "builder.html",
        status,
        server=at.server,
        tool=at.tool,
        place=at.place,
        places=await _places(page, at.server),
        kinds=KINDS,
        rules=rules,
        form=builder(shown, near, pointer, filled.kind if filled is not None else ""),
        elsewhere=[one for one in draft.news if one not in near] if draft else [],
        paths=(*rules.paths, *PATHS),
        windows=WINDOW_NAMES,
        draft=draft,
        tried=tried,
        written=json.dumps(shown, ensure_ascii=False),
        words=fate_words,
        notice=notice,
    )


async def _drafted(
    page: PageRequest, at: RuleAddress, filled: Filled, refused: FormNotice | None = None
) -> Response:
    """The form with what it would change, or what is wrong with it; `refused`: why it was not
    saved.
    """
    editor = page.context.services.editor
    text, _ = editor.drafted(at.tool, at.place, filled.choice)
    draft = editor.draft(text, at.server, at.tool)
    notice, status = refused, 200 if refused is None else 409
    if not draft.valid:
        notice = notice or FormNotice("Not ready to save: see what is marked.", "bad")
        status = max(status, 422)
    elif not draft.lines and notice is None:
        notice = FormNotice("This is what the file says already.")
    return await _form(page, at, filled, draft, notice, status)


async def _text(
    page: PageRequest,
    text: str,
    revision: str,
    *,
    looked: bool = False,
    saved: Saved | None = None,
) -> Response:
    """The whole text as a form, and what it would change once it was looked at."""
    draft = page.context.services.editor.draft(text, "", "") if looked else None
    notice = FormNotice(_SAID[saved.outcome], "bad") if saved else None
    if draft and not saved and draft.revision != revision:
        words = "Someone changed the file since you opened it. The difference below is"
        notice = FormNotice(f"{words} against the file as it is now.", "bad")
    if draft and not draft.lines and not notice:
        notice = FormNotice("This is what the file says already.")
    return await page.render(
        "policytext.html",
        200 if saved is None else 409,
        written=text,
        revision=draft.revision if draft else revision,
        draft=draft,
        tried=await _tried(page, draft),
        notice=notice,
        words=fate_words,
    )


async def _tried(page: PageRequest, draft: Draft | None) -> Trial | None:
    if draft is None or not draft.valid or not draft.lines:
        return None
    return await page.context.services.editor.tried(draft.text)


async def _places(page: PageRequest, server: str) -> list[tuple[str, str]]:
    """Where the rules may stand: (value, words)."""
    lines = await page.context.services.admin.tools()
    servers = list(dict.fromkeys(line.server for line in lines))
    own = [server] if server and server not in servers else []
    return [("", "every server"), *((name, f"{name} only") for name in (*own, *servers))]


async def _broken(page: PageRequest) -> Response:
    sentence = "The file on disk has errors. Mend its text first; until then the last good "
    return await page.message(
        409,
        "Tools cannot be changed one by one now",
        f"{sentence}policy stays in force.",
        goto="/policy/text",
        goto_words="To the text",
    )


def _address(form: Mapping[str, str]) -> RuleAddress:
    return RuleAddress(*(form.get(name, "") for name in ("server", "tool", "place")))


def _inside(pointer: str, entry: str) -> bool:
    return pointer == entry or pointer.startswith(f"{entry}/")


def _place(editor: PolicyEditor, server: str, tool: str) -> str:
    """Where the tool's rules stand now: its server's section, else the whole document."""
    if not server:
        return ""
    own = editor.rules(server, tool, server)
    return server if own is not None and own.choice is not None else ""


async def _sent(request: Request) -> dict[str, str]:
    sent = await request.form(max_fields=4000, max_part_size=_LONGEST)
    return {
        name: value.replace("\r\n", "\n") for name, value in sent.items() if isinstance(value, str)
    }


def _done(saved: Saved) -> Response:
    return RedirectResponse(f"/policy?{urlencode({'saved': saved.hash[:12]})}", 303)


def _document(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _default(text: str) -> str:
    return str(_document(text).get("default", ""))


def _named(text: str, lines: list[ToolLine]) -> list[Named]:
    """Names the file has rules for and no server has listed."""
    document = _document(text)
    servers = document.get("servers")
    parts = {"": document, **(servers if isinstance(servers, dict) else {})}
    known = {(line.server, line.name) for line in lines} | {("", line.name) for line in lines}
    found = []
    for place, part in parts.items():
        tools = part.get("tools") if isinstance(part, dict) else None
        hide = part.get("hide") if isinstance(part, dict) else None
        names = [*(tools if isinstance(tools, dict) else ()), *(hide or ())]
        found += [Named(place, str(name)) for name in names if (place, name) not in known]
    return found
