"""Who and what is in the workspace. Not a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Person:
    """A member as users.info tells of one."""

    id: str
    name: str
    email: str
    team_id: str = "T1"
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False  # a guest of several channels
    is_ultra_restricted: bool = False  # a guest of one
    is_stranger: bool = False  # of a shared channel, never met
    is_email_confirmed: bool = True

    def as_slack(self, *, email: bool) -> dict[str, Any]:
        profile: dict[str, Any] = {"real_name": self.name.title(), "display_name": self.name}
        if email:
            profile["email"] = self.email
        return {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": self.deleted,
            "is_bot": self.is_bot,
            "is_restricted": self.is_restricted,
            "is_ultra_restricted": self.is_ultra_restricted,
            "is_stranger": self.is_stranger,
            "is_email_confirmed": self.is_email_confirmed,
            "profile": profile,
        }


@dataclass
class Group:
    """A user group."""

    id: str
    handle: str
    users: list[str]


@dataclass
class Channel:
    """A conversation; `joined` tells whether our bot is in it."""

    id: str
    name: str
    private: bool = False
    archived: bool = False
    joined: bool = True
    direct: str = ""  # the person of a direct message

    @property
    def kind(self) -> str:
        if self.direct:
            return "im"
        return "private_channel" if self.private else "public_channel"

    @property
    def history_scope(self) -> str:
        kinds = {"im": "im:history", "private_channel": "groups:history"}
        return kinds.get(self.kind, "channels:history")

    def as_slack(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "is_channel": not self.direct and not self.private,
            "is_private": self.private,
            "is_im": bool(self.direct),
            "is_archived": self.archived,
            "is_member": self.joined,
        }
