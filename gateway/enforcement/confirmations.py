"""What an administrator confirmed of policy.json and servers.json, and what waits to be confirmed.

Both files lie where agents may write. The record keeps what was confirmed (`approvals.confirmed`);
a gateway starts on that and not on the files, and each looks once a second whether another process
has confirmed something. The first start of a record confirms what it finds: the operator has just
typed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from sqlalchemy import Connection

from approvals import confirmed
from approvals.digest import canonical, sha256
from approvals.model import Event, Reviewer
from approvals.record.database import Database, Transaction
from gateway.enforcement.policy_file import PolicyFile, content
from gateway.enforcement.server_display import digest
from gateway.policy import diff
from gateway.policy.document import PolicyInvalid, load
from gateway.policy.rules import Policy
from gateway.servers import Server, Servers

log = structlog.get_logger()

Outcome = Literal["confirmed", "changed", "nothing"]
"""As `web.services.Outcome`."""

_CHANGES: Final = 100  # sentences a row of the history keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who confirms, and how that was proven."""

    kind: Literal["reviewer", "operator"]
    id: str
    verified: str = ""
    via: str

    @classmethod
    def reviewer(cls, one: Reviewer, via: str) -> By:
        return cls(kind="reviewer", id=one.id, verified=one.verified, via=via)


FIRST: Final = By(kind="operator", id="first start", via="gateway")
_ITSELF: Final = By(kind="operator", id="whoever wrote the file", via="file")


def confirm_policy(tx: Transaction, old: bytes | None, new: bytes, by: By) -> None:
    """Put a usable text of policy.json on record as confirmed."""
    confirmed.confirm(tx, confirmed.POLICY, new.decode(), event=_policy_event(old, new, by))


def close_policy(tx: Transaction, old: bytes, new: bytes) -> None:
    """Put on record that this text is in force, though no one confirmed it: it closes more than
    `old`. `old` itself: nothing closes more any longer.
    """
    event = _policy_event(old, new, _ITSELF)._replace(event=confirmed.CLOSED_EVENT)
    if old == new:
        event = event._replace(reason="The file says again what was confirmed.")
    confirmed.confirm(tx, confirmed.CLOSED, new.decode(), event=event)


def closing_text(known: Mapping[str, confirmed.Confirmed] | None) -> bytes | None:
    """What was in force last because it closes more than the confirmed rules; None: nothing did."""
    if known is None or (one := known.get(confirmed.CLOSED)) is None:
        return None
    return None if one.hash == known[confirmed.POLICY].hash else one.text.encode()


def closed_more(told: Mapping[str, str]) -> bool:
    """Whether the history tells, since the rules were confirmed, of a text that closes more."""
    base = told.get(confirmed.POLICY)
    return told.get(confirmed.CLOSED, base) != base


def confirm_server(tx: Transaction, server: Server, by: By) -> None:
    """Put on record what starts or reaches this server."""
    event = Event(
        event=confirmed.SERVER_EVENT,
        actor_kind=by.kind,
        actor=by.id,
        verified=by.verified,
        via=by.via,
        server=server.name,
    )
    confirmed.confirm(tx, confirmed.server_key(server.name), server.stated, event=event)


class Unconfirmed(Exception):
    """What the record says was confirmed is not there any more; the text says what to do."""


async def read_confirmed(
    database: Database, policy: Path
) -> Mapping[str, confirmed.Confirmed] | None:
    """What counts in this record; None: nothing was ever confirmed, this is its first start.

    Raises:
        Unconfirmed: the text of the rules is gone from the record, and the file is another one; or
            the text that closed more is; or rows of the history are gone, perhaps those that tell
            of it.
    """

    def read(
        connection: Connection,
    ) -> tuple[Mapping[str, confirmed.Confirmed], Mapping[str, str]]:
        return confirmed.confirmed(connection, database.keys), confirmed.told(
            connection, database.keys
        )

    known, told = await database.read(read)
    if confirmed.POLICY not in told:
        trouble = database.watch.trouble
        if trouble is not None:
            raise Unconfirmed(f"It cannot be said which rules were confirmed. {trouble}")
        return None
    if confirmed.CLOSED not in known and closed_more(told):
        raise Unconfirmed(
            "Rules that closed more than what was confirmed were in force, and are gone from the "
            f"record. Look through {policy}, then: signoff policy confirm"
        )
    if confirmed.POLICY in known:
        return known
    # Someone took the text away. The file will do if it is the one that was confirmed.
    text = await asyncio.to_thread(_content, policy)
    if sha256(text) != told.get(confirmed.POLICY):
        raise Unconfirmed(
            "The rules that were confirmed are gone from the record, and "
            f"{policy} is another text. Look through it, then: signoff policy confirm"
        )
    return {**known, confirmed.POLICY: confirmed.Confirmed(text.decode(), sha256(text), 0)}


def _content(path: Path) -> bytes:
    try:
        return content(path)
    except OSError:
        return b""


def starting_text(known: Mapping[str, confirmed.Confirmed] | None, policy: Path) -> bytes:
    """The text a start goes by: what was confirmed, on a first start the file.

    Raises:
        OSError: it is the file, which cannot be read.
    """
    return content(policy) if known is None else known[confirmed.POLICY].text.encode()


async def confirm_first(
    database: Database, policies: PolicyFile, servers: Servers
) -> Mapping[str, confirmed.Confirmed] | None:
    """The first start of a record: the operator has just typed what it finds. What counts now."""
    text = policies.confirmed_text or b""

    def write(tx: Transaction) -> None:
        if confirmed.POLICY in confirmed.told(tx.connection, tx.keys):
            return  # another gateway of this record was faster
        confirm_policy(tx, None, text, FIRST)
        for server in servers.servers.values():
            confirm_server(tx, server, FIRST)

    await database.journal.write(write)
    return await read_confirmed(database, policies.path)


_DECIDE: Final = confirmed.hash_of("true")


async def commands_decide(database: Database) -> bool:
    """Whether, by the record, the command line decides here."""
    # The history's word: it tells of a "no" also while no signed row counts.
    known = await database.read(partial(confirmed.told, keys=database.keys))
    return known.get(confirmed.COMMANDS, _DECIDE) == _DECIDE


async def note_commands(database: Database, *, decide: bool, admin: bool = False) -> None:
    """Keep on record whether the command line decides here: who can change the environment of a
    command must find no way round it. So only an administrator (`admin`) takes a "no" back.
    """
    if await commands_decide(database) == decide or (decide and not admin):
        return
    event = Event(
        event=confirmed.COMMANDS_EVENT,
        actor_kind=FIRST.kind,
        actor="start",
        via=FIRST.via,
        reason="The command line decides." if decide else "The command line does not decide.",
    )
    await database.journal.write(
        lambda tx: confirmed.confirm(tx, confirmed.COMMANDS, str(decide).lower(), event=event)
    )


class Confirmations:
    """What counts here, as of at most a second ago; what was confirmed here, at once."""

    def __init__(
        self,
        database: Database,
        policies: PolicyFile,
        servers: Servers,
        known: Mapping[str, confirmed.Confirmed] | None,
        *,
        typed: bool = False,
    ) -> None:
        """Args:
        database: the record.
        policies: the policy in force, which is given what is confirmed.
        servers: as the file has them.
        known: as read from the record; None: the files are taken as they are.
        typed: the servers come from the command line and not from a file: each may be started.
        """
        self._database = database
        self._servers = servers
        self._typed = typed
        self._policies = policies
        self._trusting = known is None
        self._stamps: Mapping[str, int] = {}
        self._stated: Mapping[str, str] = {}
        self._open: frozenset[str] = frozenset(servers.servers)
        self._applied = ""
        self._closed = ""  # hash of what is on record as closing more; `_applied`: nothing is
        if known is not None:
            self._note(known)
            policy = known.get(confirmed.POLICY)
            self._applied = policy.hash if policy is not None else ""
            closing = known.get(confirmed.CLOSED)
            self._closed = closing.hash if closing is not None else self._applied

    def allows(self, server: str) -> bool:
        """Whether this server may be started or reached."""
        return server in self._open

    def waiting(self) -> tuple[Server, ...]:
        """The servers that wait to be confirmed, in the file's order."""
        return tuple(one for name, one in self._servers.servers.items() if not self.allows(name))

    def stated(self, server: str) -> str | None:
        """What was confirmed of this server last; None: nothing."""
        return self._stated.get(server)

    async def look(self) -> bool:
        """Take over what another process has confirmed. True: another policy is in force."""
        if self._trusting:
            return False
        stamps = await self._database.read(confirmed.stamps)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        known = await self._database.read(partial(confirmed.confirmed, keys=self._database.keys))
        self._note(known)
        policy = known.get(confirmed.POLICY)
        if policy is None or policy.hash == self._applied:
            return False
        return self.took(policy.text.encode())

    async def keep_closing(self) -> None:
        """Put on record what closes more than the confirmed rules, or that nothing does any more:
        a start goes by that, too, whatever the file says by then. It counts before it is on
        record, for it lets nothing through.

        Raises:
            RecordUnavailable: it could not be written; to be tried again.
        """
        old = self._policies.confirmed_text
        if self._trusting or old is None:
            return
        new = self._policies.closing or old
        base, wanted = confirmed.hash_of(old.decode()), confirmed.hash_of(new.decode())
        if wanted == self._closed or base != self._applied:
            return

        def write(tx: Transaction) -> bool:
            stamp = confirmed.stamps(tx.connection).get(confirmed.POLICY)
            if stamp != self._stamps.get(confirmed.POLICY):
                return False  # someone has confirmed meanwhile: `look` takes that over first
            close_policy(tx, old, new)
            return True

        if await self._database.journal.write(write):
            self._closed = wanted

    async def save(self, tell: Callable[[Transaction], object], new: bytes, by: By) -> None:
        """Put on record what `tell` says and, in the same transaction, the new text as confirmed.
        It is in force when the file says it too, and `took` is called.
        """
        old = self._policies.confirmed_text

        def write(tx: Transaction) -> None:
            tell(tx)
            if not self._trusting:
                confirm_policy(tx, old, new, by)

        await self._database.journal.write(write)

    def took(self, new: bytes) -> bool:
        """The confirmed text is in the file now. True: another policy is in force."""
        self._applied = self._closed = confirmed.hash_of(new.decode())
        try:
            return self._policies.confirm(new)
        except PolicyInvalid:
            log.exception("policy.confirmed_unusable")  # of a newer gateway: ours stays in force
            return False

    async def confirm_policy(self, revision: str, by: By) -> Outcome:
        """Confirm the file, if it is still the one that was shown."""
        policies = self._policies
        await policies.reload_aside()
        found = policies.unconfirmed
        if found is None:
            return "nothing"
        if confirmed.hash_of(found.decode()) != revision:
            return "changed"
        old = policies.confirmed_text
        await self._database.journal.write(partial(confirm_policy, old=old, new=found, by=by))
        self.took(found)
        return "confirmed"

    async def confirm_server(self, name: str, revision: str, by: By) -> Outcome:
        """Confirm a server's command or URL, if it is still the one that was shown."""
        server = self._servers.servers.get(name)
        if server is None or self.allows(name):
            return "nothing"
        if digest(server) != revision:
            return "changed"
        await self._database.journal.write(partial(confirm_server, server=server, by=by))
        self._open |= {name}
        return "confirmed"

    def _note(self, known: Mapping[str, confirmed.Confirmed]) -> None:
        if self._typed:
            return
        names = {name: confirmed.server_key(name) for name in self._servers.servers}
        self._stated = {name: known[key].text for name, key in names.items() if key in known}
        self._open = frozenset(
            name
            for name, server in self._servers.servers.items()
            if (one := known.get(confirmed.server_key(name))) is not None
            and one.hash == digest(server)
        )


def _policy_event(old: bytes | None, new: bytes, by: By) -> Event:
    before, after = _usable(old), load(new)
    words = tuple(map(str, diff.diff(before, after))) if before is not None else ()
    data: dict[str, Any] = {
        "policy": {"before": before.hash if before else "", "after": after.hash},
        "changes": list(words[:_CHANGES]),
    }
    more = f"; and {len(words) - 3} more" if len(words) > 3 else ""  # noqa: PLR2004 - of a line
    return Event(
        event=confirmed.POLICY_EVENT,
        actor_kind=by.kind,
        actor=by.id,
        verified=by.verified,
        via=by.via,
        policy_hash=after.hash,
        reason=("; ".join(words[:3]) + more)[:1000],
        data=canonical(data).decode(),
    )


def _usable(text: bytes | None) -> Policy | None:
    try:
        return None if text is None else load(text)
    except PolicyInvalid:
        return None
