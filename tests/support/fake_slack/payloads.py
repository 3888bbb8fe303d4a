"""What Slack sends to an app, as its documentation shows it. Not a test."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import urllib.parse
from typing import Any

from approvals.model import Approval
from approvals.slack.action_values import block_of, value_of
from tests.support.fake_slack.workspace import Workspace

Json = dict[str, Any]


def _by(slack: Workspace, user: str, team: str | None = None) -> Json:
    home = team or (slack.people[user].team_id if user in slack.people else slack.team_id)
    return {
        "api_app_id": slack.app_id,
        "token": "deprecated",
        "team": {"id": slack.team_id, "domain": "test"},
        "enterprise": None,
        "is_enterprise_install": False,
        "user": {"id": user, "username": "who", "name": "who", "team_id": home},
    }


def click(
    slack: Workspace,
    approval: Approval | None,
    action: str,
    user: str = "U1",
    *,
    value: str | None = None,
    block: str | None = None,
    channel: str = "C1",
    ts: str = "1.000001",
    ephemeral: bool = False,
    team: str | None = None,
) -> Json:
    """A button of a message."""
    held = approval is not None
    return {
        "type": "block_actions",
        **_by(slack, user, team),
        "container": {
            "type": "message",
            "message_ts": ts,
            "channel_id": channel,
            "is_ephemeral": ephemeral,
        },
        "trigger_id": slack.trigger(),
        "channel": {"id": channel, "name": "approvals"},
        "message": {"type": "message", "ts": ts, "text": "not to be trusted", "blocks": []},
        "state": {"values": {}},
        "response_url": f"{slack.url.removesuffix('/api/')}/respond/1",
        "actions": [
            {
                "type": "button",
                "action_id": action,
                "block_id": block or (block_of(approval) if held else "x"),  # type: ignore[arg-type]
                "value": value if value is not None else value_of(approval) if held else "",  # type: ignore[arg-type]
                "text": {"type": "plain_text", "text": "Approve"},
                "action_ts": "1.000002",
            }
        ],
    }


def from_home(slack: Workspace, approval: Approval, action: str, user: str = "U1") -> Json:
    """A button of App Home: no channel, no message, no response_url."""
    payload = click(slack, approval, action, user)
    for name in ("channel", "message", "response_url"):
        del payload[name]
    payload["container"] = {"type": "view", "view_id": "V1"}
    payload["view"] = {"id": "V1", "type": "home", "callback_id": "", "state": {"values": {}}}
    return payload


def submit(
    slack: Workspace, view: Json, values: dict[str, str | None], user: str = "U1", **more: Any
) -> Json:
    """A modal sent off, filled like this: block id -> text or option."""
    state: Json = {}
    for block in view["blocks"]:
        if block["type"] != "input":
            continue
        element, given = block["element"], values.get(block["block_id"])
        if element["type"] == "static_select":
            option = {"text": {"type": "plain_text", "text": given}, "value": given}
            entered: Json = {"type": "static_select", "selected_option": option if given else None}
        else:
            entered = {"type": "plain_text_input", "value": given or None}
        state[block["block_id"]] = {element["action_id"]: entered}
    return {
        "type": "view_submission",
        **_by(slack, user),
        "trigger_id": slack.trigger(),
        "view": {**view, "id": "V1", "hash": "1.abc", "state": {"values": state}},
        "response_urls": [],
        **more,
    }


def command(slack: Workspace, text: str = "", user: str = "U1") -> dict[str, str]:
    """The form fields of `/approvals text`."""
    return {
        "token": "deprecated",
        "team_id": slack.team_id,
        "team_domain": "test",
        "channel_id": "C1",
        "channel_name": "approvals",
        "user_id": user,
        "user_name": "who",
        "command": "/approvals",
        "text": text,
        "api_app_id": slack.app_id,
        "is_enterprise_install": "false",
        "response_url": f"{slack.url.removesuffix('/api/')}/respond/2",
        "trigger_id": slack.trigger(),
    }


def home_opened(slack: Workspace, user: str = "U1", tab: str = "home") -> Json:
    """Someone looks at App Home."""
    return {
        "type": "event_callback",
        "token": "deprecated",
        "team_id": slack.team_id,
        "api_app_id": slack.app_id,
        "event": {
            "type": "app_home_opened",
            "user": user,
            "channel": f"D{user}",
            "tab": tab,
            "event_ts": "1.000003",
        },
        "event_id": "Ev1",
        "event_time": 1,
    }


def interaction(payload: Json) -> bytes:
    """The body of POST /slack/interactions."""
    return urllib.parse.urlencode({"payload": json.dumps(payload)}).encode()


def form(fields: dict[str, str]) -> bytes:
    """The body of POST /slack/commands."""
    return urllib.parse.urlencode(fields).encode()


def signed(secret: str, body: bytes, at: float | None = None) -> dict[str, str]:
    """The headers Slack signs it with. Plain hmac: a verifier must not prove itself."""
    stamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={mac.hexdigest()}",
    }
