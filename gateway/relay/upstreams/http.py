"""A server reached by URL: Streamable HTTP over one pooled aiohttp session.

Knows bytes and headers, not messages. Redirects are never followed: a server's address is the
operator's to set, and a redirect could send an approved call somewhere no one approved.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.relay.upstreams.upstream import NotSent, OutcomeUnknown, Request

#: Below the five seconds after which common servers close an idle connection: a call must not
#: become "outcome unknown" because it was written onto a connection that was just being closed.
KEEPALIVE_SECONDS = 4.0
CONNECT_SECONDS = 10.0

_PASSED_ON = ("retry-after", "mcp-protocol-version", "allow")
_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Accept-Encoding": "identity",
    "User-Agent": "signoff",
}


def pooled_session() -> aiohttp.ClientSession:
    """The one client session of a gateway: made inside the running loop, closed at its end."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_SECONDS, enable_cleanup_closed=True
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers=_HEADERS,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=False,
        read_bufsize=256 * 1024,
    )


class HttpAnswer:
    """An answer being read. See `upstream.Answer`."""

    __slots__ = ("_response", "content_type", "headers", "session", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        headers = response.headers
        self._response = response
        self.status = response.status
        self.content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self.session = headers.get("Mcp-Session-Id", "")
        self.headers: Mapping[str, str] = MappingProxyType(
            {name: headers[name] for name in _PASSED_ON if name in headers}
        )

    async def body(self) -> AsyncIterator[bytes]:
        content = self._response.content
        try:
            while chunk := await content.readany():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknown(type(error).__name__) from error

    async def aclose(self) -> None:
        # A response that came to its end has given its connection back by itself. Otherwise it is
        # closed, which is how Streamable HTTP cancels (2026-07-28, patterns/cancellation).
        if not self._response.closed:
            self._response.close()


class HttpUpstream:
    """One server at one URL. See `upstream.Upstream`."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: float,
        client: aiohttp.ClientSession,
    ) -> None:
        self.name = name
        self._url = URL(url)
        self._client = client
        self._base = CIMultiDict({"Content-Type": "application/json", **headers})
        # A silent stream is normal for GET and subscriptions; a request must say something.
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=timeout
        )

    async def send(self, request: Request) -> HttpAnswer:
        headers = self._base.copy()
        if request.protocol:
            headers["MCP-Protocol-Version"] = request.protocol
        if request.session:
            headers["Mcp-Session-Id"] = request.session
        headers.update(request.headers)
        streaming = request.method == "GET" or request.rpc_method == "subscriptions/listen"
        if request.method != "POST":
            del headers["Content-Type"]
        try:
            response = await self._client.request(
                request.method,
                self._url,
                data=request.body or None,
                headers=headers,
                allow_redirects=False,
                timeout=_ENDLESS if streaming else self._timeout,
            )
        except aiohttp.ClientConnectorError as error:
            raise NotSent(type(error).__name__) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSent(type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise OutcomeUnknown(type(error).__name__) from error
        except ValueError as error:  # address and headers do not go together: no request was made
            raise NotSent(type(error).__name__) from error
        return HttpAnswer(response)

    async def ready(self, request: Request) -> None:
        """There is nothing to open: sessions are the agent's, or the bridge's."""

    async def aclose(self) -> None:
        """Nothing of its own to close: the session is the gateway's."""


_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None)
