"""`signoff init`: from the servers file that is already there to a gateway that starts.

Overwrites nothing, and starts nothing before it was shown and agreed to. Entries are kept as
written, secrets by reference as they were.
"""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import files, show
from gateway.cli.exits import Exit, Stop
from gateway.cli.scan import as_text, rule_words

if TYPE_CHECKING:
    from gateway.cli.foreign import Found
    from gateway.cli.listing import Definition, NotListed
    from gateway.servers import Servers
    from gateway.settings import Settings

_SECONDS = 20.0


def init(
    source: Annotated[
        Path | None, typer.Option("--from", help="A servers file of Claude, Cursor, VS Code, …")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite; the old ones are kept.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before the servers are started.")
    ] = False,
) -> None:
    """Write servers.json and policy.json from the file you have."""
    import asyncio

    from gateway.cli import foreign
    from gateway.cli.asking import chosen
    from gateway.cli.config import settings
    from gateway.cli.confirming import wrote_policy, wrote_servers
    from gateway.cli.listing import NotListed, tools_of_all
    from gateway.servers import load_servers

    configured = settings()
    path = _source(source, configured)
    in_place = path.absolute() == configured.servers.absolute()
    _free(configured, in_place=in_place, force=force)
    found = foreign.read(path, files.read(path), own=configured.url())
    text = jsonlib.dumps({"mcpServers": found.entries}, indent=2, ensure_ascii=False) + "\n"
    workspace = str(configured.servers.absolute().parent)
    servers = load_servers(text.encode(), os.environ, workspace=workspace)
    show.note(f"Read {path}: {show.counted(len(found.entries), 'server')}.")
    _can_ask(servers, yes=yes)
    agreed = chosen(servers.servers, yes=yes)
    wanted = {name: server for name, server in servers.servers.items() if name in agreed}
    listed: dict[str, list[Definition] | NotListed] = dict.fromkeys(
        servers.servers, NotListed("it was not started: no one said yes")
    )
    listed |= asyncio.run(tools_of_all(wanted, seconds=_SECONDS))
    policy = as_text(_policy(found, listed))
    if not in_place or found.renamed or found.ours:
        kept = files.write(configured.servers, text, force=force or in_place, private=True)
        _told(configured.servers, kept)
    kept = files.write(configured.policy, policy, force=force)
    _told(configured.policy, kept)
    wrote_policy(configured.policy, policy.encode())
    if wanted:
        wrote_servers(wanted.values())
    problems = {problem.server: problem.text for problem in servers.problems}
    _summary(found, listed, problems, servers.disabled)
    print("\nNext: look through policy.json, then start the gateway: signoff up")


def _source(given: Path | None, configured: Settings) -> Path:
    """The file to read.

    Raises:
        Stop: there is none.
    """
    from gateway.cli import foreign

    if given is not None:
        return given.expanduser()
    searched = [configured.servers, *foreign.places(Path.home(), os.environ)]
    for path in searched:
        if path.is_file():
            return path
    raise Stop(
        Exit.NOT_FOUND,
        "\n".join(
            [
                "No servers file was found; looked for",
                *(f"  {path}" for path in searched),
                "Say where it is with --from FILE, or try it all out first: signoff demo",
            ]
        ),
    )


def _free(configured: Settings, *, in_place: bool, force: bool) -> None:
    """Refuse before anything is started, not after.

    Raises:
        Stop: a file would be overwritten.
    """
    wanted = [configured.policy] if in_place else [configured.servers, configured.policy]
    there = [str(path) for path in wanted if path.exists()]
    if there and not force:
        said = (
            "exists already; --force writes it again, the old one kept."
            if len(there) == 1
            else "exist already; --force writes them again, the old ones kept."
        )
        raise Stop(Exit.USAGE, f"{' and '.join(there)} {said}")


def _can_ask(servers: Servers, *, yes: bool) -> None:
    """Refuse before anything is written where no one can say yes: what came out would deny all.

    Raises:
        Stop: no one can.
    """
    from gateway.enforcement.server_display import shown

    if yes or not servers.servers or show.interactive():
        return
    for name, server in servers.servers.items():
        show.note(f"  {name}: {show.line(shown(server))}")
    raise Stop(
        Exit.USAGE,
        "Nothing was written: no one can be asked here whether these may be started or reached, "
        "to learn their tools. If they may: signoff init --yes",
    )


def _policy(found: Found, listed: Mapping[str, list[Definition] | NotListed]) -> dict[str, Any]:
    """Default deny, and for every server that answered the recommended rules.

    Raises:
        Stop: what came out cannot be loaded, which is a fault of ours.
    """
    from gateway.policy.document import PolicyInvalid, load
    from gateway.risk import scaffold

    sections: dict[str, Any] = {}
    for name in found.entries:
        tools = listed.get(name)
        section = {"default": "deny", "tools": {}}
        if isinstance(tools, list):
            section = scaffold(name, tools)["servers"][name]
            _own_counters(name, section)
        sections[name] = section
    policy = {
        "version": "1",
        "description": "Written by signoff init: what is not listed is denied. Make it yours.",
        "default": "deny",
        "tools": {},
        "servers": sections,
    }
    try:
        load(as_text(policy).encode())
    except PolicyInvalid as invalid:
        raise Stop(Exit.INTERNAL, f"The policy that was made is not usable: {invalid}") from invalid
    return policy


def _own_counters(server: str, section: Mapping[str, Any]) -> None:
    """Tools of the same name on two servers do not share a counter."""
    for rule in section["tools"].values():
        for limit in rule.get("limits", ()):
            limit["counter"] = f"{server}.{limit['counter']}"


def _told(path: Path, kept: Path | None) -> None:
    print(f"Wrote {path}" + (f" (the old one is {kept})" if kept else ""))


def _summary(
    found: Found,
    listed: Mapping[str, list[Definition] | NotListed],
    problems: Mapping[str, str],
    disabled: tuple[str, ...],
) -> None:
    """What became of each server."""
    for written, name in found.renamed.items():
        print(f"{show.line(written)} is called {name} here")
    for name in found.ours:
        print(f"{show.line(name)} leads to this gateway itself: left out")
    for name in found.entries:
        tools = listed.get(name)
        if isinstance(tools, list):
            print(f"{name}: {show.counted(len(tools), 'tool')} ({_counted(tools)})")
        elif name in disabled:
            print(f"{name}: not scanned, it is switched off; everything of it is denied")
        else:
            why = problems.get(name) or str(tools)
            print(f"{name}: not scanned, so everything of it is denied: {show.block(why, '')}")
            print(f"  Later: signoff scan {name}")
    if "" in problems:
        print(f"servers.json: {problems['']}")


def _counted(tools: list[Definition]) -> str:
    from collections import Counter

    from gateway.risk import classify_all, recommend

    words = Counter(rule_words(recommend(one)) for one in classify_all(tools))
    return ", ".join(f"{word}: {number}" for word, number in words.most_common())
