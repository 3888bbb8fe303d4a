"""Pages about agents, servers, tools and figures. What an administrator changes here is done by the
service of `gateway.admin`; these routes check who asks and say what came of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from gateway.risk.assessment import Category
from web.context import Context
from web.page_request import PageRequest, admin_page_of, page_of
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


routes = APIRouter(default_response_class=HTMLResponse)


@routes.get("/tools")
async def tools(request: Request, context: Context, settled: _Asked = "") -> Response:
    page = await page_of(context, request)
    services = context.services
    lines = list(await services.admin.tools())
    now = context.clock.now()
    use = await services.database.read(lambda connection: use_of_tools(connection, now))
    held = sum(line.verdict in ("hold", "sometimes") for line in lines)
    free = sum(line.verdict in ("allow", "limited") for line in lines)
    summary = f"{len(lines)} tools: {held} wait for approval, {free} pass." if lines else ""
    return await page.render(
        "tools.html",
        groups=grouped(lines, use),
        changed=await services.admin.changed_servers(),
        summary=summary,
        classes=CLASSES if page.is_admin else (),
        notice=_SETTLED.get(settled),
        admin=page.is_admin,
    )


@routes.get("/insights")
async def figures(request: Request, context: Context) -> Response:
    page = await page_of(context, request)
    now = context.clock.now()
    found = await context.services.database.read(lambda connection: insights(connection, now))
    return await page.render(
        "insights.html", days=found.days, stats=found.stats, bars=found.bars, tables=found.tables
    )


@dataclass(frozen=True, slots=True)
class ClassForm:
    """What a tool is, said of the definition with the hash `seen`; no kind takes that back."""

    server: _Short
    tool: _Short
    seen: _Short
    kind: _Short = ""
    csrf: _Short = ""


@routes.post("/tools/class")
async def class_(
    request: Request, form: Annotated[ClassForm, Depends()], context: Context
) -> Response:
    page = await admin_page_of(context, request, form.csrf)
    await context.services.admin.classify(
        form.server, form.tool, form.kind, form.seen, page.viewer.reviewer
    )
    return RedirectResponse("/tools", 303)


@routes.get("/agents")
async def agents(request: Request, context: Context, confirmed: _Asked = "") -> Response:
    page = await page_of(context, request)
    servers = await context.services.admin.servers()
    is_open = any(one.name == confirmed and one.state != "waiting" for one in servers)
    text = f"Confirmed: {confirmed} is started or reached as you were shown."
    return await _agents(page, FormNotice(text, "good") if is_open else None)


@routes.post("/agents/freeze")
async def freeze(
    request: Request,
    kind: _Short,
    context: Context,
    name: _Short = "",
    on: _Short = "",
    csrf: _Short = "",
) -> Response:
    page = await admin_page_of(context, request, csrf)
    await context.services.admin.freeze(kind, name, on=bool(on), by=page.viewer.reviewer)
    # Back to where it was pressed: what it did is seen there.
    place = {"grant": quote(name), "server": "servers"}.get(kind, "everything")
    return RedirectResponse(f"/agents#{place}", 303)


@dataclass(frozen=True, slots=True)
class GrantForm:
    """A new agent: its name, the servers it reaches, who answers for it, and how long it lasts."""

    label: Annotated[str, Form(min_length=1, max_length=80)]
    servers: _Short = "*"
    owner: Annotated[str, Form(max_length=80)] = ""
    days: Annotated[str, Form(max_length=5)] = ""
    csrf: _Short = ""

    @property
    def lasts(self) -> int | None:
        """Days; None: it does not end."""
        days = self.days
        return int(days) if days.isascii() and days.isdigit() and int(days) > 0 else None


@routes.post("/agents/new")
async def new(
    request: Request, form: Annotated[GrantForm, Depends()], context: Context
) -> Response:
    page = await admin_page_of(context, request, form.csrf)
    admin, label = context.services.admin, form.label.strip()
    names = tuple(name.strip() for name in form.servers.split(",") if name.strip())
    token = await admin.create(
        label=label,
        servers=names,
        owner=form.owner.strip(),
        days=form.lasts,
        by=page.viewer.reviewer,
    )
    known = {server.name for server in await admin.servers()}
    missing = ", ".join(name for name in names if name not in known and name != "*")
    notice = FormNotice(f"No server is called {missing}: see servers.json.", "bad")
    # Answered in place and never stored: the token exists in this one response.
    lines = connect_lines(context.services.public_url, label, token)
    return await _agents(page, notice if missing else None, NewToken(label, token, lines))


@routes.post("/agents/token")
async def token(request: Request, context: Context, csrf: _Short = "") -> Response:
    """A token of one's own for commands: the way back in where they take nothing else."""
    page = await admin_page_of(context, request, csrf)
    name = page.viewer.reviewer.id
    made = await context.services.people.token(name)
    return await _agents(page, None, NewToken(name, made))


@routes.post("/agents/revoke")
async def revoke(
    request: Request,
    grant: Annotated[str, Form(alias="id", max_length=80)],
    context: Context,
    csrf: _Short = "",
) -> Response:
    page = await admin_page_of(context, request, csrf)
    done = await context.services.admin.revoke(grant, by=page.viewer.reviewer)
    label = (await context.grant_names()).get(grant, grant)
    text = f"Revoked. The token of {label} opens nothing any more."
    notice = FormNotice(text, "good") if done else FormNotice("It had ended before.")
    return await _agents(page, notice)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made, shown this once."""

    name: str  # of the agent, or of the person it is for
    token: str
    lines: Sequence[Mapping[str, str]] = ()  # what to paste where, for an agent


async def _agents(
    page: PageRequest, notice: FormNotice | None, made: NewToken | None = None
) -> Response:
    services = page.context.services
    return await page.render(
        "grants.html",
        grants=await services.admin.grants(),
        last=await services.database.read(last_calls),
        servers=await services.admin.servers(),
        admin=page.is_admin,
        made=made,
        notice=notice,
    )
