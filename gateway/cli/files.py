"""Files of people: read with a plain refusal, written whole, never overwritten unasked."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.cli.exits import Exit, Stop

_MOST = 64 * 1024 * 1024


def read(path: Path) -> bytes:
    """The file's content.

    Raises:
        Stop: it cannot be read, or is larger than any file of ours.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except OSError as error:
        raise Stop(Exit.INVALID, f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MOST:
        raise Stop(Exit.INVALID, f"{path} is larger than {_MOST} bytes.")
    return content


def write(path: Path, text: str, *, force: bool, private: bool = False) -> Path | None:
    """Write the file whole or not at all. An older one is kept beside it; its new name is returned.

    Args:
        path: where.
        text: what.
        force: overwrite what is there.
        private: readable by its owner alone, for it may hold secrets.

    Raises:
        Stop: something is there and `force` is not given, or it cannot be written.
    """
    if path.exists() and not force:
        raise Stop(Exit.USAGE, f"{path} exists already; --force writes it again, the old one kept.")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    kept = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644
        )
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            kept = _free(path)
            path.rename(kept)
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Stop(Exit.INVALID, f"{path} cannot be written: {error.strerror}") from error
    return kept


def _free(path: Path) -> Path:
    """A name beside it that nothing has: policy.json.bak, policy.json.bak2, …"""
    number = 1
    while True:
        name = path.with_name(f"{path.name}.bak{'' if number == 1 else number}")
        if not name.exists():
            return name
        number += 1
