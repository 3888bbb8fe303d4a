"""Bytes that are sent as text: base64, alone or in a data URL. Pure.

Told are what the bytes begin like, their size and digest. The text that is sent stays beside it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from approvals.redact import plain
from web.views.viewers.pictures import MOST_BYTES, Picture, picture_of

_DATA: Final = re.compile(
    r"data:([a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,60})?(?:;[a-z0-9-]{1,40}=[\w.+-]{1,60}){0,3};base64,",
    flags=re.IGNORECASE | re.ASCII,
)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_URLSAFE: Final = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_SHORT: Final = 40  # characters below which no text is taken for bytes
_UNKNOWN: Final = 120  # and below which it is not, unless its bytes begin like a known kind
_LETTERS: Final = 20  # different letters, at least: no row of one letter is taken for bytes
_FIRST: Final = 16
_READ: Final = 100_000  # bytes of text that is shown decoded

_BEGINS: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG picture"), (b"\xff\xd8\xff", "JPEG picture"),
    (b"GIF8", "GIF picture"), (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive, or a document in one"), (b"PK\x05\x06", "empty ZIP archive"),
    (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf'\x1c", "7z archive"),
    (b"\x28\xb5\x2f\xfd", "zstd"), (b"\x7fELF", "ELF program"), (b"\x00asm", "WebAssembly program"),
    (b"\xca\xfe\xba\xbe", "Java class or Mach-O program"), (b"\xcf\xfa\xed\xfe", "Mach-O program"),
    (b"SQLite format 3\x00", "SQLite database"), (b"OggS", "Ogg sound"), (b"ID3", "MP3 sound"),
    (b"fLaC", "FLAC sound"), (b"II*\x00", "TIFF picture"), (b"MM\x00*", "TIFF picture"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office document"), (b"{\\rtf", "RTF document"),
    (b"\x00\x00\x01\x00", "icon"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    kind: str
    claimed: str  # what the data URL calls it, or ""
    size: int
    sha256: str
    first: str  # in hexadecimal
    picture: Picture | None = None
    source: str = ""  # of the picture that is drawn: a data URL of these very bytes
    why: str = ""  # why it is not drawn or read
    reads: str = ""  # the text that the bytes are, if they are one


def blob_of(text: str) -> Blob | None:
    """The bytes that the text stands for; None if it does not look like any."""
    if len(text) < _SHORT:
        return None
    head = _DATA.match(text)
    if head is None:
        return _bare(text)
    content = _decoded(text[head.end() :])
    return None if content is None else _told(content, (head[1] or "").lower())


def _bare(text: str) -> Blob | None:
    joined = text.replace("\r\n", "").replace("\n", "")
    if len(joined) < _SHORT or _HEX.fullmatch(joined) or len(set(joined[:4000])) < _LETTERS:
        return None
    content = _decoded(joined)
    if content is None:
        return None
    told = _told(content, "")
    return told if len(joined) >= _UNKNOWN or told.kind not in (_BYTES, _TEXT) else None


def _decoded(text: str) -> bytes | None:
    whole = text.replace("\r\n", "").replace("\n", "")
    if _BASE64.fullmatch(whole) is None:
        if _URLSAFE.fullmatch(whole) is None:
            return None
        whole = whole.replace("-", "+").replace("_", "/")
    bare = whole.rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


_BYTES: Final = "bytes of no kind we know"
_TEXT: Final = "text"


def _told(content: bytes, claimed: str) -> Blob:
    picture = picture_of(content)
    reads = "" if picture else _text(content)
    kind = "WebP picture" if picture and picture.media == "image/webp" else _kind(content, reads)
    source, why = "", ""
    if picture is not None:
        if len(content) > MOST_BYTES:
            why = "Not drawn: larger than 200 kB."
        elif not picture.drawn:
            why = "Not drawn: it has too many points, or none."
        else:
            source = f"data:{picture.media};base64,{base64.b64encode(content).decode()}"
    elif reads and not plain(reads):
        reads, why = "", "Not read out: something in it looks like a secret."
    elif len(reads) > _READ:
        reads, why = "", "Not read out: longer than 100,000 characters."
    return Blob(
        kind=kind,
        claimed=claimed,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        first=content[:_FIRST].hex(" "),
        picture=picture,
        source=source,
        why=why,
        reads=reads,
    )


def _kind(content: bytes, reads: str) -> str:
    for begin, name in _BEGINS:
        if content.startswith(begin):
            return name
    if reads:
        return "SVG, not drawn" if "<svg" in reads[:2000].lower() else _TEXT
    return "Windows program" if content.startswith(b"MZ") else _BYTES


def _text(content: bytes) -> str:
    """The text that the bytes are: of UTF-8, or of UTF-16 as Windows' shells take it."""
    for coding in ("utf-8", "utf-16-le"):
        try:
            text = content.decode(coding)
        except UnicodeDecodeError:
            continue
        if coding == "utf-16-le" and (len(content) < _FIRST or content[1:64:2].strip(b"\x00")):
            continue
        if all(one.isprintable() or one in "\n\r\t" for one in text[:2000]):
            return text
    return ""
