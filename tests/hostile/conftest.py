"""One gateway with everything behind it, for all hostile tests: they must not hurt each other."""

from collections.abc import Iterator

import pytest

from tests.hostile.door import Door, call
from tests.hostile.evil import OWN_CREDENTIAL, evil_server
from tests.support.live_gateway import Site, witness

TOO_MUCH = {
    "conditions": [{"path": "args.amount", "op": "gt", "value": 100}],
    "on_deny": "At most 100.",
}
TOOLS = {
    **{
        name: {}
        for name in ("free", "slow", "huge", "mirror", "moved", "leak", "shout", "lost", "chasm")
    },
    **{name: {"require_approval": True} for name in ("mumbles", "abyss")},
    "asks": {},
    **{name: {"deny_if": [TOO_MUCH]} for name in ("narrow", "wide")},
    "denied": {"action": "deny", "reason": "Never."},
    "held": {"require_approval": True, "redact": ["args.password"]},
    "limited": {
        "require": [
            {
                "conditions": [{"path": "args.amount", "op": "lte", "value": 100}],
                "on_deny": "At most 100.",
            }
        ]
    },
    "broken": {
        "deny_if": [
            {
                "conditions": [{"path": "args.text", "op": "regex", "value": "(a+)+$"}],
                "on_deny": "No a.",
            }
        ]
    },
}


@pytest.fixture(scope="session")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("hostile")
    quiet = {"SIGNOFF_LIST_REFRESH": "3600", "SIGNOFF_HOLD": "0", "SIGNOFF_MAX_PENDING": "200"}
    with witness(folder) as remembering, evil_server() as evil:
        site = Site(folder / "site", environ=quiet)
        site.folder.mkdir()
        site.policy(tools=TOOLS, hide=["secret"])
        site.servers(
            w={"url": remembering.url},
            e={"url": evil.url, "headers": {"Authorization": f"Bearer {OWN_CREDENTIAL}"}},
        )
        door = Door(
            site=site,
            witness=remembering,
            evil=evil,
            token=site.grant("a"),
            other=site.grant("b"),
            reviewer=site.reviewer(),
        )
        site.start()
        try:
            for server in ("w", "e"):  # each server has listed its tools before the first attack
                assert door.send(call("nothing"), path=f"/mcp/{server}").refused
            yield door
        finally:
            site.stop()
