"""Which workspace and which app are ours. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from approvals.slack.config import SlackConfig

_APP: Final = re.compile(r"xapp-[0-9]+-(A[A-Z0-9]+)-.*")


@dataclass(frozen=True, slots=True)
class Pinned:
    """From settings, or as Slack said first; nothing of another is listened to afterwards."""

    team_id: str
    app_id: str = ""  # "" while no one has said
    team_url: str = ""  # "https://acme.slack.com/", for people


class KnownWorkspace:
    """What is known so far. A workspace from settings is known from the start."""

    def __init__(self, config: SlackConfig) -> None:
        named = _APP.fullmatch(config.app_token or "")
        self._app = config.app_id or (named[1] if named else "")
        self._team = config.team_id
        self._pinned = Pinned(config.team_id, self._app) if config.team_id else None

    def __call__(self) -> Pinned | None:
        return self._pinned

    def team(self, team_id: str, url: str = "") -> bool:
        """Slack says whose the bot token is; False when that is another workspace than ours."""
        if not team_id or (self._team or team_id) != team_id:
            return False
        self._team = team_id
        known = self._pinned or Pinned(team_id, self._app)
        self._pinned = replace(known, team_url=url or known.team_url)
        return True

    def app(self, app_id: str) -> bool:
        """Slack says whose the connection is; False when that is another app than ours."""
        if not app_id:
            return True
        if (self._app or app_id) != app_id:
            return False
        self._app = app_id
        if self._pinned is not None:
            self._pinned = replace(self._pinned, app_id=app_id)
        return True
