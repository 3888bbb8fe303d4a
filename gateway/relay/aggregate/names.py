"""The names of several servers' tools and prompts under one roof: `server__tool`, and back. Pure.

A name that would be too long, or would read as another server's, ends in a digest instead.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable

from gateway.enforcement.refusal_texts import AWAIT_TOOL

LONGEST = 64
"""Characters of a joined tool name: what the strictest model providers take."""

_DIGEST = 8
_SHORTENED = re.compile(r".*_[0-9a-f]{8}", re.DOTALL).fullmatch

Known = Callable[[str], Collection[str]]
"""The tools a server is known to have."""


class Names:
    """Joins and splits names for a fixed set of servers."""

    def __init__(self, servers: Iterable[str], separator: str) -> None:
        self._separator = separator
        # The longest first: of `a` and `a__b`, only the latter can be meant by `a__b__c`.
        self._servers = sorted(servers, key=len, reverse=True)

    def plain(self, server: str, name: str) -> str | None:
        """The joined name as it is read; None: it would be read as another server's, or as ours."""
        plain = f"{server}{self._separator}{name}"
        return plain if self.split(plain) == (server, name) and plain != AWAIT_TOOL else None

    def joined(self, server: str, name: str) -> str:
        """The one name of a server's tool; the same for as long as the servers' names are."""
        plain = self.plain(server, name)
        if plain is not None and len(plain) <= LONGEST:
            return plain
        digest = hashlib.sha256(f"{server}\0{name}".encode()).hexdigest()[:_DIGEST]
        whole = f"{server}{self._separator}{name}"
        return f"{whole[: LONGEST - _DIGEST - 1]}_{digest}"

    def split(self, joined: str) -> tuple[str, str] | None:
        """Server and name as the text reads; None: it begins with no server's name."""
        for server in self._servers:
            prefix = f"{server}{self._separator}"
            if joined.startswith(prefix) and len(joined) > len(prefix):
                return server, joined[len(prefix) :]
        return None

    def tool(self, joined: str, known: Known) -> tuple[str, str] | None:
        """Server and tool that a joined name means; None: no server's tool can be called so.

        A tool no one knows is its server's to judge, so it is given as it reads.
        """
        read = self.split(joined)
        if read is not None and read[1] in known(read[0]):
            return read
        if _SHORTENED(joined):
            for server in self._servers:
                for name in known(server):
                    if self.joined(server, name) == joined:
                        return server, name
        return read
