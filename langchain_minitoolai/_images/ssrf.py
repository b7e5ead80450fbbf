"""SSRF protection: which URLs and IP addresses an image may be downloaded from.

The service says where an image is, and whoever speaks for the service could name a host inside
the user's own network. So only https and public addresses are fetched; where the API itself is on
loopback, as a sandbox is, loopback is allowed too.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai.errors import ImageDownloadError

MAX_REDIRECTS: Final = 3
MAX_URL: Final = 8192
"""The most characters of a URL; signed ones are long."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
# The IANA's registries of special-purpose addresses; what `ipaddress` knows of them differs by
# Python's version.
_SPECIAL_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",
            "100.64.0.0/10",  # carriers' NAT
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local: clouds' metadata
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_SPECIAL_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


def is_image_url(text: object, *, loopback: bool) -> bool:
    """Whether a value of a response is a URL that an image can be downloaded from.

    Args:
        text: Whatever the service put there.
        loopback: Whether the API itself is on loopback.
    """
    return _split(text, loopback=loopback) is not None


def check_url(url: str, *, loopback: bool) -> None:
    """Check a URL before it is fetched.

    Raises:
        ImageDownloadError: If an image may not be downloaded from it.
    """
    parts = _split(url, loopback=loopback)
    if parts is None:
        raise ImageDownloadError("the image's address is no https address of a public host")
    try:
        (parts.hostname or "").encode("idna")
    except UnicodeError:  # a label that is empty or too long
        raise ImageDownloadError("the image's address names no valid host") from None


def pick_addresses(url: str, found: list[str] | None, *, loopback: bool) -> list[str | None]:
    """Return the IP addresses to connect to, if all that a host resolves to are public.

    Args:
        url: What is fetched.
        found: Every address of its host; `None` where a proxy looks the name up.
        loopback: Whether the API itself is on loopback.

    Returns:
        Addresses; `None` is the host's name, for a proxy.

    Raises:
        ImageDownloadError: If there is none, or a single one of them is not public.
    """
    if found is None:
        if not is_loopback(urlsplit(url).hostname):
            return [None]
        found = ["127.0.0.1"]
    if not found:
        raise ImageDownloadError("the image's host has no address")
    for text in found:
        address = _embedded(text)
        if address is None or not (_public(address) or (loopback and address.is_loopback)):
            raise ImageDownloadError("the image's host is not a public address; not fetched")
    return [*found]


def redirect_target(
    address: str, status: int, location: str | None, *, hops: int, loopback: bool
) -> str | None:
    """Return the URL that a response redirects to, or `None` if it is no redirect.

    Args:
        address: What was asked for.
        status: The answer's HTTP status.
        location: Its `Location`.
        hops: How many redirects have been followed.
        loopback: Whether the API itself is on loopback.

    Raises:
        ImageDownloadError: If it redirects once too often, or to where no image may be fetched.
    """
    if status not in _REDIRECTS:
        return None
    if hops >= MAX_REDIRECTS:
        raise ImageDownloadError(f"the image's address redirects more than {MAX_REDIRECTS} times")
    try:
        following = urljoin(address, location or "")
    except ValueError:
        following = ""
    if not location or not is_image_url(following, loopback=loopback):
        raise ImageDownloadError("the image's address redirects to one that is not fetched")
    return following


def _split(text: object, *, loopback: bool) -> SplitResult | None:
    if not isinstance(text, str) or not 0 < len(text) <= MAX_URL:
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
    """Parse an address; of one that embeds an IPv4 address, that."""
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
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    return address in _GLOBAL_UNICAST and not any(address in net for net in _SPECIAL_IPV6)
