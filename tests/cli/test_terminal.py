"""Lists on a terminal: a line a call, whole ids, every time with its zone, how many there are; and
how far long work is.
"""

import json
import re
from typing import Any

import pytest
from rich.cells import cell_len

from approvals.model import Event
from tests.cli.command import Command
from tests.cli.folder import Folder

CHARGE = "Charge {args.amount|money:minor:EUR} to {args.customer}, for {args.why}"
WHY = "the subscription of a whole year, 東京 office, at the price that was agreed upon in spring"
ZONED = re.compile(r"\d\d:\d\d:\d\d (?:UTC|[+-]\d\d:\d\d)")
TIME = re.compile(r"\d\d:\d\d:\d\d")


def _seen(signoff: Command, *argv: str, columns: int, **environ: str) -> list[str]:
    done = signoff.typed(*argv, NO_COLOR="1", COLUMNS=str(columns), **environ)
    assert done.code == 0, done.out
    return [line.rstrip() for line in done.out.splitlines()]


def _many(folder: Folder, count: int = 3, **more: Any) -> list[str]:
    args = {"amount": 120_000, "customer": "cus_Nf81", "why": WHY}
    return [
        folder.held("charge", {**args, "amount": n + 1}, summary=CHARGE, **more).id[:10]
        for n in range(count)
    ]


def test_pending_is_a_line_a_call_at_100_columns(signoff: Command, folder: Folder) -> None:
    ids = _many(folder, risk="critical")
    first, *rows, total = _seen(signoff, "pending", columns=100)
    assert first.split() == ["ID", "RISK", "CALL", "AGENT", "AGE", "LEFT"]
    assert {row.split()[0] for row in rows} == set(ids)
    assert len(rows) == len(ids)
    for row in rows:
        assert cell_len(row) <= 100
        assert re.search(r"critical  Charge €0.0\d to cus_Nf81, for “the.*…", row)
        assert "claude@laptop" in row
        assert re.search(r"\d+s +29m \d+s$", row)
    assert total == "3 calls wait."


def test_pending_is_blocks_where_a_line_is_too_narrow(signoff: Command, folder: Folder) -> None:
    ids = _many(folder, risk="critical")
    *lines, total = _seen(signoff, "pending", columns=60)
    assert all(cell_len(line) <= 60 for line in lines)
    assert {line[:10] for line in lines if not line.startswith(" ")} == set(ids)
    text = "\n".join(lines)
    for wanted in ("age ", "29m ", "claude@laptop", "billing", "  Charge €0.02 to cus_Nf81, for “"):
        assert wanted in text
    assert total == "3 calls wait."
    assert any(ids[0] in line for line in _seen(signoff, "pending", columns=20))


def test_a_wide_terminal_shows_the_whole_sentence(signoff: Command, folder: Folder) -> None:
    held = folder.held("charge", {"amount": 5, "customer": "cus_1", "why": "a"}, summary=CHARGE)
    rows = _seen(signoff, "pending", columns=160)
    assert any("Charge €0.05 to cus_1, for a " in row and held.id[:10] in row for row in rows)


def test_an_id_in_a_sentence_is_whole_or_not_there(signoff: Command, folder: Folder) -> None:
    whole = "cus_7d1f0a22c3b94e589f00"
    folder.held("copy_all", {"from": whole, "why": WHY}, risk="critical")
    for columns in (60, 100, 200):
        text = "\n".join(_seen(signoff, "pending", columns=columns))
        for one in re.findall(r"cus_?\w*", text):
            assert one == whole


def test_long_names_give_way_and_ids_do_not(signoff: Command, folder: Folder) -> None:
    folder.label = f"nightly-{'x' * 80}-runner"
    held = folder.held("charge", {"amount": 1, "why": WHY})
    for columns in (60, 100):
        lines = _seen(signoff, "pending", columns=columns)
        assert all(cell_len(line) <= columns for line in lines)
        assert any(line.startswith(held.id[:10]) for line in lines)
        assert any("nightly-" in line and "unner" in line and "…" in line for line in lines)


def test_the_pipe_is_as_it_was(signoff: Command, folder: Folder) -> None:
    [held] = _many(folder, 1)
    done = signoff("pending", COLUMNS="60")
    row = done.out.rstrip("\n").split("\t")
    assert (len(row), row[0], row[3:5]) == (7, held, ["billing", "claude@laptop"])
    assert row[2].startswith("Charge €0.01 to cus_Nf81, for “the")
    assert done.err == ""


def test_pending_says_how_many_there_are_and_how_to_see_them(
    signoff: Command, folder: Folder
) -> None:
    _many(folder, 5)
    seen = _seen(signoff, "pending", "--limit", "2", columns=100)
    more = re.fullmatch(r"3 more of 5 in all: signoff (pending --after apr_\w+)", seen[-1])
    assert more is not None
    assert signoff("pending", "--limit", "2").err.startswith("3 more of 5 in all: ")
    last = _seen(signoff, *more[1].split(), columns=100)
    assert last[-1] == "These are the last 3 of 5 calls that wait."


def test_history_is_a_line_a_row_at_100_columns(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    folder.grant = folder.granted()
    folder.judged("drop_table", "deny", '{"table":"users"}', rule="(default deny)")
    [held] = _many(folder, 1)
    first, *rows, total = _seen(signoff, "history", "list", columns=100)
    assert first.split()[:5] == ["SEQ", "AT", "EVENT", "CALL", "WHO"]
    assert [row.split()[0] for row in rows] == ["4", "3", "2", "1"]
    assert all(cell_len(row) <= 100 for row in rows)
    assert "Charge €0.01 to cus_Nf81" in rows[0]
    assert "Drop table users" in rows[1]
    assert "claude@laptop" in rows[1]
    assert "reviewer_added" in rows[3]
    assert "alice" in rows[3]
    assert total == "4 rows."
    assert held in "\n".join(_seen(signoff, "history", columns=160))


def test_history_is_blocks_where_a_line_is_too_narrow(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    folder.judged("drop_table", "deny", '{"table":"users"}', rule="(default deny)")
    [held] = _many(folder, 1)
    lines = _seen(signoff, "history", columns=60)
    assert all(cell_len(line) <= 60 for line in lines)
    assert sum(bool(ZONED.search(line)) for line in lines) == 3
    for wanted in (held, "  Charge €0.01 to cus_Nf81", "  Drop table users", "alice"):
        assert any(wanted in line for line in lines)


def test_history_says_how_many_rows_there_are_and_how_to_see_them(
    signoff: Command, folder: Folder
) -> None:
    for _ in range(5):
        folder.judged("look", "allow", "{}")
    folder.judged("drop", "deny", "{}")
    argv = ("history", "--tool", "look", "--limit", "2")
    told = "2 of 5 rows. More: the same with --before 4"
    assert _seen(signoff, *argv, columns=100)[-1] == told
    assert signoff(*argv).err == f"{told}\n"
    rest = _seen(signoff, *argv[:3], "--before", "4", columns=100)
    assert rest[-1] == "These are the last 3 of 5 rows."


def test_hostile_text_stays_in_its_line(signoff: Command, folder: Folder) -> None:
    folder.held("x", {"a": "b\x1b[2J\nEVIL", "c": "\u202eb\u200b" * 30})
    folder.judged("y\nEVIL", "deny", '{"a":"b\\u001b[2J\\nEVIL"}', rule="(default deny)")
    for argv in (("pending",), ("history",)):
        for columns in (60, 100):
            text = "\n".join(_seen(signoff, *argv, columns=columns))
            assert not set(text) & {"\x1b", "\u202e", "\u200b"}
            assert "\nEVIL" not in text


def test_ids_of_other_lists_are_whole_in_any_window(signoff: Command, folder: Folder) -> None:
    grant = folder.granted()
    for columns in (40, 60, 100):
        lines = _seen(signoff, "grant", "list", columns=columns)
        assert any(line.startswith(grant) for line in lines)
        assert all(cell_len(line) <= columns for line in lines)


@pytest.mark.parametrize(
    ("zone", "said"), [("UTC", "UTC"), ("Asia/Kolkata", "+05:30"), ("America/Caracas", "-04:00")]
)
def test_every_time_names_its_zone(signoff: Command, folder: Folder, zone: str, said: str) -> None:
    folder.people(alice="admin")
    folder.granted()
    held = folder.held()
    assert signoff("freeze", "server", "billing").code == 0
    signoff("deny", held.id, "--reason", "no")
    for argv in (
        ("history",),
        ("show", held.id),
        ("grant", "list"),
        ("freeze",),
        ("show", folder.held().id),
        ("extend", folder.held(args={"amount": 7}).id, "--by", "1h"),
        ("effects",),
    ):
        out = signoff(*argv, TZ=zone).out
        assert len(TIME.findall(out)) == len(re.findall(rf"{TIME.pattern} {re.escape(said)}", out))
        assert argv == ("effects",) or TIME.search(out), argv


def test_a_time_that_was_printed_is_read_again(signoff: Command, folder: Folder) -> None:
    folder.people(alice="admin")
    folder.held()
    for zone in ("UTC", "Asia/Kolkata"):
        at = signoff("history", "--limit", "1", TZ=zone).out.split("\t")[1]
        items = json.loads(signoff("history", "--since", at, "--json", TZ="America/Caracas").out)
        assert [one["event"] for one in items["items"]][:1] == ["held"]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("grant", "list"), "2 grants."),
        (("reviewer", "list"), "2 reviewers."),
        (("freeze",), "1 freeze."),
        (("effects",), "Nothing is unknown."),
    ],
)
def test_every_list_says_how_many_there_are(
    signoff: Command, folder: Folder, argv: tuple[str, ...], said: str
) -> None:
    folder.people(alice="admin", bob="approver")
    folder.granted()
    folder.granted("other")
    assert signoff("freeze", "server", "billing", "--as", "alice").code == 0
    assert _seen(signoff, *argv, columns=100)[-1] == said


def test_long_work_says_how_far_it_is_at_a_terminal_alone(signoff: Command, folder: Folder) -> None:
    for _ in range(3):
        folder.judged("look", "allow", "{}")
    folder.write(lambda tx: tx.append(Event(event="checkpoint", actor_kind="gateway")))
    folder.policy()
    for argv, what in (
        (("history", "verify"), "Checking the history"),
        (("history", "export", "-o", "out", "--force"), "Writing the rows"),
        (("history", "export", "-o", "out", "--force", "--tool", "look"), "Writing the rows"),
        (("policy", "backtest", "policy.json", "--since", "1d"), "Judging the calls again"),
    ):
        done = signoff.typed(*argv, NO_COLOR="1", COLUMNS="100")
        assert done.code == 0, done.out
        assert f"{what}: 4 of 4 rows, 100 %" in done.out, argv
        cleared = done.out.rpartition("100 %")[2]
        assert re.match(r" *\r *\r\w", cleared), argv
        piped = signoff(*argv)
        assert "100 %" not in piped.said()
