"""What a call was held with beside its arguments: kept sealed, shown masked, bound to its run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select, update

from approvals import execution, retention
from approvals.digest import canonical, sha256
from approvals.model import Execution, Metadata, State
from approvals.rows import APPROVAL
from approvals.seal import seal
from approvals.view import View, view_of
from tests.support.record import KEYS, Record

SECRET = "ghp_" + "a1B2" * 9
SHOWN = canonical({"_meta": {"vendor/mode": "staging\u200b", "vendor/token": SECRET}})
METADATA = Metadata(SHOWN, canonical({"traceparent": "t"}))
OTHER = Metadata(canonical({"_meta": {"vendor/mode": "PRODUCTION"}}))


def data_of(record: Record, event: str) -> dict[str, Any]:
    rows = record.write(lambda tx: tx.rows("SELECT data FROM history WHERE event = ?", (event,)))
    found: dict[str, Any] = json.loads(rows[-1][0])
    return found


def put(record: Record, approval_id: str, **values: Any) -> None:
    """Change columns as an account of the database could."""
    changed = update(APPROVAL).where(APPROVAL.c.id == approval_id).values(**values)
    record.write(lambda tx: tx.connection.execute(changed))


def seen(record: Record, approval_id: str) -> View:
    found = record.read(lambda connection: view_of(connection, approval_id, now=0))
    assert found is not None
    return found


def test_it_is_sent_as_it_came_and_stands_masked_in_the_history(record: Record) -> None:
    approval = record.approved(metadata=METADATA)
    claimed = record.claim(approval)
    assert isinstance(claimed, execution.Claimed)
    assert claimed.approval.call.metadata == METADATA
    held = data_of(record, "held")
    assert held["metadata"] == data_of(record, "claimed")["metadata"] == sha256(SHOWN)
    assert SECRET not in json.dumps(held)
    assert held["metadata_shown"]["_meta"]["vendor/mode"] == "staging\u200b"


def test_a_view_shows_it_flags_it_and_its_digest_covers_it(record: Record) -> None:
    views = []
    for metadata in (Metadata(), METADATA, OTHER):
        held = record.hold({"amount": 5}, metadata=metadata)
        views.append(seen(record, held.id))
        # The same row with another masked text: what was shown is another thing.
        put(record, held.id, metadata_masked='{"_meta":{"x":1}}')
        assert seen(record, held.id).digest != views[-1].digest
    plain, shown, _ = views
    assert plain.metadata == ()
    assert [value.path for value in shown.metadata] == ["_meta.vendor/mode", "_meta.vendor/token"]
    assert SECRET not in str(shown.metadata)
    assert "hidden characters" in shown.flags
    assert "hidden characters" not in plain.flags


@pytest.mark.parametrize("how", ["resealed", "emptied", "moved", "digest"])
def test_what_is_not_what_was_shown_does_not_run(record: Record, how: str) -> None:
    approval = record.approved(metadata=METADATA)
    other = record.hold({"amount": 7}, metadata=OTHER)
    moved = record.read(
        lambda connection: connection.execute(
            select(APPROVAL.c.metadata_sealed).where(APPROVAL.c.id == other.id)
        ).scalar_one()
    )
    opened = canonical([OTHER.shown.decode(), ""])
    forged = seal(KEYS.seal, opened, approval_id=approval.id, kind="metadata")
    values: dict[str, dict[str, Any]] = {
        "resealed": {"metadata_sealed": forged},
        "emptied": {"metadata_sealed": None},
        "moved": {"metadata_sealed": moved},
        "digest": {"metadata_digest": OTHER.digest},
    }
    put(record, approval.id, **values[how])
    assert isinstance(record.claim(approval), execution.Lost)
    now = seen(record, approval.id).approval
    assert (now.state, now.execution) == (State.SUPERSEDED, Execution.NONE)


def test_retention_drops_it_with_the_arguments(record: Record) -> None:
    approval = record.approved(metadata=METADATA)
    record.claim(approval)
    record.finish(approval)
    record.clock.pass_(seconds=90 * 86_400)
    before = record.clock.now() - 86_400_000
    assert record.write(lambda tx: retention.drop_contents(tx, before=before)) == 1
    left = record.read(
        lambda connection: connection.execute(
            select(APPROVAL.c.metadata_sealed, APPROVAL.c.metadata_digest)
        ).one()
    )
    assert tuple(left) == (None, METADATA.digest)
