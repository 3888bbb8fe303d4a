"""Webhooks of a real gateway: told through its death, and anyone who decides."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import standardwebhooks
from anyio.from_thread import start_blocking_portal

from tests.support.killable_gateways import Gateway, Ground, Nursery, decision_of, ground
from tests.support.live_gateway import Site, eventually
from tests.support.webhook_receiver import Receiver, receiver

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def there() -> Iterator[Receiver]:
    """A receiver in a thread of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(receiver()) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path, nursery: Nursery, there: Receiver) -> Iterator[Ground]:
    """A ground whose gateways tell the receiver."""
    with ground(
        tmp_path,
        nursery,
        tools={"held": {"require_approval": True}},
        SIGNOFF_WEBHOOK_URL=there.url,
        SIGNOFF_WEBHOOK_SECRET=SECRET,
    ) as found:
        yield found


def got(there: Receiver, number: int) -> bool:
    return eventually(lambda: len(there.got) >= number) and len(there.got) == number


def types(there: Receiver, approval: str) -> list[str]:
    """What was told of the approval, each notice once, every signature checked."""
    found = {}
    for one in there.got:
        message = standardwebhooks.Webhook(SECRET).verify(one.body, one.headers)
        if message["data"]["id"] == approval:
            found[one.headers["webhook-id"]] = message["type"]
    return list(found.values())


def hold(site: Ground, gateway: Gateway) -> str:
    """The approval of a call that is held."""
    return str(decision_of(gateway.call(site.agents[0], "held", key="k")[1])["approval_id"])


def test_events_survive_the_gateways_death_and_reach_a_receiver_that_did_not_answer(
    site: Ground, there: Receiver
) -> None:
    there.silent = True  # it takes the message and never answers
    with site.gateway() as gateway:
        approval = hold(site, gateway)
        assert got(there, 1)
    there.silent = False
    # As if the two minutes of the dead gateway's lease were over.
    site.site.write(
        lambda tx: tx.connection.exec_driver_sql("UPDATE outbox SET due_at = due_at - 120000")
    )
    with site.gateway() as gateway:
        assert got(there, 2)
        gateway.decide(approval)
        assert got(there, 3)
        eventually(lambda: site.rows("SELECT count(*) FROM outbox") == [(0,)])
    assert there.got[0].headers["webhook-id"] == there.got[1].headers["webhook-id"]
    assert types(there, approval) == ["approval.requested", "approval.decided"]


def test_a_decision_on_the_command_line_is_told_too(site: Ground, there: Receiver) -> None:
    with site.gateway() as gateway:
        approval = hold(site, gateway)
        assert got(there, 1)
        bare = Site(site.site.folder)  # the record says who is told, not the environment
        bare.run("deny", approval, "--reason", "no", "--as", "alice")
        assert got(there, 2)
    assert types(there, approval) == ["approval.requested", "approval.decided"]
    assert json.loads(there.got[1].body)["data"]["reason"] == "no"


def test_a_receiver_that_is_down_delays_no_call_and_no_decision(
    site: Ground, there: Receiver
) -> None:
    there.silent = True
    with site.gateway() as gateway:
        approval = hold(site, gateway)
        assert gateway.decide(approval)[0] == 200
        answer = gateway.call(site.agents[0], "held", key="k", patience=5)[1]
        assert not answer["result"]["isError"]
    assert site.witness.ran() == [("held", "k")]
