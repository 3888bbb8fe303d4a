"""The command answers at once, and its errors end in a sentence and an exit code."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import Command
from tests.cli.folder import Folder

SIGNOFF = Path(sys.executable).with_name("signoff")
HEAVY = ("sqlalchemy", "sqlmodel", "alembic", "fastapi", "mcp", "aiohttp", "pydantic", "rich")


def _cpu(*argv: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_answers_in_less_than_300_ms() -> None:
    # Processor time, the best of four: the machine may be busy with other tests.
    assert min(_cpu(str(SIGNOFF), "--help") for _ in range(4)) < 0.3


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, gateway.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_help_fits_a_terminal_and_names_every_command() -> None:
    environ = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [str(SIGNOFF), "--help"], check=True, capture_output=True, text=True, env=environ
    )
    assert "..." not in done.stdout.partition("Commands:")[2]
    for name in ("up", "demo", "init", "scan", "doctor", "approve", "freeze", "history", "grant"):
        assert f"\n  {name} " in done.stdout


def test_the_version_is_the_distributions(signoff: Command) -> None:
    assert signoff("--version").out.strip() == "0.1.0"


@pytest.mark.parametrize(
    "argv", [("nonsense",), ("show",), ("pending", "--jsn"), ("grant", "create"), ("thaw",)]
)
def test_wrong_usage_is_exit_2(signoff: Command, argv: tuple[str, ...]) -> None:
    done = signoff(*argv)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: signoff")


@pytest.mark.parametrize(
    "argv",
    [
        ("pending",),
        ("show", "apr_123"),
        ("history",),
        ("history", "verify"),
        ("tools",),
        ("grant", "list"),
        ("reviewer", "list"),
        ("freeze", "everything"),
    ],
)
def test_without_a_record_is_exit_7_and_nothing_is_made(
    signoff: Command, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    done = signoff(*argv)
    assert done.code == 7
    assert done.err.startswith(f"There is no record in {tmp_path}/.local/state/signoff/")
    assert not (tmp_path / ".signoff").exists()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"SIGNOFF_PORT": "many"}, "SIGNOFF_PORT: "),
        ({"SIGNOFF_HOST": "0.0.0.0"}, "SIGNOFF_PUBLIC_URL"),
        ({"SIGNOFF_ALLOWED_HOSTS": "a,b"}, "as JSON"),
    ],
)
def test_wrong_settings_are_exit_3(signoff: Command, environ: dict[str, str], told: str) -> None:
    done = signoff("pending", **environ)
    assert (done.code, told in done.err) == (3, True), done.err


@pytest.mark.parametrize("text", ["port = = 1", 'colour = "red"', "port = 99999999"])
def test_a_wrong_settings_file_is_exit_3(signoff: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "signoff.toml").write_text(text)
    assert signoff("pending").code == 3


def test_a_key_others_may_read_is_refused_with_what_to_do(signoff: Command, folder: Folder) -> None:
    folder.held()
    (folder.path / ".signoff" / "signoff.key").chmod(0o644)
    done = signoff("pending")
    assert (done.code, "chmod 600" in done.err) == (7, True)


def test_a_damaged_record_is_a_sentence_and_no_traceback(signoff: Command, folder: Folder) -> None:
    folder.held()
    for file in (folder.path / ".signoff").glob("signoff.db*"):
        file.write_bytes(b"this is no database" * 1_000)
    done = signoff("pending")
    assert done.code in (1, 7)
    assert done.err.count("\n") <= 2


def test_a_terminal_of_another_encoding_gets_escapes(signoff: Command, folder: Folder) -> None:
    done = subprocess.run(
        [str(SIGNOFF), "show", folder.held(args={"note": "\u4e2d"}).id],
        cwd=folder.path,
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"},
        capture_output=True,
        check=True,
    )
    assert rb"\u4e2d" in done.stdout


def test_a_reader_that_leaves_early_is_no_error(folder: Folder) -> None:
    for _ in range(3):
        folder.held()
    done = subprocess.run(
        ["/bin/sh", "-c", f"{SIGNOFF} history | head -n 1"],
        cwd=folder.path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_no_colour_reaches_a_pipe_and_none_a_terminal_that_wants_none(
    signoff: Command, folder: Folder
) -> None:
    folder.held()
    assert "\x1b" not in signoff("pending", FORCE_COLOR="").said()
    assert "\x1b[1m" in signoff.typed("pending").out
    assert "\x1b" not in signoff.typed("pending", NO_COLOR="1").out
    assert "\x1b" not in signoff.typed("pending", TERM="dumb").out
