"""Opening the record never makes it worse."""

from __future__ import annotations

from pathlib import Path

import pytest

from approvals.record.keys import KeyUnusable
from gateway.record import DATABASE, KEY, open_record
from gateway.settings import Settings


def test_the_first_start_makes_both_files_for_the_owner_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    open_record(Settings(data=data)).close_now()
    modes = {name: (data / name).stat().st_mode & 0o777 for name in (DATABASE, KEY)}
    assert modes == {DATABASE: 0o600, KEY: 0o600}
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_lost_key_is_not_replaced_beside_its_database(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    open_record(settings).close_now()
    (tmp_path / KEY).unlink()
    with pytest.raises(KeyUnusable, match="put it back"):
        open_record(settings)
    assert not (tmp_path / KEY).exists()


def test_a_record_is_not_opened_with_another_key(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    open_record(settings).close_now()
    (tmp_path / KEY).write_bytes(b"x" * 32)
    with pytest.raises(KeyUnusable, match="another key file"):
        open_record(settings)
