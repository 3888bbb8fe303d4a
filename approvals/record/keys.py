"""The one secret of an installation, and the keys derived from it for each purpose.

Not a vault: the key file lies beside the database, readable by its owner alone. Not pure.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LENGTH: Final = 32


class KeyUnusable(Exception):
    """The key file cannot be used: wrong length, others than its owner may read it, or it is not
    the one the record was made with.
    """


class Keys:
    """The derived keys. Never shown by repr, never written anywhere."""

    __slots__ = (
        "chain",
        "fingerprint",
        "folder",
        "history",
        "mark",
        "rows",
        "rows_id",
        "seal",
        "session",
        "state",
    )

    def __init__(self, material: bytes, *, folder: Path | None = None) -> None:
        """`folder` is where the key file lies, and what this installation must not forget beside
        it; None: it keeps nothing (tests).
        """
        if len(material) != LENGTH:
            raise KeyUnusable(f"A key is {LENGTH} bytes long; this one has {len(material)}.")
        self.seal = _derived(material, "seal")
        self.history = _derived(material, "history")
        self.chain = hmac.new(self.history, digestmod="sha256")  # copied for each row
        self.fingerprint = _derived(material, "fingerprint")
        self.session = _derived(material, "session")
        self.state = _derived(material, "state")
        self.rows = hmac.new(_derived(material, "rows"), digestmod="sha256")  # copied, as the chain
        self.rows_id = _derived(material, "rows id").hex()[:8]
        self.folder = folder
        self.mark = _derived(material, "mark").hex()
        """Tells keys apart and gives nothing of them away: kept in the record they belong to."""

    def __repr__(self) -> str:
        return "Keys(…)"

    @classmethod
    def open(cls, path: Path) -> Keys:
        """The keys of the file, which is made with fresh randomness if it does not exist.

        Raises:
            KeyUnusable: the file is readable by group or world, or has the wrong length.
            OSError: it cannot be read or made.
        """
        if not path.exists():
            _create(path)
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise KeyUnusable(f"{path} may be read by others. Run: chmod 600 {path}")
            return cls(file.read(), folder=path.parent)


def _derived(material: bytes, purpose: str) -> bytes:
    info = f"signoff/{purpose}/1".encode()
    return HKDF(algorithm=SHA256(), length=LENGTH, salt=None, info=info).derive(material)


def _create(path: Path) -> None:
    """Write a whole file aside, then link it into place: no one ever reads half a key."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
