"""The command's tree, and how its errors end: one sentence for people, an exit code for scripts."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Final, TextIO

import typer

from gateway.cli import (
    connect,
    doctor,
    freeze,
    grants,
    history,
    init,
    people,
    policy,
    review,
    run,
    scan,
    servers,
    tools,
    up,
)
from gateway.cli.exits import Exit, Stop
from gateway.cli.groups import InOurWords

_YOUNG_OBJECTS: Final = 50_000  # new objects between two looks at the youngest; Python's own: 700

app = typer.Typer(
    name="signoff",
    cls=InOurWords,
    help="A gateway between AI agents and MCP servers: risky calls wait for a person.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("demo")(up.demo)
app.command("init")(init.init)
app.command("scan")(scan.scan)
app.command("connect")(connect.connect)
app.command(
    "run",
    # What comes after the first word of COMMAND is COMMAND's.
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True},
)(run.run)
app.command("doctor")(doctor.doctor)
app.command("pending")(review.pending)
app.command("show")(review.show)
app.command("approve")(review.approve)
app.command("deny")(review.deny)
app.command("take-back")(review.take_back)
app.command("extend")(review.extend)
app.command("settle")(review.settle)
app.command("effects")(review.effects)
app.add_typer(history.app, name="history")
app.add_typer(policy.app, name="policy")
app.add_typer(tools.app, name="tools")
app.add_typer(servers.app, name="server")
app.add_typer(grants.app, name="grant")
app.add_typer(people.app, name="reviewer")
app.command("freeze")(freeze.freeze)
app.command("thaw")(freeze.thaw)


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
    # What importing makes stays: looking for garbage among it is a tenth of a start.
    gc.set_threshold(_YOUNG_OBJECTS)
    for stream in (sys.stdout, sys.stderr):
        _lenient(stream)
    try:
        app()
    except Stop as stop:
        print(stop.text, file=sys.stderr)
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        if os.environ.get("SIGNOFF_TRACEBACK"):
            raise
        if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, sys.argv)):
            print("What was typed is not UTF-8 text.", file=sys.stderr)
            sys.exit(Exit.USAGE)
        told = " ".join(str(error).split())[:300]
        print(
            f"signoff failed, which is its own fault: {type(error).__name__}: {told}\n"
            "SIGNOFF_TRACEBACK=1 shows where.",
            file=sys.stderr,
        )
        sys.exit(Exit.INTERNAL)


def _is_text(word: str) -> bool:
    """Whether Python could read the word: bytes that are no UTF-8 stand in it as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _lenient(stream: TextIO) -> None:
    """A terminal that cannot show a character gets its escape, never an error."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
