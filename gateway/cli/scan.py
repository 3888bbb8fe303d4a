"""`signoff scan`: which tools a server has, what they can do, and the rule to start with."""

from __future__ import annotations

import json as jsonlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from gateway.cli import files, show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.risk import Assessment
    from gateway.servers import Server

_LONGEST_WAIT = 20.0


def scan(
    what: Annotated[
        list[str] | None, typer.Argument(help="A name in servers.json, or -- COMMAND ARG…")
    ] = None,
    url: Annotated[str, typer.Option(help="A server reached by URL.")] = "",
    name: Annotated[str, typer.Option(help="What to call it in the policy.")] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a policy that denies by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite; the old one is kept.")] = False,
    attacks: Annotated[bool, typer.Option("--attacks", help="Show known attacks, too.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait.")] = _LONGEST_WAIT,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before a server of the file is started.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """A server's tools: class, risk and recommended rule of each."""
    import asyncio

    from gateway.cli.listing import NotListed, tools_of

    server = _server(what or [], url, name)
    if not url and "--" not in sys.argv:  # from the file, not typed here
        _ask(server, yes=yes)
    if output is not None and output.exists() and not force:
        raise Stop(Exit.USAGE, f"{output} exists already; --force writes it again.")
    try:
        tools = asyncio.run(tools_of(server, seconds=timeout))
    except NotListed as unlisted:
        raise Stop(Exit.UNREACHABLE, f"{server.name}: {unlisted}") from unlisted
    if json:
        show.document("scan", server=server.name, items=[_item(*one) for one in _assessed(tools)])
    else:
        _draw(server.name, tools, attacks=attacks)
    if output is not None:
        from gateway.risk import scaffold

        files.write(output, as_text(scaffold(server.name, tools)), force=force)
        show.note(f"Wrote {output}. Next: look it through, then `signoff policy check {output}`")


def _server(what: Sequence[str], url: str, name: str) -> Server:
    """The server that is meant.

    Raises:
        Stop: none, several, or an unknown one is meant.
    """
    from gateway.servers import CommandServer, UrlServer

    if bool(what) == bool(url):
        raise Stop(Exit.USAGE, "Name one server: scan NAME, scan --url URL, or scan -- COMMAND.")
    if url:
        host = urlsplit(url).hostname
        if urlsplit(url).scheme not in ("http", "https") or not host:
            raise Stop(Exit.USAGE, "--url is an address like https://host/mcp.")
        return UrlServer(name=name or _plain(host), url=url, written=url)
    # Whatever follows a bare `--` is started; a mistyped name never is.
    if "--" in sys.argv:
        own = name or _plain(Path(what[0]).name)
        return CommandServer(
            name=own, command=what[0], args=tuple(what[1:]), env={}, written=tuple(what)
        )
    if len(what) > 1:
        raise Stop(Exit.USAGE, "To start a command, write -- before it: signoff scan -- COMMAND …")
    return _configured(what[0])


def _ask(server: Server, *, yes: bool) -> None:
    """Have someone agree to what the file says, unless that was confirmed.

    Raises:
        Stop: no one did.
    """
    from gateway.cli.asking import already_confirmed, chosen
    from gateway.cli.config import settings

    servers = {server.name: server}
    sure = already_confirmed(settings(), servers)
    if not chosen(servers, yes=yes, sure=sure):
        raise Stop(Exit.DENIED, f"{server.name} was not started: no one said yes.")


def _configured(name: str) -> Server:
    from gateway.cli.config import settings
    from gateway.servers import load_servers

    path = settings().servers
    found = load_servers(files.read(path), os.environ, workspace=str(path.absolute().parent))
    if name in found.servers:
        return found.servers[name]
    wrong = [str(problem) for problem in found.problems if problem.server in ("", name)]
    if wrong:
        raise Stop(Exit.INVALID, "\n".join([f"{path}:", *wrong]))
    known = ", ".join(found.servers) or "none"
    raise Stop(Exit.NOT_FOUND, f"There is no server {show.line(name)} in {path}; known: {known}.")


def _plain(name: str) -> str:
    """A name a server may have."""
    import re

    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:64] or "server"


def as_text(policy: Mapping[str, Any]) -> str:
    return jsonlib.dumps(policy, indent=2) + "\n"


def rule_words(rule: Mapping[str, Any]) -> str:
    """A recommended rule in a few words."""
    if "require_approval" in rule:
        return "require approval"
    for limit in rule.get("limits", ()):
        return f"{limit['max']} per {limit['window']}"
    return "allow"


def _assessed(
    tools: Sequence[Mapping[str, Any]],
) -> list[tuple[str, Assessment, dict[str, Any]]]:
    from gateway.risk import classify_all, recommend

    names = [str(tool.get("name", "")) for tool in tools]
    found = classify_all(tools)
    return [(name, one, recommend(one, name)) for name, one in zip(names, found, strict=True)]


def _item(name: str, found: Assessment, rule: Mapping[str, Any]) -> dict[str, Any]:
    from gateway.risk import attacks_for

    return {
        "tool": name,
        "class": found.category,
        "risk": found.risk,
        "confidence": found.confidence,
        "why": found.rationale,
        "signals": list(found.signals),
        "rule": rule,
        "attacks": [attack.id for attack in attacks_for(found)],
    }


def _draw(server: str, tools: Sequence[Mapping[str, Any]], *, attacks: bool) -> None:
    assessed = _assessed(tools)
    rows = [
        (
            name,
            str(found.category),
            found.risk,
            found.confidence,
            rule_words(rule),
            found.rationale,
        )
        for name, found, rule in assessed
    ]
    show.table(("TOOL", "CLASS", "RISK", "SURE", "RULE", "WHY"), rows)
    show.note(f"{server}: {len(tools)} tools. The rules are recommendations; nothing is guarded.")
    if attacks:
        _draw_attacks([(name, found) for name, found, _ in assessed])


def _draw_attacks(assessed: Sequence[tuple[str, Assessment]]) -> None:
    """Each known pattern that abuses some of the tools, and what stops it."""
    from gateway.risk import attacks_for, catalogue

    concerned: dict[str, list[str]] = {}
    for name, found in assessed:
        for attack in attacks_for(found):
            concerned.setdefault(attack.id, []).append(name)
    for attack in catalogue():
        names = concerned.get(attack.id)
        if names is None:
            continue
        sources = "; ".join(f"{source.title} ({source.year})" for source in attack.sources)
        print(f"\n{attack.name}")
        show.pairs(
            [
                ("what", attack.what),
                ("here", show.line(", ".join(names))),
                ("stopped by", attack.stopped_by),
                ("what remains", attack.residual),
                ("source", sources),
            ]
        )
