"""Proves an exported Signoff history with Python's standard library alone. Copied into each export.

Usage: python verify.py [FOLDER or FILE] [--key FILE] [--head SEQ:HASH]

It checks that no row was changed, removed, added, moved or cut off, and what the rows say:
what ran is what was approved, by enough different people, once, and nothing ran without a verdict.
Without the key it checks links and meaning, but anyone who wrote the file could have made it up.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import hmac
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COLUMNS = (
    *("seq", "at", "event", "approval_id", "revision", "call_id", "actor_kind", "actor"),
    *("verified", "via", "grant_id", "server", "tool", "arguments", "arguments_digest"),
    *("presented_digest", "policy_hash", "rule", "verdict", "reason", "outcome"),
    *("result_digest", "latency_ms", "data", "subject", "prev_hash", "hash"),
)
NUMBERS = {"seq", "at", "revision", "latency_ms"}
NULLABLE = {"approval_id", "revision", "call_id", "arguments", "latency_ms", "data", "subject"}
FIRST = "0" * 64
FREES = {"tool_error", "upstream_error", "not_executed"}  # an effect was not caused
OUTCOMES = {"succeeded", "tool_error", "upstream_error", "not_executed", "outcome_unknown"}
ASKS = "input_required"  # the server asked back: more of the same call may follow
LOOKS = "revealed"  # a reviewer saw what was masked
ENDS = {"denied", "expired", "withdrawn", "superseded"}
UNDONE = "taken_back"  # a reviewer ended what was approved, before it started
ROLES = {"reviewer_added", "reviewer_removed"}  # rows that say who someone is
TOLD = ("event", "presented_digest", "outcome", "result_digest", "latency_ms", "data")
LATEST = 50_000  # calls of which is kept what was told of them last
LONGEST_USE = 30 * 86_400_000  # milliseconds; of approvals that do not say until when
WHOLE = {"grant", "server", "tool", "approval_id"}  # filters that keep or drop a call as a whole


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of history.jsonl or history.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            for line in file:
                yield json.loads(line)
            return
        csv.field_size_limit(2**31 - 1)
        for cells in csv.DictReader(file):
            yield {name: _cell(name, cells[name]) for name in COLUMNS}


def _cell(name: str, text: str) -> str | int | None:
    if text == "" and name in NULLABLE:
        return None
    if name in NUMBERS:
        return int(text)
    return text.removeprefix("'")


def history_key(path: Path) -> bytes:
    """The history's key: from the installation's key file, or 64 hex digits of the key itself."""
    content = path.read_bytes()
    if len(content.strip()) == 64:  # noqa: PLR2004  # hex of 32 bytes
        return bytes.fromhex(content.strip().decode())
    extracted = hmac.new(bytes(32), content, hashlib.sha256).digest()
    return hmac.new(extracted, b"signoff/history/1\x01", hashlib.sha256).digest()


@dataclass
class Chain:
    """The places of the rows: each follows its predecessor, and is what was written."""

    key: bytes | None
    gaps: bool  # a filtered export leaves rows out
    seq: int = 0
    hash: str = ""
    problems: list[str] = field(default_factory=list)

    def take(self, row: dict[str, Any]) -> None:
        seq = row["seq"]
        if seq <= self.seq:
            self.problems.append(f"row {seq}: comes after row {self.seq}")
        elif seq == self.seq + 1:
            if row["prev_hash"] != (self.hash or FIRST):
                self.problems.append(f"row {seq}: does not follow row {self.seq}")
        elif not self.gaps:
            self.problems.append(f"row {seq}: rows {self.seq + 1} to {seq - 1} are missing")
        if self.key is not None:
            fields = [row[name] for name in COLUMNS[:-2] if name != "subject"]
            if row["subject"] is not None:  # hashed only where there is one
                fields.append(row["subject"])
            told = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
            made = row["prev_hash"].encode() + told.encode("utf-8", "surrogatepass")
            if not hmac.compare_digest(
                hmac.new(self.key, made, hashlib.sha256).hexdigest(), row["hash"]
            ):
                self.problems.append(f"row {seq}: is not what was written")
        self.seq, self.hash = seq, row["hash"]


@dataclass
class Permit:
    """What the rows so far say of one approval."""

    quorum: int
    digest: str
    revision: int
    metadata: str = ""  # digest of what was shown beside the arguments
    voters: set[str] = field(default_factory=set)
    state: str = "pending"
    running: bool = False
    asked: bool = False
    used: bool = False
    fixed: str = ""  # digest of what never changes of the approval; "" before there was one
    arguments_digest: str = ""
    shown: str = ""  # the arguments as people are shown them
    expires_at: int | None = None
    use_by: int | None = None
    runs_from: int = 0  # before that it may be taken back, and does not start
    rounds: int = 0  # questions the server has asked
    ended: str = ""  # how its latest run ended
    settlement: str | None = None
    seq: int = 0  # of the latest row


@dataclass
class Effect:
    """Which call has an effect key, as the rows so far say."""

    holder: str
    state: str  # "taken", "done", "unknown"
    keep: int  # seconds for which it counts once it is done
    until: int | None = None
    asked: bool = False  # a part of the call was sent


@dataclass
class Effects:
    """The effect keys: one call has each at a time, and it is done once while that counts."""

    keys: dict[tuple[str, str], Effect] = field(default_factory=dict)
    held: dict[str, tuple[str, str]] = field(default_factory=dict)  # by the call that has it

    def take(self, row: dict[str, Any]) -> str | None:
        event, told = row["event"], json.loads(row["data"] or "{}")
        holder = row["approval_id"] or row["call_id"]
        if event in ("allowed", "claimed") and "effect" in told:
            return self._taken(row, holder, told)
        key = self.held.get(holder)
        if key is not None:
            self._ended(row, key, told)
        return None

    def _taken(self, row: dict[str, Any], holder: str, told: dict[str, Any]) -> str | None:
        key = (row["server"], told["effect"])
        before = self.keys.get(key)
        problem = None
        if before is not None and before.holder != holder:
            over = before.until is not None and before.until <= row["at"]
            known = told.get("after") == f"{before.state}:{before.holder}"
            if not over and not known:
                problem = f"{holder} does {key[1]}, which {before.holder} has {before.state}"
            self.held.pop(before.holder, None)
        self.keys[key] = Effect(holder, "taken", told["effect_for"])
        self.held[holder] = key
        return problem

    def _ended(self, row: dict[str, Any], key: tuple[str, str], told: dict[str, Any]) -> None:
        event, effect = row["event"], self.keys[key]
        frees = event in FREES and told.get("effect") != "unknown"
        if event == ASKS:
            effect.asked = True
        elif event == "succeeded" or (event == "settled" and row["outcome"] == "done"):
            effect.state, effect.until = "done", row["at"] + effect.keep * 1000
        elif (frees and not (event == "not_executed" and effect.asked)) or (
            event == "settled" and row["outcome"] == "not_done"
        ):
            del self.keys[key], self.held[effect.holder]
        elif event in OUTCOMES or event in ENDS or event == "effect_unknown":
            effect.state = "unknown"


@dataclass
class Meaning:
    """What the rows say, taken together."""

    effects: Effects = field(default_factory=Effects)
    permits: dict[str, Permit] = field(default_factory=dict)
    allowed: dict[str, str] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)  # rounds of each that are not told of yet
    latest: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # what was told last of each
    people: dict[str, dict[str, Any]] = field(default_factory=dict)  # on record, where it is told
    problems: list[str] = field(default_factory=list)
    executed: int = 0

    def take(self, row: dict[str, Any]) -> None:
        problem = self._permit(row, row["approval_id"]) if row["approval_id"] else self._passed(row)
        doubled = self.effects.take(row)
        self.problems += [f"row {row['seq']}: {one}" for one in (problem, doubled) if one]

    def _passed(self, row: dict[str, Any]) -> str | None:
        call, event = row["call_id"], row["event"]
        if event == "allowed":
            self.allowed[call], self.sent[call] = row["presented_digest"], 1
        elif event == "continued":  # the answer may be on record before the question
            if call not in self.allowed:
                return "something goes on that was never allowed"
            self.sent[call] += 1
        elif event == ASKS or event in OUTCOMES:
            return self._told(row, call)
        elif event in ROLES:
            told = json.loads(row["data"] or "{}")
            self.people[told.get("reviewer", row["actor"])] = told
        return None

    def _told(self, row: dict[str, Any], call: str) -> str | None:
        """What became of an allowed call, or of one round of it."""
        verdict = self.allowed.get(call)
        told = tuple(row[name] for name in TOLD)
        if verdict is None or not self.sent[call]:
            # What became of a call is written again when it was not known to have been: the same
            # words once more are no second run.
            return None if self.latest.get(call) == told else "something ran without a verdict"
        self.latest[call] = told
        if len(self.latest) > LATEST:
            del self.latest[next(iter(self.latest))]
        self.sent[call] -= 1
        if row["event"] != ASKS:
            self.executed += row["event"] != "not_executed"
            if not self.sent[call]:
                del self.allowed[call], self.sent[call]
        if row["presented_digest"] not in ("", verdict):
            return "what ran is not what was allowed"
        return None

    def _permit(self, row: dict[str, Any], approval: str) -> str | None:
        event, permit = row["event"], self.permits.get(approval)
        if event == "held":
            if permit is not None:
                return f"{approval} is opened twice"
            told = json.loads(row["data"])
            self.permits[approval] = Permit(
                told["quorum"],
                row["presented_digest"],
                row["revision"],
                fixed=told.get("fixed", ""),
                arguments_digest=row["arguments_digest"],
                shown=row["arguments"] or "",
                expires_at=told.get("expires_at"),
                seq=row["seq"],
                metadata=told.get("metadata", ""),
            )
            return None
        if permit is None:
            return f"{approval} was never opened"
        permit.seq = row["seq"]
        if event in OUTCOMES:
            self.executed += event != "not_executed"
            return _ran(row, approval, permit)
        if event in ("voted", "approved"):
            return _voted(row, approval, permit)
        if event == ASKS:
            return _asked(row, approval, permit)
        if event in ("claimed", "continued"):
            return _claimed(row, approval, permit)
        if event == UNDONE:
            return _taken_back(row, approval, permit) or self._unfit(row, approval)
        if event == LOOKS and row["actor_kind"] != "reviewer":
            return f"{approval}: anyone who looked behind its masks is no reviewer"
        return _changed(row, approval, permit)

    def _unfit(self, row: dict[str, Any], approval: str) -> str | None:
        """Why anyone who took it back is not who the row says, by what is told of people."""
        told = json.loads(row["data"] or "{}")
        known, voter = self.people.get(row["actor"]), told.get("voter", row["actor"])
        if known is None:  # of no one's rows, or these are left out
            return None
        if told.get("right") == "admin" and known.get("role", "") != "admin":
            return f"{approval}: {row['actor']}, who takes it back, is no administrator"
        if voter not in (row["actor"], *known.get("identities", ())):
            return f"{approval}: {row['actor']}, who takes it back, is not {voter}"
        return None


def _changed(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if row["event"] == "edited":
        if permit.state != "pending":
            return f"{approval} is edited after it was decided"
        permit.digest, permit.revision = row["presented_digest"], row["revision"]
        permit.arguments_digest, permit.shown = row["arguments_digest"], row["arguments"] or ""
        permit.voters.clear()
    elif row["event"] == "effect_changed" and row["revision"] != permit.revision:
        if permit.state != "pending":
            return f"{approval} stands otherwise after it was decided"
        permit.revision = row["revision"]  # votes on what was shown before count no more
        permit.voters.clear()
    elif row["event"] == "extended":
        permit.expires_at = json.loads(row["data"])["expires_at"]
    elif row["event"] == "settled":
        if permit.ended == "outcome_unknown":  # else its effect key alone is settled
            permit.settlement = row["outcome"]
    elif row["event"] in ENDS:
        if permit.running or permit.used or permit.state not in ("pending", "approved"):
            return f"{approval} ends a second time, or after it ran"
        permit.state = row["event"]
    return None


def _taken_back(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if permit.state != "approved":
        return f"{approval} is taken back while it is {permit.state}"
    if permit.running or permit.used or permit.asked:
        return f"{approval} is taken back after it started"
    told = json.loads(row["data"] or "{}")
    voted = told.get("right") == "approved" and told.get("voter") in permit.voters
    if row["actor_kind"] != "reviewer" or not (voted or told.get("right") == "admin"):
        return f"{approval}: anyone who takes it back has not approved it, and is no administrator"
    permit.state = "withdrawn"
    return None


def _ran(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if not permit.running:
        return f"{approval} ran without having been claimed"
    permit.running, permit.used = False, row["event"] != "not_executed"
    permit.ended = row["event"]
    return None


def _asked(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if not permit.running:
        return f"{approval} ran without having been claimed"
    permit.running, permit.asked = False, True
    told = json.loads(row["data"] or "{}")
    permit.use_by = told.get("use_by", permit.use_by)
    permit.rounds = told.get("round", permit.rounds)
    return None


def _voted(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if permit.state != "pending":
        return f"{approval} is approved after it was {permit.state}"
    if row["revision"] != permit.revision or row["presented_digest"] != permit.digest:
        return f"{approval}: the vote is on another call than the one that waits"
    if row["actor_kind"] != "reviewer" or row["actor"] in ("", row["grant_id"]):
        return f"{approval}: anyone who asked, or no one, approves"
    if row["actor"] in permit.voters:
        return f"{approval}: {row['actor']} counts twice"
    permit.voters.add(row["actor"])
    if row["event"] == "approved":
        if len(permit.voters) < permit.quorum:
            return f"{approval}: approved by {len(permit.voters)} of {permit.quorum} people"
        permit.state = "approved"
        told = json.loads(row["data"] or "{}")
        permit.use_by = told.get("use_by", row["at"] + LONGEST_USE)
        permit.runs_from = told.get("runs_from", 0)
    return None


def _claimed(row: dict[str, Any], approval: str, permit: Permit) -> str | None:
    if permit.state != "approved":
        return f"{approval} runs while it is {permit.state}"
    goes_on = row["event"] == "continued"
    if permit.running or permit.used or permit.asked is not goes_on:
        return f"{approval} is used twice"
    permit.running, permit.asked = True, False
    if row["at"] < permit.runs_from:
        return f"{approval} starts while its rule still lets it be taken back"
    if row["presented_digest"] != permit.digest:
        return f"{approval}: what runs is not what was approved"
    if json.loads(row["data"] or "{}").get("metadata", "") != permit.metadata:
        return f"{approval}: what is sent beside the arguments is not what was shown"
    return None


def check(path: Path, *, key: bytes | None, head: str | None) -> tuple[list[str], list[str]]:
    """(problems, notes) of an export."""
    about = json.loads((path.parent / "export.json").read_text(encoding="utf-8"))
    filters = about["filters"]
    chain, meaning = Chain(key, gaps=bool(filters)), Meaning()
    rows, meant = 0, set(filters) <= WHOLE
    for row in rows_of(path):
        rows += 1
        chain.take(row)
        if meant:
            meaning.take(row)
    problems = chain.problems + meaning.problems
    if rows != about["rows"]:
        problems.append(f"the export says {about['rows']} rows; there are {rows}")
    if not filters and (chain.seq, chain.hash or FIRST) != (
        about["head"]["seq"],
        about["head"]["hash"],
    ):
        problems.append("the last row is not the head the export names")
    if head is not None:
        problems += _against(path, head, chain)
    notes = [f"{rows} rows, head {chain.seq}:{chain.hash or FIRST}"]
    if meant:
        notes.append(f"{len(meaning.permits)} approvals, {meaning.executed} executions")
    else:
        notes.append("filtered: what the rows mean together was not checked")
    if key is None:
        notes.append("no key given: links checked, authorship not")
    return problems, notes


def _against(path: Path, head: str, chain: Chain) -> list[str]:
    wanted, _, expected = head.partition(":")
    if chain.seq < int(wanted):
        return [f"rows after {chain.seq} were cut off: the head kept elsewhere is {wanted}"]
    found = next((row["hash"] for row in rows_of(path) if row["seq"] == int(wanted)), None)
    return [] if found == expected else [f"row {wanted} is not the head kept elsewhere"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="?", default=str(Path(__file__).parent))
    parser.add_argument("--key", help="the installation's key file, or a file with the history key")
    parser.add_argument("--head", help="SEQ:HASH noted earlier, to find rows cut off the end")
    given = parser.parse_args(arguments)
    path = Path(given.path)
    if path.is_dir():
        path = next(found for found in sorted(path.glob("history.*")))
    key = history_key(Path(given.key)) if given.key else None
    problems, notes = check(path, key=key, head=given.head)
    for line in [*problems, *notes]:
        sys.stdout.write(line + "\n")
    sys.stdout.write("BROKEN\n" if problems else "INTACT\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
