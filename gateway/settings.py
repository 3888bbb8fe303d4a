"""How the gateway runs: SIGNOFF_* in the environment, then signoff.toml, then these defaults.

What it guards with is elsewhere: servers in servers.json, rules in policy.json.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from approvals.addresses import is_own_machine, url_problem
from approvals.signing import SecretUnusable, secret_of
from approvals.slack.config import API_URL, SlackConfig

ENVIRONMENT_ONLY = frozenset({"policy_trust", "cli_decides"})
"""Settings that signoff.toml may not make: it lies where agents may write."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE_HOST = "signoff.localhost"
"""The page's own name on this machine: browsers look names below localhost up nowhere."""
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # named, not listened on


INSIDE = ".signoff"
"""The data folder of projects that were begun before it lay outside them."""

_KEY = "signoff.key"
_RECORD = (_KEY, "signoff.db")  # a record whose key is gone is one still, and says so
_NO_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


def state_folder(name: str, identity: str, environ: Mapping[str, str]) -> Path:
    """The folder that a name and whatever tells it apart from others have below the user's state
    folder: the same wherever it is asked for.
    """
    state = environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    digest = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    plain = _NO_NAME.sub("-", name).strip("-.")[:64] or "project"
    return Path(state) / "signoff" / f"{plain}-{digest}"


def data_folder(project: Path, environ: Mapping[str, str]) -> Path:
    """Where a project's record, key and credentials lie: out of reach of what may write in it. A
    project that was begun with them inside goes on there.
    """
    outside = state_folder(project.name, str(project), environ)
    begun = any((project / INSIDE / name).exists() for name in _RECORD)
    return Path(INSIDE) if begun and not (outside / _KEY).exists() else outside


class Settings(BaseSettings):
    """Every setting. Secrets never show in `repr`."""

    model_config = SettingsConfigDict(
        env_prefix="SIGNOFF_",
        toml_file="signoff.toml",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # it may be a secret
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8788, ge=0, le=65535, description="Port to listen on; 0 picks one.")
    data: Path = Field(
        default_factory=lambda: data_folder(Path.cwd(), os.environ),
        description="Folder of the database and the key file; default: one for this project, "
        "outside it.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="postgresql+psycopg://… for several replicas; default: SQLite in the folder.",
    )
    policy: Path = Field(default=Path("policy.json"), description="The rules.")
    servers: Path = Field(default=Path("servers.json"), description="The MCP servers behind.")
    policy_trust: Literal["confirmed", "file"] = Field(
        default="confirmed",
        description="file: policy.json and servers.json count as they are, by any writer "
        "(containers, CI); else what opens waits until an administrator confirms it. From the "
        "environment only.",
    )
    cli_decides: bool = Field(
        default=True,
        description="false: commands neither decide nor change people, grants, rules or freezes, "
        "unless a reviewer's token is in SIGNOFF_REVIEWER_TOKEN. From the environment only.",
    )
    public_url: str = Field(
        default="", description="How agents reach the gateway; default: http://host:port"
    )
    page_url: str = Field(
        default="",
        description="How people reach the page; default: public_url if that names another machine, "
        "else http://signoff.localhost:port",
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(), description="Further Host headers to answer to, besides public_url's."
    )
    allowed_origins: tuple[str, ...] = Field(
        default=(), description="Further web origins that may call /mcp; none by default."
    )
    hold: int = Field(default=50, ge=0, le=86_400, description="Seconds a held call waits.")
    task_hold: float = Field(
        default=0,
        ge=0,
        le=30,
        description="Seconds in which a quick decision is answered in place of a task.",
    )
    progress: float = Field(
        default=5.0, gt=0, le=30, description="Seconds between progress notes while it waits."
    )
    separator: str = Field(
        default="__",
        pattern=r"^[A-Za-z0-9_.-]{1,8}$",
        description="Between server and tool in the names at /mcp, the URL of all servers.",
    )
    max_body: int = Field(default=1 << 20, ge=1_024, description="Largest request, bytes.")
    max_result: int = Field(default=4 << 20, ge=1_024, description="Largest answer, bytes.")
    max_pending: int = Field(default=50, ge=1, description="Open approvals per grant.")
    max_withdrawn: int = Field(
        default=60,
        ge=1,
        description="Held calls a grant may take back within ten minutes before it has to wait.",
    )
    server_timeout: float = Field(
        default=300.0, gt=0, description="Seconds a server may stay silent on a call."
    )
    lease_seconds: float = Field(
        default=15.0,
        ge=1,
        le=3_600,
        description="After how long a call that ran in a gateway that died counts as unknown.",
    )
    list_refresh: float = Field(
        default=60.0, ge=5, description="Seconds after which a server's tools are listed again."
    )
    max_tools: int = Field(
        default=1_000,
        ge=1,
        description="Most tools (prompts, templates) pinned for one server, gone ones included.",
    )
    max_listing: int = Field(
        default=8 << 20, ge=1_024, description="Largest list of one server's tools, bytes."
    )
    retention_days: int = Field(default=30, ge=0, description="Days until arguments are dropped.")
    notification_arguments: Literal["shown", "none"] = Field(
        default="none", description="none: desktop notifications name no value of a call."
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="Where signed events are posted: https, or this machine."
    )
    webhook_secret: SecretStr | None = Field(
        default=None, description="whsec_ and the base64 of 24 to 64 random bytes."
    )
    webhook_allow_private: bool = Field(
        default=False, description="Allow webhook_url to lead to a private network."
    )
    slack_bot_token: SecretStr | None = Field(
        default=None, description="xoxb-…: turns Slack on, together with one of the next two."
    )
    slack_app_token: SecretStr | None = Field(
        default=None, description="xapp-…: clicks come in over Socket Mode; no public address."
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None, description="Clicks come in over HTTP, at public_url/slack/…"
    )
    slack_channel: str | None = Field(
        default=None, description="Channel id (C…) of approvals whose rule names no other."
    )
    slack_arguments: Literal["shown", "none"] = Field(
        default="shown", description="none: arguments stay off Slack, and so does Approve."
    )
    slack_reviewers: dict[str, str] = Field(
        default={}, description='Slack ids of reviewers: {"U07ABC": "alice"}.'
    )
    slack_email_domains: tuple[str, ...] = Field(
        default=(), description="Match reviewers by verified e-mail addresses of these domains."
    )
    slack_team_id: str | None = Field(
        default=None, description="The one workspace; default: the bot token's."
    )
    slack_app_id: str | None = Field(
        default=None, description="The one app; default: what Slack says at the first connection."
    )
    slack_api_url: str = Field(default=API_URL, description="Another only for an emulator.")
    log: Literal["json", "text"] = Field(default="json", description="Log format.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in ("public_url", "page_url"):
            written = getattr(self, name)
            if written and urlsplit(written).scheme not in ("http", "https"):
                raise ValueError(f"{name} must begin with http:// or https://")
        if self.host not in LOOPBACK and not self.public_url:
            raise ValueError(
                f"host {self.host} can be reached from other machines: say by which address with "
                "SIGNOFF_PUBLIC_URL=https://…, or listen on 127.0.0.1"
            )
        if (self.webhook_url is None) != (self.webhook_secret is None):
            raise ValueError("webhook_url and webhook_secret belong together: set both or neither")
        if self.webhook_url is not None and self.webhook_secret is not None:
            problem = url_problem(
                self.webhook_url.get_secret_value(), allow_private=self.webhook_allow_private
            )
            if problem is not None:
                raise ValueError(f"webhook_url {problem}")
            try:
                secret_of(self.webhook_secret.get_secret_value())
            except SecretUnusable as error:
                raise ValueError(f"webhook_secret {error}") from None
        self.slack()
        return self

    def slack(self) -> SlackConfig | None:
        """How Slack is reached; None when it is not set up.

        Raises:
            SlackUnusable: what is set does not go together.
        """
        tokens = (self.slack_bot_token, self.slack_app_token, self.slack_signing_secret)
        bot, app, signing = (one.get_secret_value() or None if one else None for one in tokens)
        if bot is None:
            if app or signing:
                raise ValueError("slack_bot_token is missing: without it nothing can be posted")
            return None
        return SlackConfig(
            bot_token=bot,
            app_token=app,
            signing_secret=signing,
            channel=self.slack_channel or None,
            api_url=self.slack_api_url,
            public_url=self.url(),
            page_url=self.page(),
            team_id=self.slack_team_id or None,
            app_id=self.slack_app_id or None,
            show_arguments=self.slack_arguments == "shown",
            reviewers=self.slack_reviewers,
            email_domains=self.slack_email_domains,
        )

    def url(self) -> str:
        """The base URL for agents, without a trailing slash."""
        return self.public_url.rstrip("/") or f"http://{_bracketed(self.host)}:{self.port}"

    def page(self) -> str:
        """The base URL that people follow, without a trailing slash.

        On this machine it is a name of the page's own: who serves something else at 127.0.0.1
        is not sent its cookies, unless he is opened under that name, too.
        """
        if self.page_url:
            return self.page_url.rstrip("/")
        parts = urlsplit(self.url())
        named = is_own_machine(parts.hostname or "")
        # Another address of this machine than the usual ones is not where the name leads.
        usual = self.host in (*LOOPBACK, *_EVERYWHERE)
        if not named or parts.scheme != "http" or not usual:
            return self.url()
        return f"http://{PAGE_HOST}:{parts.port or 80}"

    def page_beside(self) -> str | None:
        """The same page by number, for browsers that do not know the name; None where the page has
        another address.
        """
        named = f"http://{PAGE_HOST}:"
        if self.page_url or not self.page().startswith(named):
            return None
        host = "[::1]" if self.host == "::1" else "127.0.0.1"
        return f"http://{host}:{self.page().removeprefix(named)}"

    def hosts(self) -> frozenset[str]:
        """Every Host header that is answered; anything else is a rebound name."""
        own = {urlsplit(self.url()).netloc.lower(), urlsplit(self.page()).netloc.lower()}
        if self.host in LOOPBACK:
            own |= {f"{_bracketed(name)}:{self.port}" for name in LOOPBACK}
        return frozenset(own | {host.lower() for host in self.allowed_hosts})

    def page_origins(self) -> frozenset[str]:
        """The Origin headers of the page's own forms, where they differ from the Host header: a
        proxy that speaks https stands between.
        """
        return frozenset({_origin(self.page()), _origin(self.url())})

    def origins(self) -> frozenset[str]:
        """Every Origin header that may call /mcp."""
        return frozenset({_origin(self.url()), *self.allowed_origins})

    def database(self) -> str:
        """The SQLAlchemy URL of the record."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data / 'signoff.db').absolute()}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes all five
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, _File(settings_cls))


class WithoutFile(Settings):
    """As Settings, for commands that a host starts wherever it happens to be: signoff.toml of that
    folder may be anyone's, and says nothing.
    """

    model_config = SettingsConfigDict(toml_file=None)


class NotInFile(ValueError):
    """signoff.toml makes a setting that only the environment may make."""


class _File(TomlConfigSettingsSource):
    """signoff.toml, less what it may not say."""

    def __call__(self) -> dict[str, Any]:
        """What it says.

        Raises:
            NotInFile: it says what only the environment may.
        """
        found = super().__call__()
        for name in ENVIRONMENT_ONLY & found.keys():
            raise NotInFile(
                f"signoff.toml may not set {name}: agents may be able to write that file. "
                f"Set it in the environment: SIGNOFF_{name.upper()}=…"
            )
        return found


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
