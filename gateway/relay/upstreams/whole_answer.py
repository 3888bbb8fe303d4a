"""An answer that is there already, in the shape of `upstream.Answer`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

JSON = "application/json"


@dataclass(slots=True)
class WholeAnswer:
    """One JSON text, or nothing but a status."""

    status: int
    data: bytes = b""
    session: str = ""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    async def body(self) -> AsyncIterator[bytes]:
        if self.data:
            yield self.data

    async def aclose(self) -> None:
        """Nothing is open."""


def accepted() -> WholeAnswer:
    """A notification or a response was taken."""
    return WholeAnswer(202, content_type="")
