"""A token of this machine's own, for hosts that start `signoff connect` and know none.

Anyone who may read the record's key owns the record; such a person is given a grant here, once, and
its token is kept beside the key, readable by the owner alone.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from gateway.cli.record import Record
    from gateway.settings import Settings

FOLDER = "agents"
_SECONDS = 5.0
_UNAUTHORIZED = 401


def stored(configured: Settings, name: str) -> str | None:
    """The token kept under this name, if there is one. Opens no database: hosts start often."""
    try:
        return _path(configured, name).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def accepted(url: str, token: str) -> bool:
    """Whether the gateway takes this token; one that does not answer has not refused it."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path}/mcp", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status != _UNAUTHORIZED
    except (OSError, http.client.HTTPException):
        return True
    finally:
        connection.close()


async def local_token(
    record: Record, name: str, *, servers: frozenset[str], hold: int | None = None
) -> str:
    """The token of this name's grant, made where there is none that still works."""
    from gateway.enforcement import grants

    kept = stored(record.settings, name)
    if kept is not None:
        known = await grants.Grants(record.database, record.database.clock).find(kept)
        if known is not None and (known.servers, known.hold) == (servers, hold):
            return kept
    label = f"{name}@{socket.gethostname()}"
    _, token = await record.database.journal.write(
        lambda tx: grants.create(tx, label=label, servers=servers, hold=hold, by="signoff connect")
    )
    _keep(_path(record.settings, name), token)
    return token


def _path(configured: Settings, name: str) -> Path:
    return configured.data / FOLDER / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}.token"


def _keep(path: Path, token: str) -> None:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(token)
    temporary.replace(path)
