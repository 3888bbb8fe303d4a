"""Keys, seals and the clock: made once, read by their owner, bound to their place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from approvals.record.clock import SystemClock
from approvals.record.keys import Keys, KeyUnusable
from approvals.seal import SealBroken, seal, unseal
from tests.support.patience import PATIENCE

KEY = b"k" * 32


def test_a_key_file_is_made_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = tmp_path / "data" / "signoff.key"
        made = Keys.open(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_bytes()) == 32
    again = Keys.open(path)
    assert (again.seal, again.history) == (made.seal, made.history)
    assert [found.name for found in path.parent.iterdir()] == ["signoff.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "signoff.key"
    Keys.open(path)
    path.chmod(mode)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        Keys.open(path)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33])
def test_a_key_of_the_wrong_length_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signoff.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyUnusable):
        Keys.open(path)


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    found: list[bytes] = []

    def start() -> None:
        barrier.wait(PATIENCE)
        found.append(Keys.open(tmp_path / "signoff.key").seal)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(found) == 8
    assert len(set(found)) == 1


def test_each_purpose_has_its_own_key_and_none_is_shown() -> None:
    keys = Keys(KEY)
    derived = {keys.seal, keys.history, keys.fingerprint, keys.session, KEY}
    assert len(derived) == 5
    assert repr(keys) == str(keys) == "Keys(…)"


def test_what_is_sealed_opens_in_its_place_and_nowhere_else() -> None:
    sealed = seal(KEY, b"secret", approval_id="apr_1", kind="arguments")
    assert b"secret" not in sealed
    assert unseal(KEY, sealed, approval_id="apr_1", kind="arguments") == b"secret"
    for key, content, approval_id, kind in (
        (b"x" * 32, sealed, "apr_1", "arguments"),
        (KEY, sealed, "apr_2", "arguments"),
        (KEY, sealed, "apr_1", "result"),
        (KEY, sealed[:-1] + bytes([sealed[-1] ^ 1]), "apr_1", "arguments"),
        (KEY, b"\x02" + sealed[1:], "apr_1", "arguments"),
        (KEY, sealed[:10], "apr_1", "arguments"),
        (KEY, b"", "apr_1", "arguments"),
    ):
        with pytest.raises(SealBroken):
            unseal(key, content, approval_id=approval_id, kind=kind)


def test_the_same_content_is_never_sealed_the_same_way_twice() -> None:
    sealed = {seal(KEY, b"x", approval_id="a", kind="result") for _ in range(100)}
    assert len(sealed) == 100


def test_a_clock_that_is_set_back_stands_still_until_time_catches_up() -> None:
    clock = SystemClock()
    assert [clock.clamp(reading) for reading in (100, 90, 99, 101)] == [100, 100, 100, 101]
    assert clock.now() > 1_700_000_000_000
