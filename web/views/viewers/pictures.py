"""Which pictures are drawn: PNG, JPEG, GIF and WebP, small in bytes and in points. Pure.

Only the head is read here, to know the size before a browser makes room for it: few bytes can ask
for a picture of gigabytes. SVG is a program and never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 200 * 1024
MOST_POINTS: Final = 16_000_000
_MOST_SIDE: Final = 10_000
_MOST_PARTS: Final = 200  # of a file that are passed over on the way to its size


@dataclass(frozen=True, slots=True)
class Picture:
    media: str
    width: int
    height: int

    @property
    def drawn(self) -> bool:
        sides = (self.width, self.height)
        return (
            min(sides) > 0 and max(sides) <= _MOST_SIDE and self.width * self.height <= MOST_POINTS
        )


def picture_of(content: bytes) -> Picture | None:
    """What the head says it is; None if it is no picture of these kinds, or the head is broken."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(content)
        if content.startswith(b"\xff\xd8\xff"):
            return _jpeg(content)
        if content[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp(content)
    except IndexError:
        return None
    return None


def _big(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise IndexError
    return int.from_bytes(content[at : at + size], "big")


def _little(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise IndexError
    return int.from_bytes(content[at : at + size], "little")


def _png(content: bytes) -> Picture | None:
    if content[12:16] != b"IHDR":
        return None
    return Picture("image/png", _big(content, 16, 4), _big(content, 20, 4))


def _jpeg(content: bytes) -> Picture | None:
    at = 2
    for _ in range(_MOST_PARTS):
        if content[at] != 0xFF:  # noqa: PLR2004 - each part of a JPEG begins with it
            return None
        mark = content[at + 1]
        if mark in (0xC0, 0xC1, 0xC2):
            return Picture("image/jpeg", _big(content, at + 7, 2), _big(content, at + 5, 2))
        if mark in (0xD8, 0xD9, 0xDA):
            return None
        at += 2 + _big(content, at + 2, 2)
    return None


def _gif(content: bytes) -> Picture | None:
    """As large as its screen or its first frame: browsers take the larger."""
    width, height, packed = _little(content, 6, 2), _little(content, 8, 2), content[10]
    at = 13 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
    for _ in range(_MOST_PARTS):
        if content[at] == 0x2C:  # noqa: PLR2004 - a frame
            wide = _little(content, at + 1, 2) + _little(content, at + 5, 2)
            high = _little(content, at + 3, 2) + _little(content, at + 7, 2)
            return Picture("image/gif", max(width, wide), max(height, high))
        if content[at] != 0x21:  # noqa: PLR2004 - an extension
            return None
        at += 2
        while content[at]:
            at += 1 + content[at]
        at += 1
    return None


def _webp(content: bytes) -> Picture | None:
    kind = content[12:16]
    if kind == b"VP8X":
        return Picture("image/webp", _little(content, 24, 3) + 1, _little(content, 27, 3) + 1)
    if kind == b"VP8L":
        bits = _little(content, 21, 4)
        return Picture("image/webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        return Picture(
            "image/webp", _little(content, 26, 2) & 0x3FFF, _little(content, 28, 2) & 0x3FFF
        )
    return None
