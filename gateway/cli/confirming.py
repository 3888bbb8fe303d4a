"""Confirming what stands in policy.json and servers.json, at a terminal.

No one confirms unseen: the difference is printed first, and a script has to name the digest of the
text it means. A running gateway notices within a second.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import files, show
from gateway.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from gateway.admin.reviewer_check import ReviewerCheck
    from gateway.cli.record import Record
    from gateway.enforcement.confirmations import By
    from gateway.policy.rules import Policy
    from gateway.servers import Server, Servers

_HASH = re.compile(r"[0-9a-f]{12,64}").fullmatch


def confirm_policy(as_: str | None, *, yes: bool, wanted: str) -> None:
    """`signoff policy confirm`.

    Raises:
        Stop: there is nothing to confirm, or no one did.
    """
    from approvals import confirmed
    from gateway.admin.reviewer_check import ReviewerCheck, vouched
    from gateway.cli.acting import administrator
    from gateway.cli.policy import load
    from gateway.cli.record import run, settings
    from gateway.enforcement.confirmations import closed_more
    from gateway.enforcement.confirmations import confirm_policy as put

    _check_hash(yes=yes, wanted=wanted)
    path = settings().policy
    new = files.read(path)
    policy = load(path)

    async def look(record: Record) -> tuple[By, bytes | None, bool, ReviewerCheck]:
        staff = ReviewerCheck(record.people, lambda: policy, vouched=vouched(record.settings))
        await staff.meet()
        told = await record.database.read(partial(confirmed.told, keys=record.database.keys))
        old, who = await _confirmed_policy(record), await administrator(record, as_)
        return who, old, closed_more(told), staff

    who, old, closed, staff = run(look)
    if old == new and not closed:
        show.note(f"{path} is what was confirmed: nothing waits, nothing to do.")
        return
    _draw_policy(old, new, policy, staff)
    digest = hashlib.sha256(new).hexdigest()
    print(f"sha256       {digest}", flush=True)
    if wanted and not digest.startswith(wanted):
        raise Stop(Exit.DENIED, "Not confirmed: --hash names another text.")
    if not _sure("Confirm these rules?", digest, yes=yes):
        raise Stop(Exit.DENIED, "Not confirmed. The rules that were confirmed stay in force.")

    async def write(record: Record) -> None:
        await record.database.journal.write(partial(put, old=old, new=new, by=who))

    run(write)
    print(f"{path} is confirmed.")


def confirm_servers(names: list[str], as_: str | None, *, yes: bool, wanted: str) -> None:
    """`signoff server confirm`.

    Raises:
        Stop: there is nothing to confirm, or no one did.
    """
    from gateway.cli.acting import administrator
    from gateway.cli.record import run
    from gateway.enforcement.confirmations import confirm_server
    from gateway.enforcement.server_display import digest

    _check_hash(yes=yes, wanted=wanted)
    if wanted and len(names) != 1:
        raise Stop(Exit.USAGE, "--hash goes with the name of one server.")
    servers = _named(names)

    async def look(record: Record) -> tuple[By, list[Server], Mapping[str, str]]:
        waiting = await unconfirmed(record, servers.servers.values())
        chosen = [one for one in waiting if not names or one.name in names]
        return await administrator(record, as_), chosen, await stated(record)

    who, chosen, before = run(look)
    if not chosen:
        show.note("Nothing waits, nothing to confirm: they are what was confirmed.")
        return
    for server in chosen:
        draw_server(server, before.get(server.name))
        print(f"sha256       {digest(server)}", flush=True)
    if wanted and not digest(chosen[0]).startswith(wanted):
        raise Stop(Exit.DENIED, "Not confirmed: --hash names another command or URL.")
    question = "Let it be started or reached like this?"
    if len(chosen) > 1:
        question = question.replace("it", "them all", 1)
    named = digest(chosen[0]) if len(chosen) == 1 else "DIGEST, for each by its name"
    if not _sure(question, named, yes=yes):
        raise Stop(Exit.DENIED, "Not confirmed. Nothing of it is started.")

    async def write(record: Record) -> None:
        for server in chosen:
            await record.database.journal.write(partial(confirm_server, server=server, by=who))

    run(write)
    print(f"Confirmed: {', '.join(server.name for server in chosen)}")


def _named(names: list[str]) -> Servers:
    """servers.json, which has a server of each of these names.

    Raises:
        Stop: it has not.
    """
    servers = configured()
    unknown = next((name for name in names if name not in servers.servers), None)
    if unknown is not None:
        known = ", ".join(servers.servers) or "none"
        raise Stop(
            Exit.NOT_FOUND, f"There is no server {show.line(unknown)} to confirm; known: {known}."
        )
    return servers


def configured() -> Servers:
    """servers.json as the settings name it.

    Raises:
        Stop: it cannot be read.
    """
    import os

    from gateway.cli.record import settings
    from gateway.servers import load_servers

    path = settings().servers
    workspace = str(path.absolute().parent)
    return load_servers(files.read(path), os.environ, workspace=workspace)


def draw_server(server: Server, before: str | None) -> None:
    """Print how a server is started or reached, and how that differs from what was confirmed."""
    from gateway.enforcement.server_display import differences, shown

    print(f"{server.name}: {show.line(shown(server))}")
    for change in differences(before, server):
        print(f"  {show.line(str(change))}")
    if before is None:
        print("  Nothing was confirmed of it yet.")


async def stated(record: Record) -> Mapping[str, str]:
    """What was confirmed last of each server, by its name."""
    from approvals import confirmed

    known = await record.database.read(partial(confirmed.confirmed, keys=record.database.keys))
    prefix = confirmed.server_key("")
    return {
        key.removeprefix(prefix): one.text for key, one in known.items() if key.startswith(prefix)
    }


async def unconfirmed(record: Record, servers: Iterable[Server]) -> list[Server]:
    """Those servers whose command or URL no one has confirmed as it stands."""
    known = await stated(record)
    return [server for server in servers if known.get(server.name) != server.stated]


def wrote_policy(path: Path, new: bytes) -> None:
    """A command has just written this to a file, and confirms that and nothing else. Where it is
    not the rules of a record, and where commands do not decide, nothing happens.
    """
    from gateway.cli.acting import administrator
    from gateway.cli.record import exists, run, settings
    from gateway.enforcement.confirmations import confirm_policy as put
    from gateway.policy.document import PolicyInvalid, load

    where = settings()
    if not exists(where) or path.resolve() != where.policy.resolve():
        return
    try:
        load(new)
    except PolicyInvalid:
        return  # the gateway says what is wrong with it

    async def work(record: Record) -> None:
        old = await _confirmed_policy(record)
        if old is None:
            return  # the first start will
        who = await administrator(record, None)
        await record.database.journal.write(partial(put, old=old, new=new, by=who))

    try:
        run(work)
    except Stop as stop:
        show.note(f"The new rules wait to be confirmed: {stop.text}")


def wrote_servers(agreed: Iterable[Server]) -> None:
    """Confirm these servers as they were shown and agreed to. What the file says by now may be
    something else, which waits.
    """
    from gateway.cli.acting import administrator
    from gateway.cli.record import exists, run, settings
    from gateway.enforcement.confirmations import confirm_server

    if not exists(settings()):
        return

    async def work(record: Record) -> None:
        if await _confirmed_policy(record) is None:
            return  # the first start will
        who = await administrator(record, None)
        for server in await unconfirmed(record, agreed):
            await record.database.journal.write(partial(confirm_server, server=server, by=who))

    try:
        run(work)
    except Stop as stop:
        show.note(f"The new servers wait to be confirmed: {stop.text}")


async def _confirmed_policy(record: Record) -> bytes | None:
    from approvals import confirmed

    known = await record.database.read(partial(confirmed.confirmed, keys=record.database.keys))
    there = known.get(confirmed.POLICY)
    return None if there is None else there.text.encode()


def _check_hash(*, yes: bool, wanted: str) -> None:
    if wanted and not _HASH(wanted):
        raise Stop(Exit.USAGE, "--hash takes 12 to 64 hexadecimal digits of the sha256.")
    if yes and not wanted:
        raise Stop(Exit.USAGE, "--yes goes only with --hash: what no one saw is not confirmed.")


def _sure(question: str, digest: str, *, yes: bool) -> bool:
    """Whether what was just shown is meant: said beforehand, or now.

    Raises:
        Stop: no one can be asked.
    """
    if not yes and not show.interactive():
        raise Stop(Exit.USAGE, f"No one can be asked here: write --yes --hash {digest}")
    return yes or show.asked(question)


def _draw_policy(old: bytes | None, new: bytes, policy: Policy, staff: ReviewerCheck) -> None:
    """Print what is enforced otherwise, and the lines that differ."""
    from gateway.enforcement.policy_file import waits_for
    from gateway.policy.document import load
    from gateway.policy.linediff import changed
    from gateway.policy.opened import told

    if old is None:
        print("Nothing was confirmed here yet.")
        print(show.block(new.decode()))
        return
    before = load(old)
    places = waits_for(before, policy, people=staff.names(), staffed=staff.suffices)
    opens, others = told(before, policy, places)
    if opens:
        print("It may open:")
        print("\n".join(f"  {show.line(one)}" for one in opens))
    else:
        print("It opens nothing: it counts at once. Confirm it to keep it.")
    if others:
        print("What else changes:" if opens else "What changes:")
        print("\n".join(f"  {show.line(one)}" for one in others))
    print("In the file:")
    for sign, line in changed(old.decode(), new.decode()):
        print(f"  {show.line(line)}" if sign == "@" else f"  {sign} {show.line(line)}")
