"""What this installation has seen of a record: kept beside the key, out of the database's reach.

That the record's rows were signed, so that one set back to an older schema is not signed again; and
how far its history went, so that one set back to an earlier day is noticed, and one whose newest
rows about people, agents or tools were cut out. Not pure.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL

from approvals.record.history import Head
from approvals.record.transaction import FIRST_HASH

_NOTHING: Final = Head(0, FIRST_HASH)


@dataclass(frozen=True, slots=True)
class Seen:
    """As of the last look: whether the record's rows were signed, the head of its history, and the
    newest of its rows about signed rows; None where the file is of a release that kept none.
    """

    signed: bool = False
    head: Head = _NOTHING
    told: Head | None = None


class SeenUnreadable(Exception):
    """The file is there and is not what was written: put it back, or say `history accept`."""


class Memory:
    """The file. Without a folder it remembers nothing."""

    def __init__(self, folder: Path | None, url: URL) -> None:
        self.path = None if folder is None else folder / f"signoff.{_name(folder, url)}.seen"

    def read(self) -> Seen:
        """What was seen last.

        Raises:
            SeenUnreadable: the file is damaged.
        """
        if self.path is None:
            return Seen()
        try:
            told: dict[str, Any] = json.loads(self.path.read_bytes())
            newest = told.get("told")
            return Seen(
                signed=bool(told["signed"]),
                head=_head(told["head"]),
                told=None if newest is None else _head(newest),
            )
        except FileNotFoundError:
            return Seen()
        except (ValueError, KeyError, TypeError) as error:
            raise SeenUnreadable(f"{self.path} is damaged.") from error

    def write(self, seen: Seen) -> None:
        """Keep it: a whole file, or the one before.

        Raises:
            OSError: it cannot be written.
        """
        if self.path is None:
            return
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        told: dict[str, Any] = {"signed": seen.signed, "head": [seen.head.seq, seen.head.hash]}
        if seen.told is not None:
            told["told"] = [seen.told.seq, seen.told.hash]
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps(told).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise


def _head(told: Any) -> Head:
    seq, mac = told
    return Head(int(seq), str(mac))


def _name(folder: Path, url: URL) -> str:
    """Tells the records of one key apart. A folder that moves with its database keeps the name."""
    if url.drivername == "sqlite":
        path = Path(str(url.database)).absolute()
        own = folder.absolute()
        told = str(path.relative_to(own) if path.is_relative_to(own) else path)
    else:
        told = url.set(username=None, password=None).render_as_string(hide_password=False)
    return hashlib.sha256(told.encode()).hexdigest()[:12]
