"""What documents name exists, and what people can use stands in a document."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

from gateway.cli.exits import Exit
from gateway.cli.main import app
from gateway.policy import vocabulary
from gateway.settings import Settings
from web.pages.history import EVENTS

ROOT = Path(__file__).parent.parent
PRODUCT = ("gateway", "approvals", "web")


def _tracked(pattern: str) -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", pattern],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in done.stdout.split()]


DOCUMENTS = [path for path in _tracked("*.md") if path.name != "CHANGELOG.md"]
ALL_TEXT = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
BY_NAME = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@BY_NAME
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


@BY_NAME
def test_every_file_and_function_that_is_named_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for file, name in re.findall(r"`([\w./-]+\.py):([\w.]+)`", text):
        places = [where for where in (path.parent / file, ROOT / file) if where.exists()]
        assert places, file
        assert name in _names(places[0]), f"{file} has no {name}"


@cache
def _names(path: Path) -> frozenset[str]:
    """Its functions and classes, and their methods as Class.method."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (ast.FunctionDef, ast.AsyncFunctionDef)
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, methods)}
    return frozenset(found)


def _source() -> str:
    files = [path for room in PRODUCT for path in _tracked(f"{room}/*.py")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_setting_that_is_named_is_read() -> None:
    fields = {f"SIGNOFF_{name.upper()}" for name in Settings.model_fields}
    read = fields | set(re.findall(r"SIGNOFF_[A-Z_]*[A-Z]", _source()))
    tests = {"SIGNOFF_TEST_POSTGRES"}
    assert set(re.findall(r"SIGNOFF_[A-Z_]*[A-Z]", ALL_TEXT)) - read - tests == set()


def test_every_setting_stands_in_the_operators_document() -> None:
    text = (ROOT / "gateway/operations/README.md").read_text(encoding="utf-8")
    fields = {f"SIGNOFF_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in fields if f"`{name}`" not in text} == set()


def _commands() -> Iterator[str]:
    root = get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a typer group
        yield name
        for below in getattr(command, "commands", {}):
            yield f"{name} {below}"


def test_every_command_that_is_named_exists() -> None:
    known = set(_commands())
    groups = {name.split()[0] for name in known if " " in name}
    for first, second in re.findall(
        r"(?:\$ |`)signoff ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", ALL_TEXT
    ):
        assert first in known, first
        if first in groups and second:
            assert f"{first} {second}" in known, f"{first} {second}"


def test_every_command_stands_in_a_document() -> None:
    assert {name for name in _commands() if f"signoff {name}" not in ALL_TEXT} == set()


def test_the_exit_codes_are_those_of_the_command() -> None:
    text = (ROOT / "gateway/operations/README.md").read_text(encoding="utf-8")
    told = text[text.index("## Exit codes") :]
    numbers = {int(number) for number in re.findall(r"\b(\d+) [a-z]", told)}
    assert numbers == {int(code) for code in Exit}


def test_every_policy_key_stands_in_the_reference() -> None:
    text = (ROOT / "gateway/policy/README.md").read_text(encoding="utf-8")
    lists = (
        *(vocabulary.POLICY, vocabulary.SERVER, vocabulary.TOOL, vocabulary.GROUP),
        *(vocabulary.TERMS, vocabulary.CONDITION, vocabulary.LIMIT, vocabulary.RISK),
    )
    keys = {key for one in lists for key in one} - {"$schema", "description", "version"}
    keys -= {vocabulary.OLDER_EXPIRES, "rate_limit", "conditions"}  # older spellings
    assert {key for key in keys if not re.search(rf"[`\"]{key}[`\"]", text)} == set()


def test_every_key_of_the_reference_is_a_key() -> None:
    text = (ROOT / "gateway/policy/README.md").read_text(encoding="utf-8")
    known = {key for name, one in vars(vocabulary).items() if name.isupper()
             and isinstance(one, tuple) for key in one}  # fmt: skip
    firsts = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", text, re.MULTILINE)
    named = {name.partition(":")[0] for cell in firsts for name in re.findall(r"`([^`]+)`", cell)}
    assert {name for name in named if name != "{}"} - known == set()


def test_every_event_of_the_history_stands_in_its_document_and_in_the_pages_filter() -> None:
    text = (ROOT / "approvals/README.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_]+)`", text[text.index("### Events") :]))
    assert told == set(EVENTS)
    assert _written() - told == set()


def _written() -> set[str]:
    """What product code writes as an `Event`, or moves an approval by, where it is a constant."""
    found: set[str] = set()
    for path in (path for room in PRODUCT for path in _tracked(f"{room}/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                found |= _event_of(node)
    return found


def _event_of(node: ast.Call) -> set[str]:
    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
    given = [word.value for word in node.keywords if word.arg == "event"]
    if called in ("move", "record"):  # (tx, approval, event, ...)
        given += node.args[2:3]
    elif called not in ("Event", "change"):
        return set()
    constants = [one.value for one in given if isinstance(one, ast.Constant)]
    return {value for value in constants if isinstance(value, str)}


def test_every_threat_that_is_named_by_number_is_in_the_list() -> None:
    listed = set(re.findall(r"T-\d{2}", (ROOT / ".github/SECURITY.md").read_text(encoding="utf-8")))
    files = [path for path in _tracked("*.py") if path.name != Path(__file__).name]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    named = set(re.findall(r"\bT-\d{2}\b", text))
    assert named - listed == set()
    assert named
