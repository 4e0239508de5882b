"""Which addresses a webhook may go to. A name says nothing: what it resolves to when it is called does."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST = 1000
PORTS = {"https": 443, "http": 80}
HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.(?!-)[a-z0-9_-]{1,63})*\.?")
# IPv6 addresses that carry an IPv4 address to which somebody on the way sends the packets.
NAT64 = [ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48")]
COMPATIBLE = ipaddress.IPv6Network("::/96")
SHARED = ipaddress.IPv4Network("100.64.0.0/10")


class BadTarget(ValueError):
    """Nothing may be sent to it; the text says why."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address taken apart: whom to resolve, and what to ask for."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the header `Host`."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == PORTS[self.scheme] else f"{name}:{self.port}"


def endpoint_of(url: str, *, allow_private: bool) -> Endpoint:
    """What the URL names; BadTarget where it is none that a webhook may have, whatever it resolves to."""
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > LONGEST:
        raise BadTarget(f"must have at most {LONGEST} printable ASCII characters and no spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadTarget("cannot be read as an address") from None
    host = (parts.hostname or "").lower()
    if parts.scheme not in PORTS or (parts.scheme == "http" and not allow_private):
        raise BadTarget("must begin with https://")
    if parts.username is not None or parts.password is not None:
        raise BadTarget("must not hold a user name or a password")
    if port == 0:
        raise BadTarget("has port 0")
    literal = literal_of(host)
    if literal is None and (len(host) > 253 or not HOST.fullmatch(host)):
        raise BadTarget("names no host")
    if literal is not None and (why := refused(literal, allow_private=allow_private)):
        raise BadTarget(why)
    if not allow_private and (host.rstrip(".") == "localhost" or host.rstrip(".").endswith(".localhost")):
        raise BadTarget("is this machine itself")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Endpoint(parts.scheme, host, port or PORTS[parts.scheme], path)


def literal_of(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 address carries, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour or address
    if address.teredo:
        return address.teredo[1]
    if any(address in network for network in NAT64) or (address in COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def refused(address: Address, *, allow_private: bool) -> str:
    """Why nothing may be sent to the address; empty where it may. Link-local ones, where clouds keep what their machines
    are allowed, are refused whatever is allowed."""
    inner = carried(address)
    for never, word in (
        (inner.is_unspecified, "no address of a machine"),
        (inner.is_multicast or address.is_multicast, "a multicast address"),
        (inner.is_link_local, "a link-local address"),
        (str(inner) == "255.255.255.255", "a broadcast address"),
    ):
        if never:
            return f"{address} is {word}"
    if allow_private:
        return ""
    if inner.is_loopback:
        return f"{address} is this machine itself"
    shared = isinstance(inner, ipaddress.IPv4Address) and inner in SHARED
    site = isinstance(inner, ipaddress.IPv6Address) and inner.is_site_local
    if inner.is_private or inner.is_reserved or shared or site or not inner.is_global:
        return f"{address} is a private or reserved address"
    return ""
