"""The page stays light: everything it loads, compressed, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import re

from tests.web.conftest import Door
from web.views.render import STATIC

LIMIT = 120_000  # bytes, compressed


def test_everything_the_page_loads_is_under_120_kb_compressed() -> None:
    sizes = {path.name: len(gzip.compress(path.read_bytes())) for path in STATIC.iterdir()}
    assert sum(sizes.values()) < LIMIT
    assert sum(sizes.values()) < 30_000, "17 kB where it was written: what has become so large?"


async def test_the_page_loads_nothing_from_elsewhere_and_keeps_what_it_loaded(door: Door) -> None:
    visit = await door.signed_in("alice")
    page = (await visit.get("/")).text
    loaded = re.findall(r'(?:src|href)="(/static/[^"]+)"', page)
    assert len(loaded) >= 4
    for address in loaded:
        answer = await visit.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert re.findall(r'(?:src|href|action)="(?:https?:)?//', page) == []
