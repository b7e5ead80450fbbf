"""SSRF protection: which URLs and IP addresses an image may be downloaded from.

The service says where an image is, and whoever speaks for the service could name a host inside
the user's own network. So only https and public addresses are fetched; where the API itself is on
loopback, as a sandbox is, loopback is allowed too.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai.errors import ImageDownloadError

MAX_REDIRECTS: Final = 3
MAX_URL: Final = 8192
"""The most characters of a URL; signed ones are long."""

_NAT64: Final = ip_network("64:ff9b::/96")
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


def pick_public_ip(found: list[str], *, loopback: bool) -> str:
    """Return the IP address to connect to, if all that a host resolves to are public.

    Args:
        found: Every address that the name resolves to.
        loopback: Whether the API itself is on loopback.

    Raises:
        ImageDownloadError: If there is none, or a single one of them is not public.
    """
    if not found:
        raise ImageDownloadError("the image's host has no address")
    for text in found:
        address = _embedded(text)
        if address is None or not (_public(address) or (loopback and address.is_loopback)):
            raise ImageDownloadError("the image's host is not a public address; not fetched")
    return found[0]


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
    return address.is_global and not (address.is_multicast or address.is_reserved)
