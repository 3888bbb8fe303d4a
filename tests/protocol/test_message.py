"""Words that others define, too."""

from __future__ import annotations

from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

from gateway.protocol.message import HTTP_STATUS


def test_errors_have_the_http_status_the_sdk_gives_them() -> None:
    assert dict(ERROR_CODE_HTTP_STATUS) == HTTP_STATUS
