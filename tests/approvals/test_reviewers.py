"""People and what proves them: links once, sessions for hours, tokens until revoked."""

from __future__ import annotations

import asyncio

import pytest

from approvals.model import Event, Reviewer
from approvals.record import signed
from approvals.record.database import Database
from approvals.reviewers import HOST, REVIEWER, People, ReviewerRefused, add, known_as
from tests.support.intruder import Intruder
from tests.support.record import KEYS, Record


def people(record: Record) -> People:
    return People(record.database, record.clock)


def code_of(link: str) -> str:
    return link.partition("#")[2]


async def test_a_link_signs_in_once(record: Record) -> None:
    staff = people(record)
    link = await staff.invite("alice", role="approver", url="http://127.0.0.1:8788/")
    assert link.startswith("http://127.0.0.1:8788/signin#lnk_")
    session = await staff.redeem(code_of(link), binding=HOST)
    assert session is not None
    found = await staff.session(session)
    assert found is not None
    assert found.reviewer == Reviewer(id="alice", role="approver", verified="session")
    assert found.binding == HOST
    assert await staff.redeem(code_of(link), binding=HOST) is None


async def test_a_link_ends_after_ten_minutes(record: Record) -> None:
    staff = people(record)
    link = await staff.invite("alice", role="approver", url="http://x")
    record.clock.pass_(seconds=600)
    assert await staff.redeem(code_of(link), binding=HOST) is None


async def test_a_session_ends_after_twelve_hours(record: Record) -> None:
    staff = people(record)
    session = await staff.redeem(
        code_of(await staff.invite("a", role="admin", url="http://x")), binding=HOST
    )
    assert session is not None
    record.clock.pass_(seconds=12 * 3600 - 1)
    assert await staff.session(session) is not None
    record.clock.pass_(seconds=1)
    assert await staff.session(session) is None


async def test_signing_out_ends_one_session_and_everywhere_ends_all(record: Record) -> None:
    staff = people(record)
    sessions = []
    for _ in range(3):
        secret = await staff.redeem(
            code_of(await staff.invite("a", role="admin", url="http://x")), binding=HOST
        )
        assert secret is not None
        sessions.append(secret)
    waiting = code_of(await staff.invite("a", url="http://x"))
    await staff.end(sessions[0])
    assert [await staff.session(one) is not None for one in sessions] == [False, True, True]
    await staff.end_all("a")
    assert [await staff.session(one) is not None for one in sessions] == [False, False, False]
    assert await staff.redeem(waiting, binding=HOST) is None


async def test_a_token_works_until_it_is_revoked_or_its_owner_removed(record: Record) -> None:
    staff = people(record)
    await staff.add("bot", role="viewer")
    first, second = await staff.token("bot"), await staff.token("bot")
    found = await staff.bearer(first)
    assert found is not None
    assert (found.id, found.role, found.verified) == ("bot", "viewer", "token")
    await staff.end(first)
    assert await staff.bearer(first) is None
    assert await staff.bearer(second) is not None
    assert await staff.remove("bot")
    assert await staff.bearer(second) is None
    assert await staff.reviewers() == ()
    assert not await staff.remove("bot")


async def test_no_secret_stands_for_another_kind(record: Record) -> None:
    staff = people(record)
    link = code_of(await staff.invite("a", role="admin", url="http://x"))
    token = await staff.token("a")
    assert await staff.session(link) is None
    assert await staff.session(token) is None
    assert await staff.bearer(link) is None
    assert await staff.redeem(token, binding=HOST) is None
    for wrong in ("", "ses_", token[:-1], token + "x", token.swapcase(), "rvt_é", f" {token}"):
        assert await staff.bearer(wrong) is None


async def test_no_secret_is_stored(record: Record) -> None:
    staff = people(record)
    link = code_of(await staff.invite("a", role="admin", url="http://x"))
    token = await staff.token("a")
    session = await staff.redeem(link, binding=HOST)
    assert session is not None

    def dump(connection):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return repr(
            [
                connection.exec_driver_sql(f"SELECT * FROM {table}").all()  # noqa: S608  # fixed
                for table in ("credential", "history", "reviewer")
            ]
        )

    found = record.read(dump)
    for secret in (link, token, session):
        assert secret not in found
        assert secret[4:] not in found


async def test_an_invitation_without_a_role_is_for_known_people(record: Record) -> None:
    with pytest.raises(ReviewerRefused):
        await people(record).invite("nobody", url="http://x")
    with pytest.raises(ReviewerRefused):
        await people(record).token("nobody")


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "é", "a\n", "slack:T1/U1", "x" * 101])
async def test_a_name_is_plain(record: Record, name: str) -> None:
    with pytest.raises(ReviewerRefused):
        await people(record).add(name, role="approver")


async def test_an_identity_belongs_to_one_person(record: Record) -> None:
    staff = people(record)
    await staff.add("alice", role="approver", identities=("slack:T1/U1",))
    with pytest.raises(ReviewerRefused, match="alice already"):
        await staff.add("bob", role="approver", identities=("slack:T1/U1",))
    found = await staff.known_as("slack:T1/U1", verified="slack")
    assert found is not None
    assert (found.id, found.verified) == ("alice", "slack")
    assert await staff.known_as("slack:T1/U2", verified="slack") is None


def test_two_people_of_one_identity_prove_nobody(record: Record) -> None:
    record.write(lambda tx: add(tx, "alice", role="approver", identities=("slack:T1/U1",)))
    record.write(lambda tx: add(tx, "bob", role="approver"))
    # `add` would refuse: as two gateways of older releases could leave it.
    record.write(
        lambda tx: signed.put(
            tx,
            REVIEWER,
            {"id": "bob", "identities": '["slack:T1/U1"]'},
            event=Event(event="reviewer_added", actor_kind="operator"),
        )
    )
    assert (
        record.read(lambda connection: known_as(connection, "slack:T1/U1", verified="slack"))
        is None
    )


async def session_in(record: Record, binding: str = HOST) -> str:
    staff = people(record)
    code = code_of(await staff.invite("alice", role="admin", url="http://x"))
    secret = await staff.redeem(code, binding=binding)
    assert secret is not None
    return secret


async def test_a_nonce_is_used_once_by_two_replicas_at_the_same_moment(record: Record) -> None:
    secret = await session_in(record)
    other = Database.open(record.url, key=KEYS, clock=record.clock)
    try:
        replicas = [people(record), People(other, record.clock)]
        for number in range(20):
            barrier = asyncio.Barrier(2)

            async def use(staff: People, barrier: asyncio.Barrier, nonce: str) -> str:
                await barrier.wait()
                return await staff.use_nonce(secret, nonce)

            found = await asyncio.gather(
                *(use(staff, barrier, f"nonce-{number}") for staff in replicas)
            )
            assert sorted(found) == ["fresh", "used"]
    finally:
        await other.close()


async def test_nonces_of_two_sessions_are_not_each_others(record: Record) -> None:
    staff = people(record)
    first, second = await session_in(record), await session_in(record)
    assert await staff.use_nonce(first, "one") == "fresh"
    assert await staff.use_nonce(second, "one") == "fresh"
    assert await staff.use_nonce(first, "one") == "used"
    await staff.end(first)
    assert await staff.use_nonce(first, "two") == "ended"


async def test_what_proves_a_session_cannot_be_changed_in_the_database(
    record: Record, intruder: Intruder
) -> None:
    """A database account without the key file gives a session a key of its own: it is none then."""
    secret = await session_in(record, binding="none")
    intruder.says("UPDATE credential SET binding = 'host' WHERE kind = 'session'")
    assert await people(record).session(secret) is None
