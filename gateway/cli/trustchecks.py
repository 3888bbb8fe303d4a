"""The checks of `signoff doctor` on who could change what the gateway guards with."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import show
from gateway.cli.check import Check
from gateway.cli.config import FILE, said_by_file
from gateway.cli.way_in import SOON

if TYPE_CHECKING:
    from approvals.model import Millis
    from gateway.admin.reviewer_check import ReviewerCheck
    from gateway.policy.rules import Policy
    from gateway.servers import Server
    from gateway.settings import Settings

_ROOM = 1_000  # characters of what a check says of a server
REMAINS = (
    "Anyone who runs as the gateway's user owns the gateway: its key, its record, its files. "
    "For more, run it as another user than your agents."
)


def data_outside(data: Path) -> Iterator[Check]:
    """Whether the record lies where agents write."""
    from gateway.settings import INSIDE, state_folder

    here = Path.cwd()
    if not data.exists() or here not in (*data.absolute().parents,):
        return
    better = state_folder(here.name, str(here), os.environ)
    where = f"signoff stopped: mkdir -p {better.parent} && mv {data} {better}"
    if data != Path(INSIDE):
        where = "Set SIGNOFF_DATA to a folder outside the project, and move it there."
    found = f"{data} lies inside the project, where agents may write"
    yield Check("project", "warning", found, where)


def reach(configured: Settings, servers: Mapping[str, Server]) -> Iterator[Check]:
    """Whether servers, or other people, are led to the files that say what is guarded. A server
    that is started in the project's own folder is usual: told only where a file it writes counts.
    """
    from gateway.servers import CommandServer

    folders = {path.absolute().parent for path in (configured.policy, configured.servers)}
    for server in servers.values():
        if not isinstance(server, CommandServer):
            continue
        base = Path(server.cwd) if server.cwd else Path.cwd()
        led = {base / arg.rpartition("=")[2] for arg in server.args if arg.rpartition("=")[2]}
        if server.cwd or configured.policy_trust == "file":
            led.add(base)
        met = sorted(folder for folder in folders if any(_holds(one, folder) for one in led))
        if met:
            yield Check(
                "reach",
                "warning",
                f"{server.name} is started in or led to {met[0]}, where the rules lie",
                'Give it another "cwd" and folder, or keep policy.json elsewhere: SIGNOFF_POLICY=…',
            )
    for path in (configured.policy, configured.servers):
        for one in (path, path.absolute().parent):
            if _open_to_others(one):
                do = f"chmod go-w {one}"
                yield Check("reach", "warning", f"{one} may be written by other users", do)


def settings_file() -> Iterator[Check]:
    """What signoff.toml of this folder says."""
    if made := said_by_file():
        found = f"{FILE.absolute()} sets {', '.join(made)}"
        yield Check("settings", "ok", found, "It counts for commands you type in this folder.")


def remains(configured: Settings) -> Check:
    """What no setting here keeps out."""
    closed, ends = _commands(configured)
    decide = "commands do not decide here" if closed else "commands decide here"
    trust = " The files count as they are." if configured.policy_trust == "file" else ""
    found = f"{decide}.{trust} {REMAINS}"
    if closed and ends is not None and ends < int(time.time() * 1000) + SOON:
        found = f"{decide}, and the administrators' last token ends {show.moment(ends)}. {REMAINS}"
        return Check("trust", "warning", found, "With it, now: signoff reviewer token NAME")
    if closed and ends is None:
        found = f"{decide}, and no administrator holds a token for them. {REMAINS}"
        return Check("trust", "warning", found, "Sign in and make one: the page, under Agents.")
    return Check("trust", "ok", found)


def _commands(configured: Settings) -> tuple[bool, Millis | None]:
    """Whether commands do not decide here, by the settings or the record, and until when some
    administrator holds a token for them.
    """
    import asyncio

    from gateway.cli.exits import Stop
    from gateway.cli.record import exists, opened
    from gateway.cli.way_in import administrators, last_token
    from gateway.enforcement.confirmations import commands_decide

    async def look() -> tuple[bool, Millis | None]:
        async with opened(configured) as record:
            closed = not configured.cli_decides or not await commands_decide(record.database)
            names = await administrators(record.people)
            return closed, await last_token(record.people, names)

    if not exists(configured) or not (configured.data / "signoff.key").exists():
        return not configured.cli_decides, None
    try:
        return asyncio.run(look())
    except Stop:
        return not configured.cli_decides, None  # told by the record's own check


async def unconfirmed(configured: Settings, servers: Mapping[str, Server]) -> list[Check]:
    """What waits for an administrator's word."""
    from functools import partial

    from approvals import confirmed
    from gateway.admin.reviewer_check import ReviewerCheck, vouched
    from gateway.cli.record import opened
    from gateway.enforcement.server_display import differences, digest, shown
    from gateway.policy.document import PolicyInvalid, load

    if configured.policy_trust == "file":
        return []
    async with opened(configured) as record:
        known = await record.database.read(partial(confirmed.confirmed, keys=record.database.keys))
        staff = ReviewerCheck(record.people, lambda: new, vouched=vouched(configured))
        await staff.meet()
    rules = known.get(confirmed.POLICY)
    if rules is None:
        return []  # never started: the first start confirms
    found = []
    for name, server in servers.items():
        there = known.get(confirmed.server_key(name))
        if there is None or there.hash != digest(server):
            changes = differences(there.text if there is not None else None, server)
            said = "; ".join(map(str, changes)) or shown(server)
            what = f"{name} waits to be confirmed: {said[:_ROOM]}"
            found.append(Check("confirmed", "warning", what, f"signoff server confirm {name}"))
    try:
        text = configured.policy.read_bytes()
        old, new = load(rules.text.encode()), load(text)
    except (OSError, PolicyInvalid):
        return found  # told by the policy's own check
    if confirmed.hash_of(text.decode()) != rules.hash:
        what = f"{configured.policy} {_state(old, new, staff)}"
        found.append(Check("confirmed", "warning", what, "signoff policy confirm"))
    return found


def _state(old: Policy, new: Policy, staff: ReviewerCheck) -> str:
    """How the rules in the file differ from the confirmed ones, and what that means."""
    from gateway.enforcement.policy_file import waits_for
    from gateway.policy.opened import told

    if old.hash == new.hash:
        return "differs from what was confirmed in its text alone; confirm to keep it"
    places = waits_for(old, new, people=staff.names(), staffed=staff.suffices)
    if not places:
        return "closes more than what was confirmed: that counts at once; confirm to keep it"
    opens, others = told(old, new, places)
    more = len(opens) + len(others) - 1
    first = f"{opens[0][:200]}{f' and {more} more' if more else ''}"
    return f"waits to be confirmed, and is not in force. It may open: {first}"


def _holds(folder: Path, inner: Path) -> bool:
    """Whether `inner` is the folder or lies in it."""
    try:
        return inner.is_relative_to(Path(os.path.normpath(folder.absolute())))
    except (OSError, ValueError):
        return False


def _open_to_others(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    sticky = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    return bool(mode & stat.S_IWOTH) and not sticky
