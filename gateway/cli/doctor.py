"""`signoff doctor`: why does it not work? Every check, what it found, and what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import show
from gateway.cli.exits import Exit


def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    servers: Annotated[
        bool, typer.Option("--servers/--no-servers", help="Start and ask every server.")
    ] = True,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Do not ask first. What waits to be confirmed is not started."),
    ] = False,
    slack: Annotated[
        bool, typer.Option("--slack", help="Check Slack only, and post a test card.")
    ] = False,
    card: Annotated[
        bool, typer.Option("--card/--no-card", help="With --slack: post the test card.")
    ] = True,
) -> None:
    """Check everything and say what to do. Exit code 3 when something is broken."""
    from gateway.cli.checks import examine
    from gateway.cli.config import settings, sources
    from gateway.cli.slack_check import examine_slack

    configured = settings()
    if slack:
        checks = examine_slack(configured, card=card)
    else:
        checks = examine(configured, ask_servers=servers, yes=yes)
    broken = any(check.state == "broken" for check in checks)
    if json:
        show.document(
            "doctor",
            ok=not broken,
            checks=[
                {"name": c.name, "state": c.state, "found": c.found, "do": c.do} for c in checks
            ],
            settings=[
                {"name": one.name, "value": one.value, "source": one.source}
                for one in sources(configured)
            ],
        )
    else:
        for check in checks:
            print(f"{check.state:<7} {check.name:<12} {show.block(check.found, '')}")
            if check.do:
                print(f"{'':<20} do: {check.do}")
        print("\nsettings")
        for one in sources(configured):
            print(f"  {one.name:<16} {show.line(one.value):<28} {one.source}")
    if broken:
        raise typer.Exit(Exit.INVALID)
