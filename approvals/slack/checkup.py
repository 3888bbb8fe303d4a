"""What `signoff doctor --slack` finds out by asking Slack: tokens, scopes, channel, people. It
changes nothing but for the test card it is asked to post. Never raises what Slack says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackClientError
from slack_sdk.web.async_client import AsyncWebClient

from approvals.model import Reviewer
from approvals.slack.api import Denied, Limited, SlackApi, Unreachable, opened
from approvals.slack.config import SlackConfig
from approvals.slack.socket import SocketRefused, address, introduce
from approvals.slack.testcard import TEXT, test_card
from approvals.slack.workspace import KnownWorkspace

SECONDS: Final = 5.0
_MOST: Final = 20  # accounts looked at
_TROUBLE = (Denied, Limited, Unreachable)


@dataclass(frozen=True, slots=True)
class SlackFinding:
    """What one check found, and what to do about it."""

    name: str
    state: Literal["ok", "warning", "broken"]
    found: str
    do: str = ""


async def checkup(
    config: SlackConfig,
    people: Iterable[Reviewer],
    named: frozenset[str],
    *,
    post: bool,
    direct: bool = False,
) -> AsyncIterator[SlackFinding]:
    """Every check, in the order in which one fault causes the next. `named`: whom rules name;
    `direct`: a rule announces its calls in direct messages.
    """
    pin = KnownWorkspace(config)
    async with opened(config.bot_token, config.api_url, seconds=SECONDS) as api:
        try:
            await introduce(api, pin)
        except SocketRefused as refused:
            yield SlackFinding(
                "slack", "broken", str(refused), "Reinstall the app, copy the token."
            )
            return
        except _TROUBLE as error:
            do = f"Let this machine reach {config.api_url}, then look again."
            yield SlackFinding("slack", "broken", f"does not answer: {error}", do)
            return
        pinned = pin()
        team = pinned.team_id if pinned is not None else ""
        yield SlackFinding("slack", "ok", f"workspace {team}")
        yield _scopes_judged(await _scopes(config), config, named)
        yield await _inbound(config)
        if config.signing_secret:
            yield _door(config)
        yield await _channel(api, config)
        if direct or config.channel is None:
            yield _direct()
        async for finding in _people(api, config, people, team, named):
            yield finding
        if post:
            yield await _posted(api, config)


async def _scopes(config: SlackConfig) -> frozenset[str] | None:
    """The bot token's scopes, as a header of every answer says; None when none says so."""
    client = AsyncWebClient(config.bot_token, config.api_url, timeout=int(SECONDS))
    try:
        answer = await client.api_call("auth.test")
    except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError):
        return None
    for name, value in dict(answer.headers).items():
        if name.lower() == "x-oauth-scopes":
            return frozenset(one.strip() for one in str(value).split(",") if one.strip())
    return None


def _scopes_judged(
    scopes: frozenset[str] | None, config: SlackConfig, named: frozenset[str]
) -> SlackFinding:
    if scopes is None:
        return SlackFinding("scopes", "warning", "Slack does not say which the token has")
    needed = {"chat:write": "post cards", "users:read": "know guests from members"}
    if any(name.startswith("slack-group:") for name in named):
        needed["usergroups:read"] = "read the user groups that rules name"
    if config.email_domains:
        needed["users:read.email"] = "match e-mail addresses"
    missing = [f"{scope} (to {why})" for scope, why in needed.items() if scope not in scopes]
    if missing:
        do = "Add them under OAuth & Permissions, and reinstall the app."
        return SlackFinding("scopes", "broken", f"missing: {', '.join(missing)}", do)
    if "commands" not in scopes:
        return SlackFinding("scopes", "warning", "no commands: /approvals does not work", "Add it.")
    return SlackFinding("scopes", "ok", ", ".join(sorted(scopes)))


async def _inbound(config: SlackConfig) -> SlackFinding:
    if config.app_token is None:
        return SlackFinding("socket mode", "ok", "not used: clicks come in over HTTP")
    try:
        async with opened(config.app_token, config.api_url, seconds=SECONDS) as app:
            await address(app, config)
    except SocketRefused as refused:
        return SlackFinding("socket mode", "broken", str(refused), "Make a new App-Level Token.")
    except _TROUBLE as error:
        return SlackFinding("socket mode", "broken", f"no connection: {error}", "Try again.")
    return SlackFinding("socket mode", "ok", "Slack opens connections")


def _door(config: SlackConfig) -> SlackFinding:
    url = config.public_url.rstrip("/")
    where = f"{url}/slack/interactions, /slack/commands, /slack/events"
    reachable = urlsplit(url).scheme == "https" or config.local
    if config.app_token is None and not reachable:
        do = "Set SIGNOFF_PUBLIC_URL to the https address Slack reaches, or use Socket Mode."
        return SlackFinding("http door", "broken", f"Slack cannot reach {where}", do)
    return SlackFinding("http door", "ok", where)


async def _channel(api: SlackApi, config: SlackConfig) -> SlackFinding:
    channel = config.channel
    if channel is None:
        found = "no default: only rules with a channel, or people they name, are told"
        return SlackFinding("channel", "warning", found, "Set SIGNOFF_SLACK_CHANNEL.")
    try:
        told = (await api.read("conversations.info", {"channel": channel})).get("channel")
    except Denied as denied:
        if denied.code == "missing_scope":
            found = f"{channel}: not looked at (needs channels:read); the test card shows it"
            return SlackFinding("channel", "ok", found)
        do = "Copy its id from the channel's details, and /invite the app if it is private."
        return SlackFinding("channel", "broken", f"{channel}: {denied.code}", do)
    except (Limited, Unreachable) as error:
        return SlackFinding("channel", "warning", f"{channel}: {error}", "Try again.")
    about = told if isinstance(told, dict) else {}
    if about.get("is_archived"):
        return SlackFinding("channel", "broken", f"{channel} is archived", "Choose another.")
    if about.get("is_member") is False:
        found = f"{channel}: the app is no member; it posts only with chat:write.public"
        return SlackFinding("channel", "warning", found, "In the channel: /invite @signoff")
    return SlackFinding("channel", "ok", channel)


def _direct() -> SlackFinding:
    """Slack tells no one whether the tab is there: a message without it is not found again."""
    found = "rules write to people directly: that needs the app's Messages tab"
    do = "Under App Home, switch the Messages Tab on; users need not write there."
    return SlackFinding("direct messages", "warning", found, do)


async def _people(
    api: SlackApi,
    config: SlackConfig,
    people: Iterable[Reviewer],
    team: str,
    named: frozenset[str],
) -> AsyncIterator[SlackFinding]:
    able = [one for one in people if one.may_decide]
    prefix = f"slack:{team}/"
    accounts = {
        name.removeprefix(prefix): one.id
        for one in able
        for name in sorted(one.names())
        if name.startswith(prefix)
    }
    accounts |= {
        person.rpartition("/")[2]: name
        for person, name in config.reviewers.items()
        if any(one.id == name for one in able)
    }
    accounts |= {
        name.removeprefix(prefix): name
        for name in sorted(named)
        if name.startswith(prefix) and name.removeprefix(prefix) not in accounts
    }
    others = bool(config.email_domains) or any(name.startswith("slack-group:") for name in named)
    if not accounts and not others:
        do = "signoff reviewer add YOUR-NAME --slack U0123ABCD"
        yield SlackFinding("reviewers", "broken", "no one could approve from Slack", do)
        return
    for user, name in list(accounts.items())[:_MOST]:
        wrong = await _account(api, user)
        if wrong:
            yield SlackFinding("reviewer", "broken", f"{name} ({user}): {wrong}", "Correct the id.")
        else:
            yield SlackFinding("reviewer", "ok", f"{name} is {user}")


async def _account(api: SlackApi, user: str) -> str:
    """Why this account could not decide; "" if it could."""
    try:
        told = (await api.read("users.info", {"user": user})).get("user")
    except _TROUBLE as error:
        return str(error)
    about = told if isinstance(told, dict) else {}
    for mark, words in (
        ("deleted", "is deactivated"),
        ("is_bot", "is a bot"),
        ("is_restricted", "is a guest"),
        ("is_ultra_restricted", "is a guest"),
    ):
        if about.get(mark):
            return words
    return ""


async def _posted(api: SlackApi, config: SlackConfig) -> SlackFinding:
    if config.channel is None:
        return SlackFinding("test card", "warning", "not posted: no channel", "See above.")
    params = {"channel": config.channel, "text": TEXT, "blocks": test_card(config.page_url)}
    try:
        await api.write("chat.postMessage", params)
    except Denied as denied:
        do = "In the channel: /invite @signoff"
        return SlackFinding("test card", "broken", f"{config.channel}: {denied}", do)
    except (Limited, Unreachable) as error:
        return SlackFinding("test card", "broken", f"{config.channel}: {error}", "Try again.")
    do = "Press its button while the gateway runs: it answers."
    return SlackFinding("test card", "ok", f"posted to {config.channel}", do)
