"""Where the gateway of this folder is reached: a file beside the record, while it runs.

A port given on the command line is known to that process alone; other commands of the same
machine, which print links or connect programs, learn it here. Not pure.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

from gateway.settings import LOOPBACK, Settings

log = structlog.get_logger()

_NAME: Final = "gateway.url"
_LONGEST: Final = 2_048  # bytes of an URL
_KEY: Final = "signoff.key"


def address(settings: Settings) -> str:
    """The URL of the gateway that runs on these settings' folder, or else what they say it is."""
    if settings.public_url:
        return settings.url()
    with suppress(OSError, ValueError), _path(settings).open("rb") as file:
        told = file.read(_LONGEST).decode("ascii").strip()
        if _is_ours(settings.data / _KEY) and _is_here(told):
            return told
    return settings.url()


def page_address(settings: Settings) -> str:
    """Where people open the page of the gateway that runs on these settings' folder, or else where
    the settings say it is.
    """
    if settings.page_url or settings.public_url:
        return settings.page()
    port = urlsplit(address(settings)).port or settings.port
    return settings.model_copy(update={"port": port}).page()


def _is_ours(key: Path) -> bool:
    """Whether a record of this user's own lies there: a folder that came from elsewhere may hold an
    address, and anyone who wrote it would be sent our tokens.
    """
    there = key.stat()
    shared = there.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return there.st_uid == os.geteuid() and not shared


def _is_here(url: str) -> bool:
    """Whether the address is of this machine. A gateway that others reach says so in the settings:
    then no one asks here.
    """
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Tell the address for the length of the block. A folder that cannot be written is no reason
    not to run: commands then go by the settings.
    """
    path, url = _path(settings), settings.url()
    try:
        _write(path, url)
    except OSError as error:
        log.warning("address.not_written", path=str(path), error=error.strerror)
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text(encoding="ascii") == url:  # no other gateway has taken over
                path.unlink()


def _path(settings: Settings) -> Path:
    return settings.data / _NAME


def _write(path: Path, url: str) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(url)
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise
