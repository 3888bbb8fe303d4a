"""Settings: where they come from, what they refuse, and what they never show."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from gateway.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signoff.toml").write_text("port = 9001\nhold = 7\n", encoding="utf-8")
    monkeypatch.setenv("SIGNOFF_PORT", "9002")
    settings = Settings()
    assert (settings.port, settings.hold, settings.max_pending) == (9002, 7, 50)


def test_an_address_others_can_reach_needs_a_public_url() -> None:
    with pytest.raises(ValidationError, match="SIGNOFF_PUBLIC_URL"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", public_url="https://gate.example").url() == (
        "https://gate.example"
    )


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "signoff.toml").write_text("prot = 9001\n", encoding="utf-8")
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_the_database_password_is_not_shown() -> None:
    settings = Settings(database_url="postgresql+psycopg://signoff:hunter2@db/signoff")
    assert "hunter2" not in repr(settings)
    assert "hunter2" in settings.database()


def test_only_the_own_names_are_answered_to() -> None:
    settings = Settings(
        port=8788,
        public_url="https://gate.example",
        page_url="https://page.example",
        allowed_hosts=("in.example",),
    )
    assert settings.hosts() == {
        "gate.example",
        "page.example",
        "in.example",
        "127.0.0.1:8788",
        "localhost:8788",
        "[::1]:8788",
    }
    assert settings.origins() == {"https://gate.example"}
    assert "signoff.localhost:8788" in Settings(port=8788).hosts()


@pytest.mark.parametrize(
    ("given", "page"),
    [
        ({}, "http://signoff.localhost:8788"),
        ({"host": "::1"}, "http://signoff.localhost:8788"),
        ({"public_url": "https://gate.example/"}, "https://gate.example"),
        ({"public_url": "http://10.0.0.5:8788", "host": "0.0.0.0"}, "http://10.0.0.5:8788"),
        # As from a container: the port is the one that people can reach.
        ({"public_url": "http://127.0.0.1:9000", "host": "0.0.0.0"}, "http://signoff.localhost:9000"),
        ({"public_url": "http://localhost:9000"}, "http://signoff.localhost:9000"),
        # Where that name leads nowhere: another loopback address, a certificate of another name.
        ({"public_url": "http://127.0.0.2:8788", "host": "127.0.0.2"}, "http://127.0.0.2:8788"),
        ({"public_url": "https://localhost:8443"}, "https://localhost:8443"),
        ({"page_url": "https://page.example/"}, "https://page.example"),
        ({"page_url": "https://page.example", "public_url": "https://g.example"}, "https://page.example"),
    ],
)  # fmt: skip
def test_people_are_sent_to_a_name_of_the_pages_own(given: dict[str, Any], page: str) -> None:
    settings = Settings(**given)
    assert settings.page() == page
    assert urlsplit(page).netloc in settings.hosts()


def test_the_page_by_number_stands_beside_its_name() -> None:
    assert Settings(port=9001).page_beside() == "http://127.0.0.1:9001"
    assert Settings(port=9001, host="::1").page_beside() == "http://[::1]:9001"
    assert Settings(page_url="http://signoff.localhost:1").page_beside() is None
    assert Settings(public_url="https://gate.example").page_beside() is None


def test_agents_keep_the_number() -> None:
    assert Settings(port=9001, page_url="https://page.example").url() == "http://127.0.0.1:9001"
    with pytest.raises(ValidationError, match="page_url must begin with"):
        Settings(page_url="signoff.localhost")


SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def test_webhook_url_and_secret_belong_together_and_are_not_shown() -> None:
    for half in ({"webhook_url": "https://h.example/x"}, {"webhook_secret": SECRET}):
        with pytest.raises(ValidationError, match="belong together"):
            Settings(**half)  # type: ignore[arg-type]  # parsed by pydantic
    settings = Settings(webhook_url="https://h.example/tok3n", webhook_secret=SECRET)
    assert "tok3n" not in repr(settings)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"webhook_url": "http://h.example/tok3n"}, "https"),
        ({"webhook_url": "https://10.0.0.1/tok3n"}, "private"),
        ({"webhook_secret": "hunter2"}, "whsec_"),
    ],
)
def test_a_webhook_that_could_leak_is_refused_without_telling_its_secrets(
    fields: dict[str, str], problem: str
) -> None:
    usual = {"webhook_url": "https://h.example/tok3n", "webhook_secret": SECRET}
    with pytest.raises(ValidationError, match=problem) as refused:
        Settings(**usual | fields)  # type: ignore[arg-type]  # parsed by pydantic
    assert not any(word in str(refused.value) for word in ("tok3n", "hunter2", SECRET))


BOT, APP, SIGNING = "xoxb-1-tok3n", "xapp-1-A0B1C2-tok3n", "hunter2signing"
SLACK = {"slack_bot_token": BOT, "slack_app_token": APP}


def test_slack_is_off_until_a_bot_token_and_a_way_in_are_set_and_secrets_are_not_shown() -> None:
    assert Settings().slack() is None
    assert Settings(slack_bot_token="", slack_app_token="").slack() is None
    settings = Settings(**SLACK, slack_signing_secret=SIGNING)  # type: ignore[arg-type]  # as above
    config = settings.slack()
    assert config is not None
    for shown in (repr(settings), repr(config)):
        assert not any(secret in shown for secret in (BOT, APP, SIGNING))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"slack_bot_token": None}, "slack_bot_token is missing"),
        ({"slack_app_token": None}, "lets no one answer"),
        ({"slack_bot_token": "xoxp-tok3n"}, "must begin with xoxb-"),
        ({"slack_app_token": "xoxb-tok3n"}, "must begin with xapp-"),
        ({"slack_api_url": "http://slack.example/api/"}, "https://"),
        ({"slack_api_url": "http://127.0.0.1.evil.example/api/"}, "https://"),
        ({"slack_api_url": "https://u:tok3n@slack.com/api/"}, "must be an address"),
        ({"slack_team_id": "acme"}, "slack_team_id"),
        ({"slack_reviewers": {"alice": "U1"}}, "slack_reviewers"),
        ({"slack_reviewers": {"*": "alice"}}, "slack_reviewers"),
        ({"slack_email_domains": ("*",)}, "slack_email_domains"),
        ({"slack_email_domains": ("",)}, "slack_email_domains"),
    ],
    ids=str,
)
def test_a_slack_that_would_not_be_safe_is_refused_without_telling_its_secrets(
    fields: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem) as refused:
        Settings(**SLACK | fields)  # type: ignore[arg-type]  # parsed by pydantic
    assert "tok3n" not in str(refused.value)


def test_tokens_of_any_form_are_taken_by_an_emulator_on_this_machine_only() -> None:
    emulated = {"slack_bot_token": "test_token_admin", "slack_signing_secret": SIGNING}
    local = Settings(**emulated, slack_api_url="http://127.0.0.1:4003/api")  # type: ignore[arg-type]  # as above
    config = local.slack()
    assert config is not None
    assert config.api_url == "http://127.0.0.1:4003/api/"
    with pytest.raises(ValidationError, match="xoxb-"):
        Settings(**emulated)  # type: ignore[arg-type]  # as above
