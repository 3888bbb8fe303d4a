"""The command's tree, and how its errors end: one sentence for people, an exit code for scripts."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from gateway.cli import grants, history, people, policy, review, serve
from gateway.cli.exits import Exit, Stop

app = typer.Typer(
    name="signoff",
    help="A gateway between AI agents and MCP servers: risky calls wait for a person.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(serve.up)
app.command("demo")(serve.demo)
app.command("connect")(serve.connect)
app.command("pending")(review.pending)
app.command("show")(review.show)
app.command("approve")(review.approve)
app.command("deny")(review.deny)
app.add_typer(history.app, name="history")
app.add_typer(policy.app, name="policy")
app.add_typer(grants.app, name="grant")
app.add_typer(people.app, name="reviewer")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(version("signoff"))
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """A gateway between AI agents and MCP servers: risky calls wait for a person."""


def main() -> None:
    """Run the command; the console script."""
    try:
        app()
    except Stop as stop:
        print(stop.text, file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
