"""SSRF protection: which URLs and IP addresses an image may be downloaded from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai._images.ssrf import (
    check_url,
    is_image_url,
    pick_addresses,
    redirect_target,
)
from langchain_minitoolai.errors import ImageDownloadError

URL = "https://cdn.example.com/a.png"


@pytest.mark.parametrize(
    "address", ["https://cdn.example.com/a.png?sig=1", "https://8.8.8.8:8443/a", "HTTPS://x.no/a"]
)
def test_an_https_address_is_one_an_image_can_lie_at(address: str) -> None:
    assert is_image_url(address, loopback=False)


@pytest.mark.parametrize(
    "address",
    [
        None,
        17,
        "",
        "a.png",
        "/a.png",
        "http://cdn.example.com/a.png",
        "http://127.0.0.1:8000/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "https://",
        "https:///a.png",
        "https://user@example.com/a",
        "https://:secret@example.com/a",
        "https://example.com:0/a",
        "https://example.com:99999/a",
        "https://[::1/a",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com\\@127.0.0.1/a",
        "https://example.com/" + "a" * 9000,
    ],
)
def test_anything_else_is_not(address: object) -> None:
    assert not is_image_url(address, loopback=False)
    if isinstance(address, str):
        with pytest.raises(ImageDownloadError, match="no https address"):
            check_url(address, loopback=False)


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".com"])
def test_a_host_that_can_not_be_resolved_is_not_fetched_from(host: str) -> None:
    assert is_image_url(f"https://{host}/x.png", loopback=False)
    with pytest.raises(ImageDownloadError, match="no valid host"):
        check_url(f"https://{host}/x.png", loopback=False)


def test_plain_http_is_fine_on_loopback_when_the_api_is_there_too() -> None:
    assert is_image_url("http://127.0.0.1:8000/a.png", loopback=True)
    assert is_image_url("http://localhost:8000/a.png", loopback=True)
    assert not is_image_url("http://example.com/a.png", loopback=True)


@given(st.text())
def test_no_text_makes_the_reader_of_addresses_fail(text: str) -> None:
    assert is_image_url("https://" + text, loopback=True) in (True, False)
    assert is_image_url(text, loopback=False) in (True, False)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("app.localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("example.com", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_is_known_by_name_and_number(host: str, *, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104 - not bound to
        "224.0.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fc00::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::",
        "64:ff9b::a00:1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "ff0e::1",
        "fec0::1",
        "192.0.0.8",
        "192.0.0.170",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.7",
        "255.255.255.255",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:20::1",
        "2001:db8::1",
        "2002::1",
        "3fff::1",
        "5f00::1",
        "::8.8.8.8",
        "nonsense",
    ],
)
def test_an_address_that_is_not_public_is_not_connected_to(address: str) -> None:
    with pytest.raises(ImageDownloadError, match="not a public address"):
        pick_addresses(URL, [address], loopback=False)
    with pytest.raises(ImageDownloadError, match="not a public address"):
        pick_addresses(URL, ["8.8.8.8", address], loopback=False)


@pytest.mark.parametrize("host", ["cdn.example.com", "intranet"])
def test_a_name_that_a_proxy_looks_up_is_left_to_it(host: str) -> None:
    assert pick_addresses(f"https://{host}/a.png", None, loopback=False) == [None]


def test_a_proxy_is_not_asked_for_its_own_loopback() -> None:
    with pytest.raises(ImageDownloadError, match="not a public address"):
        pick_addresses("https://localhost/a.png", None, loopback=False)
    assert pick_addresses("http://localhost/a.png", None, loopback=True) == ["127.0.0.1"]


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_pinned(address: str) -> None:
    assert pick_addresses(URL, [address, "1.1.1.1"], loopback=False) == [address, "1.1.1.1"]


def test_loopback_is_connected_to_only_when_the_api_is_there_too() -> None:
    assert pick_addresses(URL, ["127.0.0.1"], loopback=True) == ["127.0.0.1"]
    with pytest.raises(ImageDownloadError):
        pick_addresses(URL, ["10.0.0.1"], loopback=True)


def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(ImageDownloadError, match="no address"):
        pick_addresses(URL, [], loopback=False)


def test_a_redirect_is_resolved_against_what_was_asked_for() -> None:
    def following(location: str, hops: int = 0) -> str | None:
        return redirect_target("https://a.no/x/y", 302, location, hops=hops, loopback=False)

    assert following("z.png") == "https://a.no/x/z.png"
    assert following("//b.no/z.png") == "https://b.no/z.png"
    assert following("https://b.no/z.png", hops=2) == "https://b.no/z.png"


def test_an_answer_that_is_no_redirect_redirects_nowhere() -> None:
    assert redirect_target("https://a.no/", 200, "https://b.no/", hops=0, loopback=False) is None


@pytest.mark.parametrize("location", [None, "", "http://a.no/z", "file:///etc/passwd", "//[z"])
def test_a_redirect_to_where_no_image_lies_is_refused(location: str | None) -> None:
    with pytest.raises(ImageDownloadError, match="redirects to one"):
        redirect_target("https://a.no/x", 302, location, hops=0, loopback=False)


def test_the_fourth_redirect_is_refused() -> None:
    with pytest.raises(ImageDownloadError, match="more than 3 times"):
        redirect_target("https://a.no/x", 302, "/y", hops=3, loopback=False)
