"""The policy as pages: what is in force, a form for each tool, the whole text, and saving.

Every change is shown first: what it changes in words and in the file, what is wrong with it, and
what it would have meant for the calls of the last week. Nothing here decides; the rulebook writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.admin.backtest import Trial
from gateway.admin.models import Draft, Saved, ToolLine
from gateway.policy.drafting import pointer_to
from web.context import PageContext
from web.pages import confirm
from web.services import Rulebook
from web.session import Viewer
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


def add(routes: APIRouter, office: PageContext) -> None:
    """The routes; those that change something only with a rulebook."""

    @routes.get("/policy")
    async def policy(request: Request, saved: _Asked = "") -> Response:
        viewer = await office.sessions.of_page(request)
        shown = office.deps.policy()
        lines = list(await office.deps.tools())
        done = shown is not None and saved == shown.hash[:12] and bool(saved)
        return await office.page(
            request,
            viewer,
            "policy.html",
            policy=shown,
            groups=grouped(lines, {}),
            named=_named(shown.text, lines) if shown else [],
            default=_default(shown.text) if shown else "",
            admin=viewer.reviewer.role == "admin" and office.deps.rulebook is not None,
            notice=FormNotice("Saved, and in force.", "good") if done else None,
        )

    if office.deps.rulebook is not None:
        _add_tool(routes, office, office.deps.rulebook)
        _add_text(routes, office, office.deps.rulebook)
        confirm.add_policy(routes, office, office.deps.rulebook)


def _add_tool(routes: APIRouter, office: PageContext, book: Rulebook) -> None:
    @routes.get("/policy/tool")
    async def tool(
        request: Request, tool: _Asked, server: _Asked = "", place: _Asked | None = None
    ) -> Response:
        viewer = await office.sessions.admin(request)
        bench = _PolicyForms(office, book, request, viewer)
        at = place if place is not None else _place(book, server, tool)
        return await bench.form(server, tool, at)

    @routes.post("/policy/tool")
    async def filled(request: Request) -> Response:
        form = await _sent(request)
        viewer = await office.sessions.admin(request, form.get("csrf", ""))
        bench = _PolicyForms(office, book, request, viewer)
        return await bench.filled(form)

    @routes.post("/policy/tool/save")
    async def save(request: Request) -> Response:
        form = await _sent(request)
        viewer = await office.sessions.admin(request, form.get("csrf", ""))
        bench = _PolicyForms(office, book, request, viewer)
        return await bench.saved(form)


def _add_text(routes: APIRouter, office: PageContext, book: Rulebook) -> None:
    @routes.get("/policy/text")
    async def text(request: Request) -> Response:
        viewer = await office.sessions.admin(request)
        file = book.read()
        bench = _PolicyForms(office, book, request, viewer)
        return await bench.text(file.text, file.revision)

    @routes.post("/policy/text")
    async def filled(request: Request) -> Response:
        form = await _sent(request)
        viewer = await office.sessions.admin(request, form.get("csrf", ""))
        bench = _PolicyForms(office, book, request, viewer)
        written = form.get("text", "")
        if form.get("do") != "save":
            return await bench.text(written, form.get("revision", ""), looked=True)
        saved = await book.save(written, form.get("revision", ""), viewer.reviewer)
        if saved.outcome == "saved":
            return _done(saved)
        return await bench.text(written, "", looked=True, saved=saved)


class _PolicyForms:
    """The pages on which one administrator changes the policy."""

    def __init__(
        self, office: PageContext, book: Rulebook, request: Request, viewer: Viewer
    ) -> None:
        self._office = office
        self._book = book
        self._request = request
        self._viewer = viewer

    async def form(
        self,
        server: str,
        tool: str,
        place: str,
        *,
        choice: Any = ...,
        kind: str = "",
        draft: Draft | None = None,
        notice: FormNotice | None = None,
        status: int = 200,
    ) -> Response:
        """The form of one tool; `choice` is as it was filled, else as the file says."""
        rules = self._book.rules(server, tool, place)
        if rules is None:
            return await self._broken()
        shown = rules.choice if choice is ... else choice
        pointer = pointer_to(place, tool)
        near = [one for one in draft.problems if _inside(one.pointer, pointer)] if draft else []
        tried = await self._tried(draft)
        return await self._office.page(
            self._request,
            self._viewer,
            "builder.html",
            status,
            server=server,
            tool=tool,
            place=place,
            places=await self._places(server),
            kinds=KINDS,
            rules=rules,
            form=builder(shown, near, pointer, kind),
            elsewhere=[one for one in draft.news if one not in near] if draft else [],
            paths=(*rules.paths, *PATHS),
            windows=WINDOW_NAMES,
            draft=draft,
            tried=tried,
            written=json.dumps(shown, ensure_ascii=False),
            words=fate_words,
            notice=notice,
        )

    async def filled(self, form: Mapping[str, str]) -> Response:
        """The form as it was sent: what it would change, or what is wrong with it."""
        server, tool, place = (form.get(name, "") for name in ("server", "tool", "place"))
        rules = self._book.rules(server, tool, place)
        if rules is None:
            return await self._broken()
        choice = choice_of(form, rules.choice)
        kind = form.get("choice", "")
        if form.get("do") == "more":
            return await self.form(server, tool, place, choice=choice, kind=kind)
        return await self._drafted(server, tool, place, choice, kind)

    async def saved(self, form: Mapping[str, str]) -> Response:
        """Saves what was shown; on another file than it was shown on, shows it again instead."""
        server, tool, place = (form.get(name, "") for name in ("server", "tool", "place"))
        rules = self._book.rules(server, tool, place)
        if rules is None:
            return await self._broken()
        try:
            choice = json.loads(form.get("rules", ""))
        except (ValueError, RecursionError):
            return await self.form(server, tool, place, status=422)
        text, on = self._book.drafted(tool, place, choice)
        saved = Saved("changed")
        if on == form.get("revision"):
            saved = await self._book.save(text, on, self._viewer.reviewer)
        if saved.outcome == "saved":
            return _done(saved)
        notice = FormNotice(_SAID[saved.outcome], "bad")
        return await self._drafted(server, tool, place, choice, "", notice, 409)

    async def text(
        self, text: str, revision: str, *, looked: bool = False, saved: Saved | None = None
    ) -> Response:
        """The whole text as a form, and what it would change once it was looked at."""
        draft = self._book.draft(text, "", "") if looked else None
        notice = FormNotice(_SAID[saved.outcome], "bad") if saved else None
        if draft and not saved and draft.revision != revision:
            words = "Someone changed the file since you opened it. The difference below is"
            notice = FormNotice(f"{words} against the file as it is now.", "bad")
        if draft and not draft.lines and not notice:
            notice = FormNotice("This is what the file says already.")
        return await self._office.page(
            self._request,
            self._viewer,
            "policytext.html",
            200 if saved is None else 409,
            written=text,
            revision=draft.revision if draft else revision,
            draft=draft,
            tried=await self._tried(draft),
            notice=notice,
            words=fate_words,
        )

    async def _drafted(
        self,
        server: str,
        tool: str,
        place: str,
        choice: Any,
        kind: str,
        notice: FormNotice | None = None,
        status: int = 200,
    ) -> Response:
        text, _ = self._book.drafted(tool, place, choice)
        draft = self._book.draft(text, server, tool)
        if not draft.valid:
            notice = notice or FormNotice("Not ready to save: see what is marked.", "bad")
            status = max(status, 422)
        elif not draft.lines and notice is None:
            notice = FormNotice("This is what the file says already.")
        return await self.form(
            server, tool, place, choice=choice, kind=kind, draft=draft, notice=notice, status=status
        )

    async def _tried(self, draft: Draft | None) -> Trial | None:
        if draft is None or not draft.valid or not draft.lines:
            return None
        return await self._book.tried(draft.text)

    async def _places(self, server: str) -> list[tuple[str, str]]:
        """Where the rules may stand: (value, words)."""
        servers = list(dict.fromkeys(line.server for line in await self._office.deps.tools()))
        own = [server] if server and server not in servers else []
        return [("", "every server"), *((name, f"{name} only") for name in (*own, *servers))]

    async def _broken(self) -> Response:
        sentence = "The file on disk has errors. Mend its text first; until then the last good "
        return await self._office.message(
            self._request,
            self._viewer,
            409,
            "Tools cannot be changed one by one now",
            f"{sentence}policy stays in force.",
            goto="/policy/text",
            goto_words="To the text",
        )


def _inside(pointer: str, entry: str) -> bool:
    return pointer == entry or pointer.startswith(f"{entry}/")


def _place(book: Rulebook, server: str, tool: str) -> str:
    """Where the tool's rules stand now: its server's section, else the whole document."""
    if not server:
        return ""
    own = book.rules(server, tool, server)
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
