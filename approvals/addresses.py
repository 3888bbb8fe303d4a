"""Which addresses a notifier may talk to: the public internet, or this very machine. Pure.

Private networks, link-local metadata services and their spellings inside IPv6 are refused.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether the address belongs to the public internet. False for what is no address."""
    parsed = _parsed(address)
    if parsed is None:
        return False
    inner = _inside(parsed)
    if inner is not None:
        return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


def is_loopback(host: str) -> bool:
    """Whether the host, as written in a URL, is this machine."""
    parsed = _parsed(host)
    return host.lower() == "localhost" if parsed is None else parsed.is_loopback


def is_own_machine(host: str) -> bool:
    """Whether the host, as written in a URL or a Host header, leads browsers to their own machine,
    where every program may listen at another port of the same name.
    """
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    parsed = _parsed(name)
    inner = parsed if parsed is None else _inside(parsed) or parsed
    return inner is not None and (inner.is_loopback or inner.is_unspecified)


def url_problem(url: str, *, allow_private: bool) -> str | None:
    """Why nothing may be sent to this URL; None if it may. Names are looked up when sending."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host:
        return "must begin with https:// and name a host"
    if parts.username is not None or parts.password is not None:
        return "must carry no user name and no password"
    if parts.scheme == "http" and not is_loopback(host):
        return "must begin with https://, for what is sent names people and calls"
    numeric = _parsed(host) is not None
    if numeric and not (allow_private or is_loopback(host) or is_public(host)):
        return "names a private address"
    return None


def _parsed(address: str) -> Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _inside(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one carries, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
