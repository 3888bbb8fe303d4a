"""How Slack is reached and who may decide from it. Refuses what would be unsafe. Pure.

Made by the gateway's settings, so every error names the setting to change. No secret is in `repr`
or in an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

API_URL: Final = "https://slack.com/api/"

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_TEAM: Final = re.compile(r"[TE][A-Z0-9_]{1,63}")
_USER: Final = re.compile(r"[UW][A-Z0-9_]{1,63}")
_PERSON: Final = re.compile(r"(?:([TE][A-Z0-9_]{1,63})/)?([UW][A-Z0-9_]{1,63})")
_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")


class SlackUnusable(ValueError):
    """Slack cannot be used like this; the message names the setting and is for the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackConfig:
    """One workspace and one app in it.

    Raises:
        SlackUnusable: no way for clicks to come in, or one that would not be safe.
    """

    bot_token: str = field(repr=False)
    public_url: str  # where Slack calls this gateway, over HTTP
    page_url: str = ""  # of the reviewers' page, for links; "": the same
    app_token: str | None = field(default=None, repr=False)  # Socket Mode
    signing_secret: str | None = field(default=None, repr=False)  # interactions over HTTP
    channel: str | None = None  # where approvals are announced unless a rule names another
    api_url: str = API_URL  # ends with a slash
    team_id: str | None = None  # None: whatever the bot token belongs to
    app_id: str | None = None  # None: whatever Slack says at the first connection
    show_arguments: bool = True
    reviewers: Mapping[str, str] = field(default_factory=dict)  # "U07" or "T024/U07" -> reviewer
    email_domains: tuple[str, ...] = ()  # whose verified addresses name reviewers; none: no e-mail

    def __post_init__(self) -> None:
        if not self.page_url:
            object.__setattr__(self, "page_url", self.public_url)
        url = urlsplit(self.api_url)
        if url.scheme != "https" and not (url.scheme == "http" and self.local):
            raise SlackUnusable("slack_api_url must begin with https://, or lead to this machine")
        if url.username or url.password or url.query or url.fragment or not url.hostname:
            raise SlackUnusable("slack_api_url must be an address such as https://slack.com/api/")
        if not self.api_url.endswith("/"):
            object.__setattr__(self, "api_url", f"{self.api_url}/")
        if not self.app_token and not self.signing_secret:
            raise SlackUnusable(
                "slack_bot_token alone lets no one answer: set slack_app_token (Socket Mode), or "
                "slack_signing_secret (Slack calls this gateway's public_url)"
            )
        self._check_tokens()
        self._check_people()

    @property
    def local(self) -> bool:
        """Whether this is an emulator on this machine rather than Slack."""
        return urlsplit(self.api_url).hostname in _LOOPBACK

    def mapped(self, team: str, user: str) -> str | None:
        """The reviewer this account is configured to be; None if it is not."""
        return self.reviewers.get(f"{team}/{user}") or self.reviewers.get(user)

    def _check_tokens(self) -> None:
        if self.local:
            return
        if not self.bot_token.startswith("xoxb-"):
            raise SlackUnusable(
                "slack_bot_token must begin with xoxb-: it is the Bot User OAuth Token"
            )
        if self.app_token and not self.app_token.startswith("xapp-"):
            raise SlackUnusable("slack_app_token must begin with xapp-: it is an App-Level Token")

    def _check_people(self) -> None:
        if self.team_id and not _TEAM.fullmatch(self.team_id):
            raise SlackUnusable("slack_team_id must look like T024BE7LD")
        for person, name in self.reviewers.items():
            if not _PERSON.fullmatch(person) or not name:
                raise SlackUnusable(
                    'slack_reviewers must map Slack ids to reviewers: {"U07ABC": "alice"}'
                )
        for domain in self.email_domains:
            if not _DOMAIN.fullmatch(domain):
                raise SlackUnusable(
                    'slack_email_domains must list domains in lower case: ["example.com"]'
                )


def identity_of(team: str, user: str) -> str:
    """How policies and reviewers name this account: `slack:T024/U07`."""
    return f"slack:{team}/{user}"


def person_of(written: str, team: str | None) -> str | None:
    """The identity of `U07` in this team, or of `T024/U07`; None when it is neither."""
    found = _PERSON.fullmatch(written.removeprefix("slack:"))
    if found is None or not (found[1] or team):
        return None
    return identity_of(found[1] or team or "", found[2])


def needs_team(written: str) -> bool:
    """Whether this is a Slack user id that does not say of which team."""
    return _USER.fullmatch(written) is not None
