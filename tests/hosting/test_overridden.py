"""What we override of libraries without their promise is there as we know it.

Their minor versions are capped in pyproject.toml; who raises a cap sees here what to look at.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import httptools
import pytest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from approvals.slack.socket import _Client
from gateway.hosting.connection import Connection

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
OURS = {
    Connection: (
        HttpToolsProtocol,
        {
            "connection_made": ["transport"],
            "connection_lost": ["exc"],
            "data_received": ["data"],
            "on_message_begin": [],
            "on_header": ["name", "value"],
            "on_headers_complete": [],
            "on_body": ["body"],
            "on_message_complete": [],
            "on_response_complete": [],
        },
    ),
    _Client: (SocketModeClient, {"connect_to_new_endpoint": ["force"]}),
}


@pytest.mark.parametrize("ours", OURS, ids=lambda ours: ours.__name__)
def test_what_is_overridden_exists_and_takes_what_ours_takes(ours: type) -> None:
    theirs, methods = OURS[ours]
    assert theirs in ours.__mro__
    mine = {name for name, one in vars(ours).items() if callable(one) and hasattr(theirs, name)}
    assert mine - {"__init__", "__doc__", "__module__"} == set(methods)
    for name, parameters in methods.items():
        assert list(_parameters(theirs, name)) == parameters == list(_parameters(ours, name)), name


def _parameters(of: type, name: str) -> list[str]:
    found: Any = inspect.signature(getattr(of, name)).parameters
    return [one for one in found if one != "self"]


def test_the_attributes_that_are_read_are_set_there() -> None:
    source = inspect.getsource(HttpToolsProtocol.__init__)
    for name in ("transport", "loop", "cycle", "pipeline"):
        assert re.search(rf"self\.{name}\b", source), name
    assert httptools.HttpRequestParser is not None


@pytest.mark.parametrize("name", ["uvicorn", "slack-sdk", "httptools"])
def test_the_minor_version_is_capped(name: str) -> None:
    line = re.search(rf'"{name}>=([\d.]+),<([\d.]+)"', PYPROJECT.read_text(encoding="utf-8"))
    assert line is not None
