"""Which server a resource belongs to: URIs stay as they are, so they must be known. Not pure: it
remembers what was listed, for each grant.

A URI two servers list is the first one's; the other's is had at that server's own URL. Of templates
the most telling one counts, so that a server that claims everything gets nothing of another's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_EXPRESSION = re.compile(r"\{([^{}]*)\}")
_MOST_GRANTS = 1_000
_MOST_URIS = 20_000
_LONGEST_URI = 4_096


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several servers' templates speak of a URI equally well."""

    servers: tuple[str, ...]


class ResourceOwners:
    """URI -> server, by grant."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._templates: dict[str, list[tuple[str, str]]] = {}

    def resources(self, grant: str, lists: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
        """Take note of a listing; the resources as the agent gets them, each URI once."""
        known = self._of(grant)
        shown = []
        for server, items in lists.items():
            for item in items:
                uri = item.get("uri")
                if isinstance(uri, str) and known.setdefault(uri, server) == server:
                    shown.append(item)
        while len(known) > _MOST_URIS:
            known.pop(next(iter(known)))
        return shown

    def templates(self, grant: str, lists: Mapping[str, Iterable[Any]]) -> list[dict[str, Any]]:
        """The same for resource templates."""
        self._of(grant)
        shown: dict[str, dict[str, Any]] = {}
        known: dict[tuple[str, str], None] = {}
        for server, items in lists.items():
            for item in items:
                template = item.get("uriTemplate")
                if isinstance(template, str) and len(template) <= _LONGEST_URI:
                    shown.setdefault(template, item)
                    known[template, server] = None
        self._templates[grant] = list(known)
        return list(shown.values())

    def owner(self, grant: str, uri: str) -> str | Ambiguous | None:
        """The server that listed this URI, else the one whose template it fits with the longest
        fixed beginning; Ambiguous: several servers have such a one. None: no server has any.
        """
        found = self._of(grant).get(uri)
        if found is not None or len(uri) > _LONGEST_URI:
            return found
        longest, owners = -1, set[str]()
        for template, server in self._templates.get(grant, ()):
            if template != uri and not fits(template, uri):
                continue
            length = len(template) if template == uri else len(_EXPRESSION.split(template, 1)[0])
            if length > longest:
                longest, owners = length, {server}
            elif length == longest:
                owners.add(server)
        if len(owners) > 1:
            return Ambiguous(tuple(sorted(owners)))
        return owners.pop() if owners else None

    def _of(self, grant: str) -> dict[str, str]:
        known = self._known.setdefault(grant, {})
        self._known.move_to_end(grant)
        if len(self._known) > _MOST_GRANTS:
            gone, _ = self._known.popitem(last=False)
            self._templates.pop(gone, None)
        return known


def fits(template: str, uri: str) -> bool:
    """Whether a URI may be an expansion of an RFC 6570 template: its fixed parts stand in it, in
    order. Generous on purpose, and linear: only a server that listed the template is asked.
    """
    fixed = _EXPRESSION.split(template)[::2]  # what stands between the expressions
    if len(fixed) == 1:
        return uri == template
    first, *middle, last = fixed
    if not uri.startswith(first) or not uri.endswith(last) or len(uri) < len(first) + len(last):
        return False
    place, end = len(first), len(uri) - len(last)
    for part in middle:
        found = uri.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True
