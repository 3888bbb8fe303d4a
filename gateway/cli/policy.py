"""`signoff policy`: check it, explain it, compare it, and try it on your own history."""

from __future__ import annotations

import json as jsonlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli import files, show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.policy.problems import PolicyProblem
    from gateway.policy.rules import Policy

app = typer.Typer(help="The rules: check, show, explain, compare, try.", no_args_is_help=True)


class ImportForm(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


File = Annotated[Path | None, typer.Argument(help="Default: policy.json, or SIGNOFF_POLICY.")]
Shown = Annotated[Path | None, typer.Argument(help="A policy; default: what is in force here.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def check(
    file: File = None,
    form: Annotated[ImportForm, typer.Option("--format", help="How to print.")] = ImportForm.TEXT,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """List every error and warning. Exit code 3 when there are errors."""
    from gateway.policy.document import check as check_text

    path = _path(file)
    text = files.read(path)
    problems = (*check_text(text), *_unread(text))
    errors = sum(problem.severity == "error" for problem in problems)
    if json or form is ImportForm.JSON:
        items = [
            {
                "severity": problem.severity,
                "pointer": problem.pointer,
                "what": problem.what,
                "write": problem.write,
            }
            for problem in problems
        ]
        show.document("problems", file=str(path), valid=not errors, items=items)
    elif form is ImportForm.GITHUB:
        for problem in problems:
            print(_annotation(path, problem))
    else:
        for problem in problems:
            print(show.line(str(problem)))
        warnings = len(problems) - errors
        said = f"{errors} errors, {warnings} warnings" if problems else "no errors, no warnings"
        show.note(f"{path}: {said}")
    if errors:
        raise typer.Exit(Exit.INVALID)


def _unread(text: bytes) -> list[PolicyProblem]:
    """What nothing reads, as far as servers.json and the record of this place tell."""
    from gateway.cli.config import settings
    from gateway.cli.record import Record, exists, run
    from gateway.policy.document import PolicyInvalid
    from gateway.policy.document import load as read
    from gateway.policy.unread import unread_arguments, unread_servers

    try:
        policy = read(text)
    except PolicyInvalid:
        return []
    configured = settings()
    found: list[PolicyProblem] = []
    if configured.servers.exists():
        found += unread_servers(policy, _servers(configured.servers))
    if not exists(configured):
        return found

    async def schemas(record: Record) -> dict[str, dict[str, Any]]:
        from gateway.enforcement.catalogue import Catalogue

        catalogue = Catalogue(record.database)
        await catalogue.load()
        tools: dict[str, dict[str, Any]] = {}
        for tool in catalogue.tools():
            tools.setdefault(tool.server, {})[tool.name] = tool.definition.get("inputSchema")
        return tools

    try:
        return found + list(unread_arguments(policy, run(schemas)))
    except Stop as stop:
        show.note(f"The tools' arguments were not looked at: {stop}")
        return found


def _servers(path: Path) -> set[str]:
    """The names servers.json has, also of those that cannot be used as they are."""
    import os

    from gateway.servers import load_servers

    found = load_servers(files.read(path), os.environ, workspace=str(path.absolute().parent))
    return {*found.servers, *(problem.server for problem in found.problems if problem.server)}


def _annotation(path: Path, problem: PolicyProblem) -> str:
    """A GitHub Actions workflow command."""

    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def value(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    title = value(problem.pointer or "/")
    text = data(f"{problem.what} {problem.write}".strip())
    return f"::{problem.severity} file={value(str(path))},title={title}::{text}"


@app.command("show")
def show_(file: Shown = None) -> None:
    """Print what is enforced, as JSON: the normal form, older spellings put into the present. Of a
    file you name, what it says; otherwise what is in force here, which a file that waits is not.
    """
    from gateway.cli import in_force

    print(jsonlib.dumps(dict(in_force.policy(file).normal), indent=2))


@app.command()
def schema() -> None:
    """Print the JSON Schema of policy.json, for editors to complete from."""
    from gateway.policy.schema import schema as written

    print(jsonlib.dumps(written(), indent=2))


@app.command()
def explain(
    tool: Annotated[str, typer.Argument(help="The tool's name.")],
    server: Annotated[str, typer.Option(help="Its server.")] = "",
    args: Annotated[str, typer.Option(help="The call's arguments as JSON.")] = "{}",
    grant: Annotated[str, typer.Option(help="The grant's label or id.")] = "",
    policy: Annotated[Path | None, typer.Option(help="Default: what is in force here.")] = None,
    json: Json = False,
) -> None:
    """Which rule decides a call, and why: every rule tried. Nothing is called or counted."""
    from approvals.digest import canonical
    from gateway.cli import in_force, policy_explain

    try:
        arguments = jsonlib.loads(args)
    except (ValueError, RecursionError) as error:
        from gateway.servers import json_trouble

        raise Stop(Exit.USAGE, f"--args is not JSON: {json_trouble(error)}.") from None
    if not isinstance(arguments, dict):
        raise Stop(Exit.USAGE, '--args is a JSON object: {"name": "value"}')
    try:
        canonical(arguments)
    except ValueError:
        text = "--args holds what no call can: write finite numbers and whole characters."
        raise Stop(Exit.USAGE, text) from None
    found = policy_explain.explain(
        in_force.policy(policy), server=server, tool=tool, arguments=arguments, grant=grant
    )
    if json:
        show.document("explain", **policy_explain.document(found))
    else:
        policy_explain.draw(found)


@app.command()
def diff(
    old: Annotated[Path | None, typer.Argument(help="The policy before.")] = None,
    new: Annotated[Path | None, typer.Argument(help="The policy after.")] = None,
    semantics: Annotated[
        bool,
        typer.Option(
            "--semantics",
            help="The calls of your history that one policy, read by today's rules, judges "
            "otherwise than before 0.1: an absent value, another shape, every element of a list.",
        ),
    ] = False,
    since: Annotated[str, typer.Option(help="With --semantics: how far back.")] = "30d",
    json: Json = False,
) -> None:
    """What changes between two policies, in words; spelling alone is no change."""
    from gateway.policy.diff import diff as compare

    if semantics:
        if new is not None:
            raise Stop(Exit.USAGE, "--semantics takes one policy: signoff policy diff --semantics")
        _semantics(_path(old), since, json=json)
        return
    if old is None or new is None:
        raise Stop(Exit.USAGE, "Name two policies: signoff policy diff OLD NEW")
    changes = compare(load(old), load(new))
    if json:
        items = [
            {"server": change.server, "tool": change.tool, "words": change.words}
            for change in changes
        ]
        show.document("diff", items=items)
        return
    for change in changes:
        print(show.line(str(change)))
    if not changes:
        show.note("Both enforce the same.")


def _semantics(path: Path, since: str, *, json: bool) -> None:
    from gateway.cli import policy_backtest

    found = policy_backtest.semantics(load(path), since)
    if json:
        show.document("semantics", **policy_backtest.semantics_document(found))
    else:
        policy_backtest.draw_semantics(found)


@app.command()
def confirm(
    as_: Annotated[str | None, typer.Option("--as", help="Which administrator confirms.")] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask. Only together with --hash.")
    ] = False,
    hash_: Annotated[
        str, typer.Option("--hash", help="The beginning (12 or more) of the file's sha256.")
    ] = "",
) -> None:
    """Show how policy.json differs from the rules that were confirmed, and confirm it."""
    from gateway.cli import confirming

    confirming.confirm_policy(as_, yes=yes, wanted=hash_.lower())


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A YAML policy of the Go proxy family.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write it there.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite; the old one is kept.")] = False,
) -> None:
    """Translate a YAML policy; what has no counterpart is held for a person and said."""
    from gateway.policy.importing import BadYaml, import_rules

    try:
        policy, notes = import_rules(files.read(file).decode("utf-8"))
    except UnicodeDecodeError:
        raise Stop(Exit.INVALID, f"{file} is not UTF-8 text.") from None
    except BadYaml as error:
        raise Stop(Exit.INVALID, f"{file}: {error}") from error
    for note in notes:
        show.note(show.line(note))
    text = jsonlib.dumps(policy, indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
        return
    files.write(output, text, force=force)
    show.note(f"Wrote {output}. Next: signoff policy check {output}")
    from gateway.cli.confirming import wrote_policy

    wrote_policy(output, text.encode())


@app.command()
def backtest(
    new: Annotated[Path, typer.Argument(help="The policy to try.")],
    since: Annotated[str, typer.Option(help="How far back: 7d, 12h, 2026-11-23.")] = "7d",
    json: Json = False,
) -> None:
    """What a policy would have said to the calls of your own history. Nothing is called."""
    from gateway.cli import policy_backtest

    found = policy_backtest.backtest(load(new), since)
    if json:
        show.document("backtest", **policy_backtest.document(found))
    else:
        policy_backtest.draw(found)


def load(path: Path) -> Policy:
    """The policy of a file.

    Raises:
        Stop: it cannot be read, or has errors; all of them are told.
    """
    from gateway.policy.document import PolicyInvalid
    from gateway.policy.document import load as read

    try:
        return read(files.read(path), name=path.name)
    except PolicyInvalid as invalid:
        lines = [show.line(str(problem)) for problem in invalid.problems]
        raise Stop(Exit.INVALID, "\n".join([f"{path} is not usable:", *lines])) from invalid


def _path(given: Path | None) -> Path:
    if given is not None:
        return given
    from gateway.cli.config import settings

    return settings().policy


def as_json(verdict: Any) -> dict[str, Any]:
    """A verdict as the JSON documents show it."""
    ruling = verdict.ruling
    return {
        "verdict": type(verdict).__name__.lower(),
        "rule": ruling.rule,
        "reason": ruling.reason,
        "matched": ruling.matched,
    }
