"""What Slack sends when someone presses, submits, asks or looks: read into values. Pure.

Only ids are taken from a payload. Its texts, its message and its names prove nothing; what is
missing without need (channel, message, response_url) may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approvals.slack.action_values import Pressed, is_our_block, parse_value
from approvals.slack.ephemeral import EphemeralListener
from approvals.slack.identity import Account
from approvals.slack.modals import Origin

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SlackPress:
    """One button."""

    account: Account
    action: str
    pressed: Pressed | None
    listener: EphemeralListener
    origin: Origin
    trigger: str
    private: bool  # on a message that only this person sees
    home: bool


def foreign(payload: Json, *, team: str, app: str) -> bool:
    """Whether the payload is of another workspace or another app than ours.

    A payload must name its team; the app is compared where both are known.
    """
    named = team_in(payload)
    given = payload.get("api_app_id")
    return named != team or bool(app and given and given != app)


def team_in(payload: Json) -> str:
    """The workspace the payload comes from."""
    for found in (_at(payload, "team", "id"), payload.get("team_id"), _user(payload)[0]):
        if isinstance(found, str) and found:
            return found
    return ""


def account_in(payload: Json, team: str) -> Account | None:
    """Who did it; None when the payload does not say."""
    own, user = _user(payload)
    return Account(team, user, own or team) if user else None


def press_in(payload: Json, team: str) -> SlackPress | None:
    """The one button that was pressed; None when there is not exactly one, or no one pressed."""
    actions = payload.get("actions")
    account = account_in(payload, team)
    if account is None or not isinstance(actions, list) or len(actions) != 1:
        return None
    action = actions[0]
    if not isinstance(action, dict):
        return None
    ours = "block_id" not in action or is_our_block(action["block_id"])
    channel = _text(_at(payload, "channel", "id") or _at(payload, "container", "channel_id"))
    ts = _text(_at(payload, "container", "message_ts") or _at(payload, "message", "ts"))
    return SlackPress(
        account=account,
        # In a list the same button stands many times: what tells them apart comes after a colon.
        action=_text(action.get("action_id")).partition(":")[0],
        pressed=parse_value(action.get("value")) if ours else None,
        listener=EphemeralListener(account.user, channel, _text(payload.get("response_url"))),
        origin=Origin(channel, ts),
        trigger=_text(payload.get("trigger_id")),
        private=_at(payload, "container", "is_ephemeral") is True,
        home=_at(payload, "view", "type") == "home",
    )


def _user(payload: Json) -> tuple[str, str]:
    """The person's own team where it is told, and the person."""
    user = payload.get("user")
    if isinstance(user, dict):
        return _text(user.get("team_id")), _text(user.get("id"))
    if isinstance(user, str):
        return "", user
    event = payload.get("event")
    if isinstance(event, dict):
        return "", _text(event.get("user"))
    return "", _text(payload.get("user_id"))


def _at(payload: Json, *names: str) -> Any:
    found: Any = payload
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
