"""What a library says of its own reaches no one: a message names the thing and what to write."""

import pytest

from tests.cli.command import Command
from tests.cli.folder import Folder

LIBRARY = ("Value error", "Input should", "unable to", "EnvSettingsSource", "<string>", "recursion",
           "codec can't", "(char ", "pydantic", "Extra inputs")  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"SIGNOFF_PORT": "x"}, "SIGNOFF_PORT: it is no whole number."),
        ({"SIGNOFF_PORT": "99999999"}, "SIGNOFF_PORT: it has to be at most 65535."),
        ({"SIGNOFF_PROGRESS": "0"}, "SIGNOFF_PROGRESS: it has to be more than 0."),
        ({"SIGNOFF_MAX_PENDING": "-1"}, "SIGNOFF_MAX_PENDING: it has to be at least "),
        ({"SIGNOFF_TASK_HOLD": "x"}, "SIGNOFF_TASK_HOLD: it is no number."),
        ({"SIGNOFF_CLI_DECIDES": "maybe"}, "SIGNOFF_CLI_DECIDES: it is neither true nor false."),
        ({"SIGNOFF_LOG": "xml"}, "SIGNOFF_LOG: it has to be 'json' or 'text'."),
        (
            {"SIGNOFF_ALLOWED_HOSTS": "a,b"},
            'SIGNOFF_ALLOWED_HOSTS: it cannot be read; write it as JSON: ["…"].',
        ),
        ({"SIGNOFF_ALLOWED_HOSTS": "{}"}, 'SIGNOFF_ALLOWED_HOSTS: it is no list: write ["…"].'),
        ({"SIGNOFF_ALLOWED_HOSTS": "[1]"}, "SIGNOFF_ALLOWED_HOSTS: 0 is no text."),
        (
            {"SIGNOFF_SLACK_REVIEWERS": "x"},
            'SIGNOFF_SLACK_REVIEWERS: it cannot be read; write it as JSON: {"…": "…"}.',
        ),
        (
            {"SIGNOFF_SLACK_REVIEWERS": "[]"},
            'SIGNOFF_SLACK_REVIEWERS: it is no table: write {"…": "…"}.',
        ),
        ({"SIGNOFF_SLACK_REVIEWERS": '{"U07A":1}'}, "SIGNOFF_SLACK_REVIEWERS: U07A is no text."),
        ({"SIGNOFF_WEBHOOK_URL": "http://x"}, "webhook_url and webhook_secret belong together"),
        ({"SIGNOFF_HOST": "0.0.0.0"}, "host 0.0.0.0 can be reached from other machines"),
        ({"SIGNOFF_SEPARATOR": "%"}, "SIGNOFF_SEPARATOR: it has to match "),
    ],
)
def test_a_wrong_setting_is_told_in_our_words(
    signoff: Command, folder: Folder, environ: dict[str, str], said: str
) -> None:
    folder.people(alice="admin")
    done = signoff("pending", **environ)
    assert (done.code, done.err.startswith(said)) == (3, True), done.err
    assert not [one for one in LIBRARY if one in done.err], done.err
    assert not [value for value in environ.values() if value in done.err and value == "maybe"]


@pytest.mark.parametrize("url", ["nowhere", "postgresql://u:hunter2@h:port/x", "mysql://u:p@h/x"])
def test_a_database_that_is_none_is_told_with_what_to_write(
    signoff: Command, folder: Folder, url: str
) -> None:
    done = signoff("pending", SIGNOFF_DATABASE_URL=url)
    assert (done.code, "write postgresql+psycopg://" in done.err) == (7, True), done.err
    assert "hunter2" not in done.err


def test_a_key_that_is_no_setting_is_named(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    (folder.path / "signoff.toml").write_text("prot = 9001\n")
    done = signoff("pending")
    assert (done.code, done.err) == (3, "There is no setting prot (signoff.toml).\n")
    (folder.path / "signoff.toml").write_text("port 9001\n")
    done = signoff("pending")
    assert (done.code, done.err.startswith("signoff.toml is not TOML")) == (3, True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{x", "--args is not JSON: look at line 1, column 2."),
        ("[" * 100_000, "--args is not JSON: it is nested too deep."),
        ("", "--args is not JSON: look at line 1, column 1."),
    ],
)
def test_arguments_that_are_no_json_are_told_by_their_place(
    signoff: Command, folder: Folder, args: str, said: str
) -> None:
    folder.policy()
    done = signoff("policy", "explain", "look", "--args", args)
    assert (done.code, done.err) == (2, f"{said}\n")


def test_a_word_that_is_none_of_the_choices_is_told_with_them(
    signoff: Command, folder: Folder
) -> None:
    for argv, said in (
        (("freeze", "list"), "'list' is not one of 'grant', 'server', 'everything'."),
        (("settle", "apr_000000", "perhaps", "--note", "x"), "'perhaps' is not one of 'done', "),
        (("history", "export", "-o", "out", "--format", "xml"), "'xml' is not one of 'jsonl', "),
        (("pending", "--limit", "0"), "'--limit': it has to be at least 1."),
        (("pending", "--limit", "x"), "'--limit': it is no whole number."),
    ):
        done = signoff(*argv)
        assert (done.code, said in done.err) == (2, True), done.err
        assert not [one for one in LIBRARY if one in done.err], done.err


def test_what_no_record_can_hold_is_a_matter_of_usage(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    folder.policy()
    grant = folder.granted()
    for argv in (
        ("history", "--before", "9" * 23),
        ("history", "--tool", "\udc80"),
        ("grant", "hold", grant, "9" * 23),
        ("grant", "create", "y", "--hold", "9" * 23),
        ("grant", "create", "y", "--expires", "999999999d"),
        ("reviewer", "token", "alice", "--expires", "999999999d"),
        ("policy", "explain", "look", "--args", '{"a":NaN}'),
        ("policy", "explain", "look", "--args", '{"a":1e999}'),
        ("policy", "explain", "look", "--args", '{"a":"\\ud800"}'),
        ("policy", "backtest", "policy.json", "--since", "999999999d"),
    ):
        done = signoff(*argv)
        assert (done.code, "its own fault" in done.err) == (2, False), (argv, done.said())
    assert signoff("policy", "backtest", "policy.json", "--since", "36500d").code == 0


def test_files_that_cannot_be_read_are_told_in_our_words(signoff: Command, folder: Folder) -> None:
    (folder.path / "bad.yaml").write_bytes(b"\xff\xfe")
    done = signoff("policy", "import", "bad.yaml")
    assert (done.code, done.err) == (3, "bad.yaml is not UTF-8 text.\n")
    for text in ('{"a" 1}', '{"mcpServers": ', "[" * 100_000):
        (folder.path / "hosts.json").write_text(text)
        (folder.path / "servers.json").write_text(text)
        for argv in (
            ("init", "--force", "--from", "hosts.json"),
            ("server", "list"),
            ("scan", "hosts.json"),
        ):
            said = signoff(*argv).said()
            assert "JSON" in said or "No such" in said, (argv, said)
            assert not [one for one in LIBRARY if one in said], (argv, said)
