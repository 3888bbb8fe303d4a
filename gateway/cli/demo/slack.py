"""`signoff demo --slack`: the held call as a card in a local Slack, and the press that approves it.

The emulator has no buttons, so the demo presses: it posts the signed request that Slack would send.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp

from approvals.reviewers import People
from gateway.app import Gateway
from gateway.cli.demo import agent
from gateway.cli.demo.scratch import SERVER, Scratch, proof, say, scratch_in
from gateway.cli.demo.slack_emulator import CHANNEL, TOKEN, Emulator, emulator
from gateway.cli.exits import Exit, Stop
from gateway.enforcement import grants
from gateway.hosting.server import running
from gateway.record import open_record
from gateway.settings import Settings

_SECONDS: Final = 60.0
_POLL: Final = 0.1
_APPROVE: Final = "approval.approve"


async def story(folder: Path, port: int) -> int:
    """The exit code: 0 when the card was posted, pressed and brought up to date."""
    async with emulator() as slack:
        told = await slack.ask("auth.test")
        team, user = str(told["team_id"]), str(told["user_id"])
        plain = scratch_in(folder, port, busy=False)
        signing = secrets.token_hex(16)
        scratch = Scratch(plain.repository, _settings(plain.settings, slack, signing))
        await _hire(scratch.settings, f"slack:{team}/{user}")
        async with running(scratch.settings) as (gateway, _):
            try:
                async with asyncio.timeout(_SECONDS):
                    ended = await _told(gateway, scratch, slack, signing, (team, user))
            except TimeoutError:
                raise Stop(Exit.INTERNAL, "The demo did not end in time.") from None
            proven = await proof(gateway, scratch, committed=ended.committed)
            return 0 if ended.as_told and ended.committed and proven else 1


async def _told(
    gateway: Gateway, scratch: Scratch, slack: Emulator, signing: str, who: tuple[str, str]
) -> agent.StoryEnded:
    url = gateway.settings.url()
    _, token = await gateway.database.journal.write(
        lambda tx: grants.create(tx, label="demo-agent", servers=frozenset({SERVER}))
    )
    page = gateway.settings.page()
    print(f"\nSlack     {slack.url}   (a local emulator)\nPage      {page}/\n")
    calls = asyncio.create_task(
        agent.run(f"{url}/mcp/{SERVER}", token, str(scratch.repository), say=say)
    )
    try:
        card = await _card(slack, pressed=False)
        _show("The card, as chat.postMessage brought it to #general:", card)
        press = _press(card, *who)
        body = urlencode({"payload": json.dumps(press)}).encode()
        headers = _signed(signing, body)
        _show("The press of Approve, as Slack posts it to /slack/interactions:", press)
        print(f"  signed with {headers['X-Slack-Signature'][:19]}…")
        async with (
            aiohttp.ClientSession() as client,
            client.post(f"{url}/slack/interactions", data=body, headers=headers) as answer,
        ):
            print(f"  acknowledged with {answer.status}\n", flush=True)
        ended = await calls
        card = await _card(slack, pressed=True)
        _show("The card after the decision, as chat.update left it:", card)
        return ended
    finally:
        calls.cancel()


def _settings(plain: Settings, slack: Emulator, signing: str) -> Settings:
    given = plain.model_dump() | {
        "slack_bot_token": TOKEN,
        "slack_signing_secret": signing,
        "slack_app_token": None,
        "slack_channel": CHANNEL,
        "slack_api_url": slack.url,
    }
    return Settings(**given)


async def _hire(settings: Settings, identity: str) -> None:
    database = open_record(settings)
    try:
        people = People(database, database.clock)
        await people.add("demo", role="admin", identities=(identity,))
    finally:
        await database.close()


async def _card(slack: Emulator, *, pressed: bool) -> dict[str, Any]:
    """The card, once it is there, and once it says how the call ended."""
    while True:
        card = await slack.card()
        if card is not None and (not pressed or "Done" in str(card["blocks"][0])):
            return card
        await asyncio.sleep(_POLL)


def _press(card: dict[str, Any], team: str, user: str) -> dict[str, Any]:
    """What Slack sends when this person presses Approve on this card."""
    block, button = next(
        (block, element)
        for block in card["blocks"]
        if block["type"] == "actions"
        for element in block["elements"]
        if element.get("action_id") == _APPROVE
    )
    return {
        "type": "block_actions",
        "team": {"id": team, "domain": "emulate"},
        "user": {"id": user, "team_id": team},
        "container": {
            "type": "message",
            "message_ts": card["ts"],
            "channel_id": CHANNEL,
            "is_ephemeral": False,
        },
        "channel": {"id": CHANNEL, "name": "general"},
        "trigger_id": "1.demo",
        "actions": [
            {
                "type": "button",
                "block_id": block["block_id"],
                "action_id": button["action_id"],
                "value": button["value"],
            }
        ],
    }


def _signed(signing: str, body: bytes) -> dict[str, str]:
    stamp = str(int(time.time()))
    mac = hmac.new(signing.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={mac.hexdigest()}",
    }


def _show(title: str, document: dict[str, Any]) -> None:
    print(f"\n{title}\n{json.dumps(document, indent=2, ensure_ascii=False)}", flush=True)
