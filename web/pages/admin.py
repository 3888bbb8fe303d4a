"""Pages about agents, servers, tools, the policy and figures. What an administrator changes here is
done by the desk that was given; these routes check who asks and say what came of it.
"""

from __future__ import annotations

import json
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateway.risk.assessment import Category
from web.context import PageContext
from web.pages import confirm, definition, policy
from web.services import Desk
from web.session import Viewer
from web.views.figures import insights, last_calls, use_of_tools
from web.views.frame import FormNotice
from web.views.tool_table import grouped

_Short = Annotated[str, Form(max_length=400)]
_Asked = Annotated[str, Query(max_length=400)]

_SETTLED: Final = {
    "accept": FormNotice("Accepted: agents see it as the server says it now.", "good"),
    "keep": FormNotice(
        "Kept: agents see what was pinned. Should the server say otherwise again, it is refused.",
        "good",
    ),
}
"""After a changed definition was settled, by what was chosen."""

CLASSES: Final = tuple(category.lower() for category in Category)
"""What an administrator may say a tool is."""


def connect_lines(url: str, label: str, token: str) -> list[dict[str, str]]:
    """What to paste where, to connect an agent to every server its grant reaches."""
    letters = (part if part.isascii() and part.isalnum() else "-" for part in label.lower())
    name = "".join(letters).strip("-") or "signoff"
    address = f"{url}/mcp"
    headers = {"Authorization": f"Bearer {token}"}
    cursor = {"mcpServers": {name: {"url": address, "headers": headers}}}
    code = {"servers": {name: {"type": "http", "url": address, "headers": headers}}}
    return [
        {
            "name": "Claude Code",
            "text": f"claude mcp add --transport http {name} {address} "
            f'--header "Authorization: Bearer {token}"',
        },
        {"name": "Cursor, .cursor/mcp.json", "text": json.dumps(cursor)},
        {"name": "VS Code, .vscode/mcp.json", "text": json.dumps(code)},
        {
            "name": "Codex, ~/.codex/config.toml",
            "text": f'[mcp_servers.{name}]\nurl = "{address}"\n'
            f'http_headers = {{ Authorization = "Bearer {token}" }}',
        },
    ]


def router(office: PageContext) -> APIRouter:
    routes = APIRouter(default_response_class=HTMLResponse)
    deps = office.deps

    @routes.get("/tools")
    async def tools(request: Request, settled: _Asked = "") -> Response:
        viewer = await office.sessions.of_page(request)
        lines = list(await deps.tools())
        now = deps.clock.now()
        use = await deps.database.read(lambda connection: use_of_tools(connection, now))
        held = sum(line.verdict in ("hold", "sometimes") for line in lines)
        free = sum(line.verdict in ("allow", "limited") for line in lines)
        summary = f"{len(lines)} tools: {held} wait for approval, {free} pass." if lines else ""
        groups = grouped(lines, use)
        return await office.page(
            request,
            viewer,
            "tools.html",
            groups=groups,
            changed=await deps.desk.changed_servers() if deps.desk is not None else (),
            summary=summary,
            reviewable=deps.desk is not None,
            classes=CLASSES if viewer.reviewer.role == "admin" and deps.desk is not None else (),
            notice=_SETTLED.get(settled),
            admin=viewer.reviewer.role == "admin" and deps.rulebook is not None,
        )

    @routes.get("/insights")
    async def figures(request: Request) -> Response:
        viewer = await office.sessions.of_page(request)
        now = deps.clock.now()
        found = await deps.database.read(lambda connection: insights(connection, now))
        return await office.page(
            request,
            viewer,
            "insights.html",
            days=found.days,
            stats=found.stats,
            bars=found.bars,
            tables=found.tables,
        )

    policy.add(routes, office)
    if deps.desk is not None:
        _add_desk(routes, office, deps.desk)
        definition.add(routes, office, deps.desk)
        confirm.add_servers(routes, office, deps.desk)
    return routes


def _add_desk(routes: APIRouter, office: PageContext, desk: Desk) -> None:
    @routes.post("/tools/class")
    async def class_(
        request: Request,
        server: _Short,
        tool: _Short,
        seen: _Short,
        kind: _Short = "",
        csrf: _Short = "",
    ) -> Response:
        viewer = await office.sessions.admin(request, csrf)
        await desk.classify(server, tool, kind, seen, viewer.reviewer)
        return RedirectResponse("/tools", 303)

    @routes.get("/agents")
    async def agents(request: Request, confirmed: _Asked = "") -> Response:
        viewer = await office.sessions.of_page(request)
        is_open = any(
            one.name == confirmed and one.state != "waiting" for one in await desk.servers()
        )
        text = f"Confirmed: {confirmed} is started or reached as you were shown."
        notice = FormNotice(text, "good") if is_open else None
        return await _agents(office, desk, request, viewer, notice=notice)

    _add_grants(routes, office, desk)

    @routes.post("/agents/freeze")
    async def freeze(
        request: Request, kind: _Short, name: _Short = "", on: _Short = "", csrf: _Short = ""
    ) -> Response:
        viewer = await office.sessions.admin(request, csrf)
        await desk.freeze(kind, name, on=bool(on), by=viewer.reviewer)
        # Back to where it was pressed: what it did is seen there.
        place = {"grant": quote(name), "server": "servers"}.get(kind, "everything")
        return RedirectResponse(f"/agents#{place}", 303)


def _add_grants(routes: APIRouter, office: PageContext, desk: Desk) -> None:
    @routes.post("/agents/new")
    async def new(
        request: Request,
        label: Annotated[str, Form(min_length=1, max_length=80)],
        servers: _Short = "*",
        owner: Annotated[str, Form(max_length=80)] = "",
        days: Annotated[str, Form(max_length=5)] = "",
        csrf: _Short = "",
    ) -> Response:
        viewer = await office.sessions.admin(request, csrf)
        names = tuple(name.strip() for name in servers.split(",") if name.strip())
        ends = int(days) if days.isascii() and days.isdigit() and int(days) > 0 else None
        token = await desk.create(
            label=label.strip(), servers=names, owner=owner.strip(), days=ends, by=viewer.reviewer
        )
        known = {server.name for server in await desk.servers()}
        missing = ", ".join(name for name in names if name not in known and name != "*")
        notice = FormNotice(f"No server is called {missing}: see servers.json.", "bad")
        # Answered in place and never stored: the token exists in this one response.
        return await _agents(
            office,
            desk,
            request,
            viewer,
            made=label.strip(),
            token=token,
            notice=notice if missing else None,
        )

    @routes.post("/agents/token")
    async def token(request: Request, csrf: _Short = "") -> Response:
        """A token of one's own for commands: the way back in where they take nothing else."""
        viewer = await office.sessions.admin(request, csrf)
        name = viewer.reviewer.id
        made = await office.deps.people.token(name)
        return await _agents(office, desk, request, viewer, made=name, token=made, own=True)

    @routes.post("/agents/revoke")
    async def revoke(
        request: Request,
        grant: Annotated[str, Form(alias="id", max_length=80)],
        csrf: _Short = "",
    ) -> Response:
        viewer = await office.sessions.admin(request, csrf)
        done = await desk.revoke(grant, by=viewer.reviewer)
        label = (await office.grant_names()).get(grant, grant)
        text = f"Revoked. The token of {label} opens nothing any more."
        notice = FormNotice(text, "good") if done else FormNotice("It had ended before.")
        return await _agents(office, desk, request, viewer, notice=notice)


async def _agents(
    office: PageContext,
    desk: Desk,
    request: Request,
    viewer: Viewer,
    *,
    made: str = "",
    token: str = "",
    own: bool = False,
    notice: FormNotice | None = None,
) -> Response:
    return await office.page(
        request,
        viewer,
        "grants.html",
        grants=await desk.grants(),
        last=await office.deps.database.read(last_calls),
        servers=await desk.servers(),
        admin=viewer.reviewer.role == "admin",
        made=made,
        token=token,
        lines=connect_lines(office.deps.public_url, made, token) if token and not own else [],
        notice=notice,
    )
