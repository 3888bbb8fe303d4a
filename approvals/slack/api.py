"""Slack's Web API through slack_sdk: one client that reads, one that writes, three kinds of error.

Reads are repeated when the connection drops; a write never is, for Slack may have done it: who
writes decides what to do about that. Reads are POSTed, as Slack takes both and emulators do not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_async_handlers import AsyncConnectionErrorRetryHandler
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient

SECONDS: Final = 8.0
"""For one call, from connecting to the last byte of the answer."""

_AGAIN: Final = 0.2  # seconds until a read whose connection dropped is repeated
_TOO_MANY, _BROKEN = 429, 500

TOKEN: Final = frozenset(
    (
        *("invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired"),
        *("no_permission", "missing_scope", "not_allowed_token_type", "org_login_required"),
        *("team_access_not_granted", "ekm_access_denied", "access_denied", "is_bot"),
        *("enterprise_is_restricted", "two_factor_setup_required", "accesslimited"),
    )
)
"""Errors of the token or the app: nothing at all will work until an operator acts."""

CHANNEL: Final = frozenset(
    (
        *("channel_not_found", "is_archived", "not_in_channel", "restricted_action"),
        *("restricted_action_read_only_channel", "restricted_action_thread_only_channel"),
        *("restricted_action_non_threadable_channel", "cannot_dm_bot", "user_not_found"),
        *("user_disabled", "messages_tab_disabled", "user_is_bot", "user_is_restricted"),
        *("cannot_reply_to_message", "not_allowed_for_channel", "method_not_supported_for_channel"),
    )
)
"""Errors of one channel: nothing can be posted there until a person acts."""

GONE: Final = frozenset(
    ("message_not_found", "cant_update_message", "edit_window_closed", "thread_not_found")
)
"""Errors of one message: it is not there any more, or not ours to change."""

CONTENT: Final = frozenset(
    (
        *("invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long"),
        *("no_text", "invalid_metadata_format", "invalid_metadata_schema", "metadata_too_large"),
        *("invalid_arguments", "markdown_text_conflict", "block_mismatch"),
    )
)
"""Errors of what we sent: sending the same again will not help."""

_UNCERTAIN: Final = frozenset(
    ("internal_error", "fatal_error", "service_unavailable", "request_timeout")
)
"""Of these Slack says that some of it may have been done."""

_LIMITED: Final = frozenset(("ratelimited", "rate_limited", "message_limit_exceeded"))


class Limited(Exception):
    """Slack wants to be left alone for `after` seconds. Nothing was done."""

    def __init__(self, after: float) -> None:
        super().__init__("ratelimited")
        self.after = after


class Unreachable(Exception):
    """There was no answer that says what happened. `acted`: it may have been done nevertheless."""

    def __init__(self, why: str, *, acted: bool) -> None:
        super().__init__(why)
        self.acted = acted


class Denied(Exception):
    """Slack said no. `code` is its word, `needed` the scope that is missing, else ""."""

    def __init__(self, code: str, needed: str = "") -> None:
        super().__init__(f"{code} ({needed})" if needed else code)
        self.code = code
        self.needed = needed


class SlackApi:
    """The two clients. `opened` makes one."""

    def __init__(self, reads: AsyncWebClient, writes: AsyncWebClient) -> None:
        self._reads = reads
        self._writes = writes

    async def read(self, method: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The answer of a method that changes nothing; repeated once when the connection drops.

        Raises:
            Limited, Unreachable, Denied.
        """
        return await _call(self._reads, method, data=dict(params or {}))

    async def write(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a method that changes something. Tried once.

        Raises:
            Limited, Unreachable, Denied.
        """
        return await _call(self._writes, method, json=dict(params))


@asynccontextmanager
async def opened(token: str, api_url: str, *, seconds: float = SECONDS) -> AsyncIterator[SlackApi]:
    """The clients for the length of the block. `api_url` ends in a slash."""
    limit = aiohttp.ClientTimeout(total=seconds)
    # A kept connection that Slack has closed meanwhile makes a write fail in doubt: writes get a
    # fresh one each. slack_sdk's rate limit handler is left out: it sleeps inside the call, and
    # reads "30" as 3.
    async with (
        aiohttp.ClientSession(timeout=limit) as kept,
        aiohttp.ClientSession(
            timeout=limit, connector=aiohttp.TCPConnector(force_close=True)
        ) as fresh,
    ):
        yield SlackApi(
            AsyncWebClient(
                token,
                api_url,
                session=kept,
                retry_handlers=[
                    AsyncConnectionErrorRetryHandler(1, FixedValueRetryIntervalCalculator(_AGAIN))
                ],
            ),
            AsyncWebClient(token, api_url, session=fresh, retry_handlers=[]),
        )


async def _call(client: AsyncWebClient, method: str, **sent: Any) -> dict[str, Any]:
    try:
        answer = await client.api_call(method, http_verb="POST", **sent)
    except SlackApiError as error:
        raise _understood(error.response) from None
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(type(error).__name__, acted=False) from error
    except (aiohttp.ClientError, SlackClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(type(error).__name__, acted=True) from error
    except AttributeError as error:  # slack_sdk's own, at a 200 that is no JSON
        raise Unreachable(type(error).__name__, acted=True) from error
    return answer.data if isinstance(answer.data, dict) else {}


def _understood(response: Any) -> Exception:
    """What a failed answer means. It may be Slack's, a proxy's, or no JSON at all."""
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    data = getattr(response, "data", None)
    told = data if isinstance(data, dict) else {}
    code = str(told.get("error") or f"http_{status}")
    if status == _TOO_MANY or code in _LIMITED:
        return Limited(_seconds(getattr(response, "headers", None)))
    if status >= _BROKEN or code in _UNCERTAIN or "ok" not in told:
        return Unreachable(code, acted=True)
    return Denied(code, str(told.get("needed") or ""))


def _seconds(headers: Mapping[str, str] | None) -> float:
    """Retry-After, at least a second, at most an hour."""
    for name, value in (headers or {}).items():
        if name.lower() == "retry-after" and value.strip().isdigit():
            return min(3_600.0, max(1.0, float(value)))
    return 1.0
