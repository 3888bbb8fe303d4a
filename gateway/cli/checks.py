"""The checks of `signoff doctor`. Each looks at one thing, changes nothing and never raises."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import stat
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from approvals.addresses import is_own_machine
from gateway.cli import show, trustchecks
from gateway.cli.check import Check, State
from gateway.cli.exits import Stop
from gateway.hosting.address import address, page_address
from gateway.settings import LOOPBACK, Settings

if TYPE_CHECKING:
    from approvals.model import Reviewer
    from gateway.policy.problems import PolicyProblem
    from gateway.servers import Server

_SECONDS = 10.0  # for one server to list its tools
_BUILT = 1_760_000_000  # October 2025: no clock that is right is before this


def examine(configured: Settings, *, ask_servers: bool, yes: bool = False) -> list[Check]:
    """Every check, in the order in which one fault causes the next. `yes`: do not ask before
    servers are started; one that waits to be confirmed is not.
    """
    servers = _configured(configured.servers)
    return [
        _python(),
        _clock(),
        *_folder(configured.data),
        *trustchecks.data_outside(configured.data),
        *trustchecks.settings_file(),
        *_record(configured, servers),
        *_policy(configured.policy),
        *trustchecks.reach(configured, servers),
        *_servers(configured, ask=ask_servers, yes=yes),
        *_addresses(configured),
        _port(configured),
        trustchecks.remains(configured),
    ]


def _configured(path: Path) -> Mapping[str, Server]:
    """The usable servers of the file; what is wrong with it is told by its own check."""
    from gateway.servers import load_servers

    try:
        text = path.read_bytes()
    except OSError:
        return {}
    return load_servers(text, os.environ, workspace=str(path.absolute().parent)).servers


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    return Check("python", "ok", version)


def _clock() -> Check:
    now = time.time()
    told = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _BUILT:
        return Check("clock", "broken", told, "Set the clock: limits and deadlines go by it.")
    return Check("clock", "ok", told)


def _folder(data: Path) -> Iterator[Check]:
    if not data.exists():
        yield Check("data folder", "warning", f"{data} is not there", "signoff up makes it.")
        return
    try:
        mode = stat.S_IMODE(data.stat().st_mode)
    except OSError as error:
        yield Check("data folder", "broken", f"{data}: {error.strerror}", "Let this user read it.")
        return
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        found = f"{data} may be entered by others ({mode:04o})"
        yield Check("data folder", "warning", found, f"chmod 700 {data}")
    elif not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        yield Check("data folder", "broken", f"{data} cannot be written", f"chown it: {data}")
    else:
        yield Check("data folder", "ok", str(data))
    yield _key(data / "signoff.key")


def _key(path: Path) -> Check:
    from approvals.record.keys import Keys, KeyUnusable

    if not path.exists():
        lost = (path.parent / "signoff.db").exists()
        if lost:
            return Check(
                "key",
                "broken",
                f"{path} is gone and the record is there",
                "Put the key file back: without it held arguments stay sealed.",
            )
        return Check("key", "warning", f"{path} is not there", "signoff up makes it.")
    try:
        Keys.open(path)
    except KeyUnusable as error:
        return Check("key", "broken", str(error), "Put it right; never make a new one beside it.")
    except OSError as error:
        return Check("key", "broken", f"{path}: {error.strerror}", "Let this user read it.")
    return Check("key", "ok", str(path))


def _record(configured: Settings, servers: Mapping[str, Server]) -> Iterator[Check]:
    from gateway.cli.record import exists

    if not exists(configured) or not (configured.data / "signoff.key").exists():
        yield Check("record", "warning", "not made yet, or without its key", "See above.")
        return
    try:
        yield from asyncio.run(_look(configured))
        yield from asyncio.run(trustchecks.unconfirmed(configured, servers))
    except Stop as stop:
        yield Check("record", "broken", stop.text, "Put that right, then look again.")
    except Exception as error:  # noqa: BLE001 - whatever a damaged database raises is the finding
        yield Check("record", "broken", type(error).__name__, "Restore it, then: history verify")


async def _look(configured: Settings) -> list[Check]:
    from approvals.record import history
    from gateway.cli.record import opened
    from gateway.enforcement import freezes, grants

    async with opened(configured) as record:
        head = await record.database.read(history.head)
        last = await record.approvals.history(history.HistoryQuery(limit=1))
        frozen = await record.database.read(freezes.frozen_now)
        agents = await record.database.read(grants.listing)
        people = await record.people.reviewers()
        now = int(time.time() * 1000)
    trouble = record.database.watch.trouble
    checks = [
        Check("record", "ok", f"{show.counted(head.seq, 'row')} of history")
        if trouble is None
        else Check("record", "broken", f"Nothing runs. {trouble}", "signoff history verify")
    ]
    if last.rows and last.rows[0].at > now + 1_000:
        ahead = (last.rows[0].at - now) // 1000
        found = f"the last row is {ahead} s in the future"
        checks.append(Check("record", "warning", found, "Set the clock: it was set back."))
    able = [one.id for one in people if one.may_decide]
    unmet = _unmet(configured, people)
    if able and unmet is not None:
        checks.append(Check("reviewers", "broken", f"{unmet.pointer}: {unmet.what}", unmet.write))
    elif able:
        checks.append(Check("reviewers", "ok", ", ".join(able)))
    else:
        do = "signoff reviewer add YOUR-NAME"
        checks.append(Check("reviewers", "broken", "no one may decide", do))
    usable = sum(one.usable(now) for one in agents)
    if usable:
        checks.append(Check("grants", "ok", f"{usable} usable"))
    else:
        do = "signoff grant create my-agent"
        checks.append(Check("grants", "warning", "no agent can connect", do))
    if frozen:
        stopped = ", ".join(key.partition(":")[2].rstrip(":") for key in sorted(frozen))
        checks.append(Check("freeze", "warning", f"calls are refused: {stopped}", "signoff thaw …"))
    return checks


def _unmet(configured: Settings, people: tuple[Reviewer, ...]) -> PolicyProblem | None:
    """The first demand of the policy that no one on record can meet."""
    from gateway.admin.reviewer_check import vouched
    from gateway.policy.document import PolicyInvalid, load
    from gateway.policy.staffing import unstaffed

    try:
        policy = load(configured.policy.read_bytes(), name=configured.policy.name)
    except (OSError, PolicyInvalid):
        return None  # told by the policy's own check
    return next(iter(unstaffed(policy, people, vouched=vouched(configured))), None)


def _policy(path: Path) -> Iterator[Check]:
    from gateway.policy.document import check

    try:
        problems = check(path.read_bytes())
    except OSError as error:
        do = "signoff init writes one from your servers file."
        yield Check("policy", "broken", f"{path}: {error.strerror}", do)
        return
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        found = f"{path}: {show.counted(len(errors), 'error')}; first: {errors[0]}"
        yield Check("policy", "broken", found, "signoff policy check")
    elif problems:
        found = f"{path}: {show.counted(len(problems), 'warning')}; first: {problems[0]}"
        yield Check("policy", "warning", found, "signoff policy check")
    else:
        yield Check("policy", "ok", str(path))


def _servers(configured: Settings, *, ask: bool, yes: bool) -> Iterator[Check]:
    from gateway.servers import load_servers

    path = configured.servers
    try:
        text = path.read_bytes()
    except OSError as error:
        do = "signoff init writes it from your servers file."
        yield Check("servers", "broken", f"{path}: {error.strerror}", do)
        return
    found = load_servers(text, os.environ, workspace=str(path.absolute().parent))
    for problem in found.problems:
        yield Check("servers", "broken", f"{path}: {problem}", "Correct the file, then restart.")
    if not found.servers:
        yield Check("servers", "warning", f"{path} names no usable server", "Add one.")
        return
    if not ask:
        yield Check("servers", "ok", f"{len(found.servers)} in {path}, not asked")
        return
    from gateway.cli.asking import already_confirmed, chosen, waiting
    from gateway.cli.listing import tools_of_all

    sure = already_confirmed(configured, found.servers)
    held_back = waiting(configured, found.servers)
    startable = {name: one for name, one in found.servers.items() if name not in held_back}
    asked = chosen(startable, yes=yes, sure=sure)
    for name in found.servers:
        if name in held_back:
            what = f"{name}: not asked, for it waits to be confirmed"
            yield Check("server", "warning", what, f"signoff server confirm {name}")
        elif name not in asked:
            do = "Look at what is started or reached, then: signoff doctor --yes"
            yield Check("server", "warning", f"{name}: not started, so not asked", do)
    wanted = {name: server for name, server in found.servers.items() if name in asked}
    listed = asyncio.run(tools_of_all(wanted, seconds=_SECONDS))
    for name, tools in listed.items():
        if isinstance(tools, list):
            yield Check("server", "ok", f"{name}: {show.counted(len(tools), 'tool')}")
        else:
            yield Check("server", "broken", f"{name}: {tools}", f"signoff scan {name}")


def _addresses(configured: Settings) -> Iterator[Check]:
    """What goes over the network in the clear, and where the page cannot tell who presses."""
    where = page_address(configured)  # of the gateway that runs, if one does
    page, agents = urlsplit(where), urlsplit(address(configured))
    if page.scheme == "http" and not is_own_machine(page.hostname or ""):
        found = f"{where} only shows: browsers make no keys over plain http"
        do = "Use https: set SIGNOFF_PAGE_URL to an https address, else no one decides there."
        yield Check("page", "warning", found, do)
    else:
        yield Check("page", "ok", where)
    if agents.scheme == "http" and configured.host not in LOOPBACK:
        found = f"{configured.host} takes connections of other machines, and {address(configured)} "
        found += "keeps tokens and arguments secret from no one on the way"
        do = "Use https: a TLS proxy before it and SIGNOFF_PUBLIC_URL=https://…, or listen on "
        yield Check("network", "warning", found, do + "127.0.0.1.")


def _port(configured: Settings) -> Check:
    host, port = configured.host, configured.port
    told = urlsplit(address(configured))
    if not configured.public_url and told.hostname and told.port not in (None, port):
        elsewhere = _gateway(told.hostname, told.port or port)
        if elsewhere is not None:
            return elsewhere
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            running = _gateway(host, port)
            if running is not None:
                return running
            return Check(
                "port",
                "broken",
                f"{host}:{port} cannot be used: {error.strerror}",
                "Stop the other program, or choose another: SIGNOFF_PORT=…",
            )
    return Check("port", "ok", f"{host}:{port} is free; no gateway runs here")


def _gateway(host: str, port: int) -> Check | None:
    """What the gateway that listens there says of itself; None if it is none."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        told = json.loads(connection.getresponse().read(65_536))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    if not isinstance(told, dict) or "ready" not in told:
        return None
    where = f"a gateway runs on {host}:{port}"
    faults = [f"{part}: {said}" for part, said in told.items() if said not in (True, "ok")]
    if faults:
        state: State = "warning" if told["ready"] is True else "broken"
        return Check("gateway", state, f"{where}; {'; '.join(faults)}", _do(told))
    return Check("gateway", "ok", f"{where} and is ready")


def _do(told: Mapping[str, object]) -> str:
    """What helps a gateway that says this of itself."""
    waits = [part for part, said in told.items() if "to be confirmed" in str(said)]
    does = [f"signoff {part.removesuffix('s')} confirm" for part in waits]
    others = [part for part, said in told.items() if said not in (True, "ok") and part not in waits]
    return "; ".join([*does, *(["See its log."] if others else [])])
