"""What an administrator last confirmed: the text of policy.json, each server's command or URL, and
whether the command line decides. And what has closed more than the confirmed rules since.

These files lie where agents may write. What they say counts once a person with the right to say so
has confirmed it; until then what was confirmed before stays. Each text is a row of `setting`,
sealed, for servers.json may hold secrets, and signed. The history tells of it by its hash: a text
counts only if its hash is that of the newest row of the history that tells of the same thing, so an
older text put back into the table is none. Not pure.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Table, select, text
from sqlmodel import SQLModel

from approvals.digest import canonical, sha256
from approvals.model import Event, Millis
from approvals.record import signed
from approvals.record.history import HISTORY, authentic
from approvals.record.keys import Keys
from approvals.record.tables import RARE, SettingRow
from approvals.record.transaction import Transaction
from approvals.seal import SealBroken, seal, unseal

_SETTING: Final[Table] = SQLModel.metadata.tables[str(SettingRow.__tablename__)]
_PREFIX: Final = "confirmed:"

POLICY: Final = f"{_PREFIX}policy"
"""The key of policy.json's text."""

CLOSED: Final = f"{_PREFIX}closing"
"""The key of a text that no one confirmed and that counts all the same: it only closes. It is told
of after the rules it closes: the next confirmation ends it.
"""

_KIND: Final = "confirmed"
_SERVER: Final = f"{_PREFIX}server:"

COMMANDS: Final = f"{_PREFIX}cli_decides"
"""The key of "true" or "false": whether commands may decide, as the gateway was started with."""

POLICY_EVENT: Final = "policy_confirmed"
CLOSED_EVENT: Final = "policy_closed"
SERVER_EVENT: Final = "server_confirmed"
COMMANDS_EVENT: Final = "cli_decides_set"


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A text as it was confirmed, and the SHA-256 of its bytes."""

    text: str
    hash: str
    at: Millis


def server_key(name: str) -> str:
    """The key of what starts or reaches a server."""
    return f"{_SERVER}{name}"


def hash_of(text: str) -> str:
    """What names a text: the SHA-256 of its UTF-8 bytes."""
    return sha256(text.encode("utf-8", "surrogatepass"))


def confirm(tx: Transaction, key: str, text: str, *, event: Event) -> None:
    """Let this text be the confirmed one. The event tells it, and is given the text's hash."""
    content = text.encode("utf-8", "surrogatepass")
    sealed = seal(tx.keys.seal, content, approval_id=key, kind=_KIND)
    data = json.loads(event.data or "{}") | {"confirmed": key, "hash": hash_of(text)}
    signed.put(
        tx,
        _SETTING,
        {"key": key, "value": base64.b64encode(sealed).decode(), "at": tx.now},
        event=event._replace(data=canonical(data).decode()),
    )


def confirmed(connection: Connection, keys: Keys) -> Mapping[str, Confirmed]:
    """Every text that counts, by its key."""
    newest, found = told(connection, keys), {}
    for row in signed.rows(connection, _SETTING, _SETTING.c.key.startswith(_PREFIX)):
        key = row["key"]
        try:
            sealed = base64.b64decode(row["value"])
            content = unseal(keys.seal, sealed, approval_id=key, kind=_KIND)
        except (SealBroken, ValueError):
            continue
        text = content.decode("utf-8", "surrogatepass")
        if newest.get(key) == hash_of(text):
            found[key] = Confirmed(text, hash_of(text), row["at"])
    return found


def stamps(connection: Connection) -> Mapping[str, int]:
    """How often each was confirmed, as the rows say. Cheap: asked every second."""
    query = select(_SETTING.c.key, _SETTING.c.row_version).where(_SETTING.c.key.startswith(_PREFIX))
    return {row.key: row.row_version for row in connection.execute(query)}


def told(connection: Connection, keys: Keys) -> Mapping[str, str]:
    """The hash that the history last told of each key; nothing was ever confirmed: {}. Of CLOSED
    only what was told since the newest confirmation of the rules.
    """
    rows = connection.execute(
        select(HISTORY)
        .where(HISTORY.c.event.in_((POLICY_EVENT, CLOSED_EVENT, SERVER_EVENT, COMMANDS_EVENT)))
        .where(text(RARE))
        .order_by(HISTORY.c.seq)
    )
    ours = (row for row in rows if row.data and authentic(tuple(row), keys))
    found: dict[str, str] = {}
    for row in ours:
        data = json.loads(row.data)
        if "confirmed" not in data:
            continue
        if data["confirmed"] == POLICY:
            found.pop(CLOSED, None)
        found[data["confirmed"]] = data["hash"]
    return found
