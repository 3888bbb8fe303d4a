"""The tools of each server: their definitions, pinned by hash, and what changed since.

The first definition seen is pinned. A later one that differs quarantines the tool: it is not
called again until a reviewer has looked at the difference and accepted it (06, T-60 and T-61).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import loads
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, select, update

from approvals.digest import canonical, sha256
from approvals.model import Event, Millis
from approvals.store import Database, Transaction
from approvals.tables import ToolRow
from gateway import toolclass
from gateway.paramheaders import HeaderParam, header_params
from gateway.risk.assessment import Assessment
from gateway.risk.classify import classify
from gateway.risk.fellows import habitual
from gateway.toolclass import ToolClass

_PINNED = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
_TABLE = ToolRow.__table__  # type: ignore[attr-defined]

Definition = Mapping[str, Any]
"""One tool as the server lists it: decoded JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool as pinned, and as the server describes it now."""

    server: str
    name: str
    hash: str
    definition: Definition
    seen_hash: str
    seen: Definition
    first_seen: Millis
    changed_at: Millis | None
    accepted_by: str
    present: bool
    header_params: tuple[HeaderParam, ...]  # arguments repeated as Mcp-Param-* headers
    assessment: Assessment
    settled: ToolClass | None = None  # a person said what it is

    @property
    def quarantined(self) -> bool:
        """The server now describes the tool differently from what was accepted."""
        return self.hash != self.seen_hash

    @property
    def annotations(self) -> Mapping[str, Any]:
        claims = self.definition.get("annotations")
        return claims if isinstance(claims, dict) else {}


def definition_hash(definition: Definition) -> str:
    """SHA-256 of what a model or a person could be misled by; `_meta` and icons are not pinned."""
    return sha256(canonical({key: definition[key] for key in _PINNED if key in definition}))


class Catalogue:
    """Every tool ever listed, in memory for the hot path and in the record for good."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tools: Mapping[str, Mapping[str, Tool]] = MappingProxyType({})
        self._listed_at: dict[str, Millis] = {}
        self._classes: frozenset[ToolClass] = frozenset()

    async def load(self) -> None:
        """Read all pins, and the classes that were settled, from the record."""
        self._tools, self._classes = await self._database.read(_all_tools)

    async def load_classes(self) -> None:
        """Read everything again if a class was settled, or taken back, by another process."""
        if await self._database.read(toolclass.settled) != self._classes:
            await self.load()

    def tool(self, server: str, name: str) -> Tool | None:
        return self._tools.get(server, {}).get(name)

    def of(self, server: str) -> Mapping[str, Tool]:
        """Every tool the server ever listed, by name."""
        return self._tools.get(server, {})

    def tools(self) -> list[Tool]:
        """Every tool still offered, by server and name."""
        return [
            tool
            for _, tools in sorted(self._tools.items())
            for _, tool in sorted(tools.items())
            if tool.present
        ]

    def listed_at(self, server: str) -> Millis | None:
        """When the server was last seen to list all its tools; None: not since this start."""
        return self._listed_at.get(server)

    def outdated(self, server: str) -> None:
        """The server says that its tools changed: none is called before they are listed again."""
        self._listed_at.pop(server, None)

    async def observe(
        self, server: str, definitions: Iterable[Definition], *, complete: bool, now: Millis
    ) -> None:
        """Take note of a listing: pin what is new, quarantine what changed.

        `complete` means the listing held every tool, so those missing from it are gone.
        """
        seen = {
            definition["name"]: definition
            for definition in definitions
            if isinstance(definition.get("name"), str)
        }
        known = self._tools.get(server, {})
        hashes = {name: definition_hash(definition) for name, definition in seen.items()}
        changed = [
            name
            for name, digest in hashes.items()
            if (tool := known.get(name)) is None or tool.seen_hash != digest or not tool.present
        ]
        gone = [n for n, t in known.items() if complete and t.present and n not in seen]
        if changed or gone:
            entries = {name: (hashes[name], canonical(seen[name]).decode()) for name in changed}
            await self._database.journal.write(lambda tx: _note(tx, server, entries, gone))
            await self.load()
        if complete:
            self._listed_at[server] = now

    async def accept(self, server: str, name: str, *, seen_hash: str, by: str) -> bool:
        """A reviewer accepts the changed definition they were shown. False: it changed again."""
        accepted = await self._database.journal.write(
            lambda tx: accept(tx, server, name, seen_hash=seen_hash, by=by)
        )
        await self.load()
        return accepted

    async def accepted_elsewhere(self, server: str, name: str) -> bool:
        """Whether another process accepted this tool's change; reads the pins again."""
        await self.load()
        tool = self.tool(server, name)
        return tool is not None and not tool.quarantined


def accept(tx: Transaction, server: str, name: str, *, seen_hash: str, by: str) -> bool:
    """Pin the definition with hash `seen_hash`, if that is still what the server says."""
    moved = tx.connection.execute(
        update(_TABLE)
        .where(
            _TABLE.c.server == server,
            _TABLE.c.name == name,
            _TABLE.c.seen_hash == seen_hash,
            _TABLE.c.hash != seen_hash,
        )
        .values(hash=seen_hash, definition=_TABLE.c.seen_definition, accepted_by=by)
    ).rowcount
    if moved == 1:
        toolclass.drop(tx, server, name, seen_hash)
        tx.append(_event("tool_accepted", server, name, seen_hash, actor_kind="reviewer", actor=by))
    return moved == 1


def _note(
    tx: Transaction, server: str, entries: Mapping[str, tuple[str, str]], gone: list[str]
) -> None:
    where = _TABLE.c.server == server
    rows = tx.connection.execute(select(_TABLE).where(where)).mappings()
    known = {row["name"]: row for row in rows}
    for name, (digest, definition) in entries.items():
        row = known.get(name)
        if row is None:
            tx.connection.execute(
                _TABLE.insert().values(
                    server=server,
                    name=name,
                    hash=digest,
                    definition=definition,
                    seen_hash=digest,
                    seen_definition=definition,
                    first_seen=tx.now,
                    accepted_by="",
                    present=True,
                )
            )
            tx.append(_event("tool_pinned", server, name, digest))
            continue
        tx.connection.execute(
            update(_TABLE)
            .where(where, _TABLE.c.name == name)
            .values(
                seen_hash=digest,
                seen_definition=definition,
                present=True,
                changed_at=tx.now if digest != row["hash"] else row["changed_at"],
            )
        )
        if digest not in (row["hash"], row["seen_hash"]):
            tx.append(_event("tool_changed", server, name, digest))
    if gone:
        tx.connection.execute(
            update(_TABLE).where(where, _TABLE.c.name.in_(gone)).values(present=False)
        )


def _event(
    event: str, server: str, name: str, digest: str, *, actor_kind: str = "gateway", actor: str = ""
) -> Event:
    return Event(
        event=event,
        actor_kind=actor_kind,
        actor=actor,
        server=server,
        tool=name,
        presented_digest=digest,
    )


def _all_tools(
    connection: Connection,
) -> tuple[Mapping[str, Mapping[str, Tool]], frozenset[ToolClass]]:
    classes = toolclass.settled(connection)
    said = toolclass.by_tool(classes)
    by_server: dict[str, dict[str, Mapping[Any, Any]]] = {}
    for row in connection.execute(select(_TABLE)).mappings():
        by_server.setdefault(row["server"], {})[row["name"]] = row
    tools = {server: _tools_of(rows, said) for server, rows in by_server.items()}
    return MappingProxyType(tools), classes


def _tools_of(
    rows: Mapping[str, Mapping[Any, Any]], said: Mapping[tuple[str, str], ToolClass]
) -> dict[str, Tool]:
    """One server's tools: assessed together, with what people settled for them as pinned."""
    definitions = {name: loads(row["definition"]) for name, row in rows.items()}
    settled = {
        name: one
        for name, row in rows.items()
        if (one := said.get((row["server"], name))) is not None
        and one.definition_hash == row["hash"]
    }
    habit = habitual(definitions.values())
    tools: dict[str, Tool] = {}
    for name, row in rows.items():
        definition, class_ = definitions[name], settled.get(name)
        tools[name] = Tool(
            server=row["server"],
            name=row["name"],
            hash=row["hash"],
            definition=MappingProxyType(definition),
            seen_hash=row["seen_hash"],
            seen=MappingProxyType(loads(row["seen_definition"])),
            first_seen=row["first_seen"],
            changed_at=row["changed_at"],
            accepted_by=row["accepted_by"],
            present=bool(row["present"]),
            header_params=header_params(definition.get("inputSchema")),
            assessment=classify(
                definition, habit=habit, settled=class_.category if class_ else None
            ),
            settled=class_,
        )
    return tools
