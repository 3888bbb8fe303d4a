"""A stored answer nested deeper than anyone reads costs no one the page: releases before this one
took such answers.
"""

from __future__ import annotations

import pytest
from sqlalchemy import update

from approvals.rows import APPROVAL
from approvals.seal import seal
from tests.web.conftest import Door

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("depth", [129, 400, 900, 20_000])
async def test_its_page_is_shown(door: Door, depth: int) -> None:
    scene = door.scene
    held = scene.held("refund", {"amount": 1})
    answer = b'{"jsonrpc":"2.0","id":1,"result":%s%s}' % (b"[" * depth, b"]" * depth)
    sealed = seal(scene.database.keys.seal, answer, approval_id=held.id, kind="result")
    await scene.database.journal.write(
        lambda tx: tx.connection.execute(
            update(APPROVAL)
            .where(APPROVAL.c.id == held.id)
            .values(state="approved", execution="succeeded", result_sealed=sealed)
        )
    )
    visit = await door.signed_in("alice")
    page = await visit.get(f"/approvals/{held.id}")
    assert page.status_code == 200
    assert "refund" in page.text
