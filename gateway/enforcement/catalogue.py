"""What servers say of their tools, prompts, templates and themselves: pinned, and shown as pinned.

The first definition seen is pinned. A later one that differs quarantines the tool: it is not
called again until a person has looked at the difference and settled it (T-60 and T-61), and
whatever the server says meanwhile, agents see what is pinned. `approvals.pins` holds the rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from json import loads
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import Connection, RowMapping

from approvals import pins
from approvals.digest import canonical
from approvals.fingerprint import fingerprint
from approvals.model import Millis
from approvals.pins import Kind, Subject
from approvals.record.database import Database, Transaction
from gateway.enforcement import input_schema, tool_class
from gateway.enforcement.tool_class import ToolClass
from gateway.policy.facts import ToolFacts
from gateway.protocol.param_headers import HeaderParam, header_params
from gateway.risk.assessment import Assessment
from gateway.risk.classify import classify
from gateway.risk.fellows import habitual

MOST_NAMES: Final = 1_000
"""Tools, or prompts, or templates of one server, those included that it no longer lists."""

_LONGEST_NAME: Final = 500  # characters; a database's index holds no more than some kilobytes
_BATCH_NAMES: Final = 50
_BATCH_BYTES: Final = 256 * 1024
_STATE: Final = (
    "hash",
    "call_hash",
    "seen_hash",
    "volatile",
    "changed_at",
    "back_at",
    "accepted_by",
    "present",
    "carried",
)

Definition = Mapping[str, Any]
"""One item as its server lists it: decoded JSON."""


class TooManyNames(Exception):
    """The server lists more names than are pinned for one; the listing counts for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """What one server said of one thing: as pinned, and as it last said otherwise."""

    server: str
    kind: Kind
    name: str
    hash: str
    definition: Definition
    seen_hash: str
    seen: Definition
    volatile: tuple[str, ...]  # keys an administrator lets change freely
    changed_at: Millis | None
    back_at: Millis | None  # since then it says what is pinned again, for what that is worth
    accepted_by: str
    present: bool
    carried: bool  # pinned when not every key was; see `approvals.pins`
    state: tuple[Any, ...]  # of its row: while equal, nothing of it moved

    @property
    def quarantined(self) -> bool:
        """The server described it differently from what is pinned, and no person settled that."""
        return self.hash != self.seen_hash

    @property
    def subject(self) -> Subject:
        return (self.kind, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Pin):
    """One tool, with what follows from its pinned definition."""

    call_hash: str  # names the pin in the identity of calls; see `approvals.digest.digest_of`
    header_params: tuple[HeaderParam, ...]  # arguments repeated as Mcp-Param-* headers
    closed: bool  # its input schema may refuse the name of an argument
    assessment: Assessment
    settled: ToolClass | None = None  # a person said what it is

    @property
    def annotations(self) -> Mapping[str, Any]:
        claims = self.definition.get("annotations")
        return claims if isinstance(claims, dict) else {}

    def facts(self, trusted: frozenset[str]) -> ToolFacts:
        """What rules can look at. `trusted`: servers whose annotations may loosen rules."""
        return ToolFacts(
            name=self.name,
            annotations=self.annotations,
            risk=self.assessment.risk,
            trust_annotations=self.server in trusted,
            quarantined=self.quarantined,
        )


class Catalogue:
    """Every pin, in memory for the hot path and in the record for good."""

    def __init__(self, database: Database, *, most_names: int = MOST_NAMES) -> None:
        self._database = database
        self._most_names = most_names
        self._order = asyncio.Lock()  # what was read or written first is taken first
        self._tools: dict[str, dict[str, Tool]] = {}
        self._others: dict[tuple[str, Kind], dict[str, Pin]] = {}
        self._habits: dict[str, bool] = {}  # see `gateway.risk.fellows.habitual`
        self._classes: frozenset[ToolClass] = frozenset()
        self._listed: dict[str, int] = {}  # the announced changes a complete listing came after
        self.overfull: dict[str, str] = {}
        """Servers whose last listing was not taken up, and why."""
        self._changes: dict[str, int] = {}  # how often a server said that its tools changed

    async def load(self, server: str | None = None) -> None:
        """Read what moved in the record since: another process may have listed or accepted."""
        async with self._order:
            moved, classes = await self._database.read(
                lambda connection: (self._moved(connection, server), tool_class.settled(connection))
            )
            await self._take(moved, classes)

    async def load_classes(self) -> None:
        """Read what moved if a class was settled, or taken back, by another process."""
        if await self._database.read(tool_class.settled) != self._classes:
            await self.load()

    def tool(self, server: str, name: str) -> Tool | None:
        return self._tools.get(server, {}).get(name)

    def of(self, server: str) -> Mapping[str, Tool]:
        """Every tool the server ever listed, by name."""
        return MappingProxyType(self._tools.get(server, {}))

    def pin(self, server: str, kind: Kind, name: str) -> Pin | None:
        return self._known(server, kind).get(name)

    def tools(self) -> list[Tool]:
        """Every tool still offered, by server and name."""
        return [
            tool
            for _, tools in sorted(self._tools.items())
            for _, tool in sorted(tools.items())
            if tool.present
        ]

    def quarantined(self, server: str | None = None) -> list[Pin]:
        """What differs from its pin, by server, kind and name."""
        everything: list[Mapping[str, Pin]] = [*self._tools.values(), *self._others.values()]
        changed = (
            pin
            for found in everything
            for pin in found.values()
            if pin.quarantined and server in (None, pin.server)
        )
        return sorted(changed, key=lambda one: (one.server, pins.KINDS.index(one.kind), one.name))

    def listed(self, server: str) -> bool:
        """Whether the server was seen to list all its tools since this start."""
        return server in self._listed

    def fresh(self, server: str, changes: int) -> bool:
        """Whether a whole listing was made that began after so many announced changes."""
        return self._listed.get(server, -1) >= changes

    def changes(self, server: str) -> int:
        """How often the server said that its tools changed."""
        return self._changes.get(server, 0)

    def outdated(self, server: str) -> None:
        """The server says that its tools changed: none is called before they are listed again."""
        self._changes[server] = self.changes(server) + 1

    async def observe(
        self,
        server: str,
        definitions: Iterable[Definition],
        *,
        kind: Kind = "tool",
        complete: bool,
        changes: int | None = None,
    ) -> None:
        """Take note of a listing: pin what is new, quarantine what changed.

        `complete` means the listing held everything, so what is missing from it is gone; it began
        after so many announced `changes` (None: all of them).

        Raises:
            TooManyNames: the listing is not taken up, nor any part of it.
        """
        said = {name: one for one in definitions if (name := named(kind, one)) is not None}
        known = self._known(server, kind)
        if len(said.keys() | known.keys()) > self._most_names:
            self.overfull[server] = f"It lists more than {self._most_names} names ({kind})."
            raise TooManyNames(f"more than {self._most_names} names")
        self.overfull.pop(server, None)
        gone = [n for n, pin in known.items() if complete and pin.present and n not in said]
        now = self._database.clock.now()
        for batch in await asyncio.to_thread(_batches, dict(known), said, now):
            await self._note(server, kind, batch)
        if gone:
            await self._note(server, kind, {}, gone)
        if complete and kind == "tool":
            began = self.changes(server) if changes is None else changes
            self._listed[server] = max(self._listed.get(server, 0), began)

    async def accept(self, server: str, seen: Mapping[Subject, str], *, by: str) -> bool:
        """A person accepts the changed definitions they were shown. False: one changed again, and
        none is accepted.
        """
        accepted = await self._database.journal.write(lambda tx: accept(tx, server, seen, by=by))
        await self.load(server)
        return accepted

    async def keep(self, server: str, seen: Mapping[Subject, str], *, by: str) -> bool:
        """A person stays with what is pinned. False: as `accept`."""
        kept = await self._database.journal.write(lambda tx: pins.keep(tx, server, seen, by=by))
        await self.load(server)
        return kept

    async def settled_elsewhere(self, server: str, name: str) -> bool:
        """Whether another process settled this tool's change; reads its pin again."""
        await self._read(server, [("tool", name)])
        tool = self.tool(server, name)
        return tool is not None and not tool.quarantined

    def _known(self, server: str, kind: Kind) -> Mapping[str, Pin]:
        if kind == "tool":
            return self._tools.get(server, {})
        return self._others.get((server, kind), {})

    async def _note(
        self, server: str, kind: Kind, said: Mapping[str, Definition], gone: Sequence[str] = ()
    ) -> None:
        async with self._order:
            rows = await self._database.journal.write(
                lambda tx: pins.note(tx, server, kind, said, gone=gone)
            )
            await self._take(rows)
        if gone:
            await self._read(server, [(kind, name) for name in gone])

    async def _read(self, server: str, subjects: Sequence[Subject]) -> None:
        async with self._order:
            await self._take(
                await self._database.read(lambda con: pins.rows_of(con, server, subjects))
            )

    def _moved(self, connection: Connection, server: str | None) -> list[RowMapping]:
        moved: dict[str, list[Subject]] = {}
        for row in pins.states(connection, server):
            known = self._known(row["server"], row["kind"]).get(row["name"])
            if known is None or known.state != _state(row):
                moved.setdefault(row["server"], []).append((row["kind"], row["name"]))
        return [row for name, some in moved.items() for row in pins.rows_of(connection, name, some)]

    async def _take(
        self, rows: Sequence[RowMapping], classes: frozenset[ToolClass] | None = None
    ) -> None:
        """Put rows, and what people said of tools, into memory. Decoding and classifying is left
        to a thread: it is foreign text, and there may be much of it.
        """
        said = self._classes if classes is None else classes
        servers = {one.server for one in said ^ self._classes}
        servers |= {row["server"] for row in rows if row["kind"] == "tool"}
        known = {server: dict(self._tools.get(server, {})) for server in servers}

        def made() -> tuple[dict[str, _Assessed], list[Pin]]:
            settled = tool_class.by_tool(said)
            tools = {
                server: _assessed(
                    [row for row in rows if row["kind"] == "tool" and row["server"] == server],
                    known[server],
                    {name: one for (of, name), one in settled.items() if of == server},
                    habit_known=self._habits.get(server, False),
                )
                for server in servers
            }
            return tools, [Pin(**_pinned(row)) for row in rows if row["kind"] != "tool"]

        tools, others = await asyncio.to_thread(made)
        for server, found in tools.items():
            self._tools.setdefault(server, {}).update(found.tools)
            self._habits[server] = found.habit
        for pin in others:
            self._others.setdefault((pin.server, pin.kind), {})[pin.name] = pin
        self._classes = said


def accept(tx: Transaction, server: str, seen: Mapping[Subject, str], *, by: str) -> bool:
    """See `approvals.pins.accept`; what was said of a tool's earlier definition is said no more."""
    if not pins.accept(tx, server, seen, by=by):
        return False
    for (kind, name), digest in seen.items():
        if kind == "tool":
            tool_class.drop(tx, server, name, digest)
    return True


def pins_digest(found: Sequence[Pin]) -> str:
    """What names these changes: of one the new definition's hash, of several one for all."""
    if len(found) == 1:
        return found[0].seen_hash
    return pins.seen_digest({pin.subject: pin.seen_hash for pin in found})


def named(kind: Kind, definition: Definition) -> str | None:
    """The name under which a definition is pinned; None: it has none that a record can keep, so
    agents do not see it.
    """
    if kind == "instructions":
        return ""
    name = definition.get("uriTemplate" if kind == "template" else "name")
    usable = isinstance(name, str) and len(name) <= _LONGEST_NAME and "\x00" not in name
    return name if usable else None


def _news(pin: Pin | None, definition: Definition, now: Millis) -> bool:
    """Whether the record has to hear of it."""
    if pin is None or not pin.present or pin.carried:
        return True
    digest = fingerprint(definition, pin.volatile)
    if digest == pin.hash:
        return pin.quarantined and pin.back_at is None
    if digest != pin.seen_hash and not (
        pin.quarantined and not pins.told_again(pin.changed_at, now)
    ):
        return True
    return pin.quarantined and pin.back_at is not None


def _batches(
    known: Mapping[str, Pin], said: Mapping[str, Definition], now: Millis
) -> list[dict[str, Definition]]:
    """What the record has to hear of, in parts so small that other writes get their turn."""
    batches: list[dict[str, Definition]] = []
    room = 0
    for name, definition in said.items():
        if not _news(known.get(name), definition, now):
            continue
        size = len(canonical(definition))
        if not batches or room < size or len(batches[-1]) >= _BATCH_NAMES:
            batches.append({})
            room = _BATCH_BYTES
        batches[-1][name] = definition
        room -= size
    return batches


def _state(row: RowMapping) -> tuple[Any, ...]:
    return tuple(row[column] for column in _STATE)


def _pinned(row: RowMapping) -> dict[str, Any]:
    definition = MappingProxyType(loads(row["definition"]))
    same = row["seen_definition"] == row["definition"]
    return {
        "server": row["server"],
        "kind": row["kind"],
        "name": row["name"],
        "hash": row["hash"],
        "definition": definition,
        "seen_hash": row["seen_hash"],
        "seen": definition if same else MappingProxyType(loads(row["seen_definition"])),
        "volatile": tuple(loads(row["volatile"])),
        "carried": bool(row["carried"]),
        "changed_at": row["changed_at"],
        "back_at": row["back_at"],
        "accepted_by": row["accepted_by"],
        "present": bool(row["present"]),
        "state": _state(row),
    }


@dataclass(frozen=True, slots=True)
class _Assessed:
    """The tools of a server that are others now, and what it does by habit."""

    tools: dict[str, Tool]
    habit: bool


def _assessed(
    rows: Sequence[RowMapping],
    known: Mapping[str, Tool],
    settled: Mapping[str, ToolClass],
    *,
    habit_known: bool,
) -> _Assessed:
    """One server's tools, assessed together; only what these rows, a class or the habit change."""
    pinned = {row["name"]: {**_pinned(row), "call_hash": row["call_hash"]} for row in rows}
    definitions = {name: tool.definition for name, tool in known.items()}
    definitions |= {name: fields["definition"] for name, fields in pinned.items()}
    habit = habitual(definitions.values())
    tools: dict[str, Tool] = {}
    for name, definition in definitions.items():
        before, fields = known.get(name), pinned.get(name)
        call_hash = fields["call_hash"] if fields is not None else known[name].call_hash
        class_ = settled.get(name)
        if class_ is not None and class_.definition_hash != call_hash:
            class_ = None  # it was said of another definition
        same = before is not None and (
            fields is None or (fields["hash"], fields["volatile"]) == (before.hash, before.volatile)
        )
        if before is not None and same and habit == habit_known and before.settled == class_:
            if fields is not None:
                tools[name] = replace(before, **fields)
            continue
        plain = dict(definition)
        assessment = classify(
            plain, habit=habit, settled=class_.category if class_ is not None else None
        )
        if fields is None:
            tools[name] = replace(known[name], assessment=assessment, settled=class_)
        else:
            tools[name] = Tool(
                **fields,
                header_params=header_params(plain.get("inputSchema")),
                closed=input_schema.may_refuse_names(plain.get("inputSchema")),
                assessment=assessment,
                settled=class_,
            )
    return _Assessed(tools, habit)
