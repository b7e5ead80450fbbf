"""Which addresses a picture may be fetched from: decisions, without a socket.

The service says where a picture lies, and who speaks for the service could name a host inside
this machine's own network. So only https and public addresses are fetched; where the API
itself is on loopback, as a sandbox is, loopback is as good.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from langchain_minitoolai.errors import ImageDownloadError

MAX_REDIRECTS: Final = 3
LONGEST: Final = 8192
"""The most characters of an address; signed addresses are long."""

_NAT64: Final = ip_network("64:ff9b::/96")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class Target(NamedTuple):
    """What to connect to."""

    scheme: str
    host: str
    port: int


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_picture_address(text: object, *, loopback: bool) -> bool:
    """Tell whether an answer's value is an address that a picture can lie at.

    Args:
        text: Whatever the service put there.
        loopback: Whether the API itself is on loopback.
    """
    return _split(text, loopback=loopback) is not None


def target(address: str, *, loopback: bool) -> Target:
    """Say what to connect to for an address.

    Raises:
        ImageDownloadError: If it is no address that a picture may be fetched from.
    """
    parts = _split(address, loopback=loopback)
    if parts is None:
        raise ImageDownloadError("the picture's address is no https address of a public host")
    default = 443 if parts.scheme == "https" else 80
    return Target(parts.scheme, parts.hostname or "", parts.port or default)


def check_resolved(found: list[str], *, loopback: bool) -> str:
    """Give the one IP address to connect to, after a look at all that a name resolves to.

    Args:
        found: Every address that the name resolves to.
        loopback: Whether the API itself is on loopback.

    Raises:
        ImageDownloadError: If there is none, or a single one of them is not public.
    """
    if not found:
        raise ImageDownloadError("the picture's host has no address")
    for text in found:
        address = _embedded(text)
        if address is None or not (_public(address) or (loopback and address.is_loopback)):
            raise ImageDownloadError("the picture's host is not a public address; not fetched")
    return found[0]


def redirected(
    address: str, status: int, location: str | None, *, hops: int, loopback: bool
) -> str | None:
    """Give the address that an answer redirects to, or `None` if it is no redirect.

    Args:
        address: What was asked for.
        status: The answer's HTTP status.
        location: Its `Location`.
        hops: How many redirects have been followed.
        loopback: Whether the API itself is on loopback.

    Raises:
        ImageDownloadError: If it redirects once too often, or to where no picture may be fetched.
    """
    if status not in _REDIRECTS:
        return None
    if hops >= MAX_REDIRECTS:
        raise ImageDownloadError(f"the picture's address redirects more than {MAX_REDIRECTS} times")
    try:
        following = urljoin(address, location or "")
    except ValueError:
        following = ""
    if not location or not is_picture_address(following, loopback=loopback):
        raise ImageDownloadError("the picture's address redirects to one that is not fetched")
    return following


def _split(text: object, *, loopback: bool) -> SplitResult | None:
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST:
        return None
    if not text.isprintable() or any(character in text for character in " \\"):
        return None
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or port == 0 or parts.username is not None or parts.password is not None:
        return None
    near = loopback and is_loopback(host)
    return parts if parts.scheme == "https" or (parts.scheme == "http" and near) else None


def _embedded(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, and where it is a wrapping of an IPv4 address, what it wraps."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        teredo = address.teredo[1] if address.teredo else None
        return address.ipv4_mapped or address.sixtofour or teredo or address
    return address


def _public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)
