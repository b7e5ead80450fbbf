"""Downloads of images: redirects, retries, bounds and errors, without a network."""

from collections.abc import Sequence

import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._image_files import MAX_BYTES
from langchain_minitoolai._images.download import fetch_image
from langchain_minitoolai.errors import ImageDownloadError
from tests.unit_tests.fake_driver import FakeDriver

URL = "https://cdn.example.com/a.png"
File = bytes | Response | Exception


def fetch(
    *files: File,
    url: str = URL,
    loopback: bool = False,
    seconds: float = 60.0,
    addresses: Sequence[str] | None = ("8.8.8.8",),
) -> tuple[bytes, FakeDriver]:
    driver = FakeDriver(downloads=files, addresses=addresses)
    workflow = fetch_image(
        url, loopback=loopback, clock=driver.clock, deadline=driver.now + seconds
    )
    return driver.run(workflow), driver


def redirect(location: str | None, status: int = 302) -> Response:
    return Response(status, {} if location is None else {"location": location})


def test_an_image_is_fetched_within_its_bounds() -> None:
    data, driver = fetch(b"bytes", seconds=20.0)
    (sent,) = driver.downloads
    assert data == b"bytes"
    assert (sent.url, sent.max_bytes, sent.timeout, sent.deadline) == (URL, MAX_BYTES, 20.0, 1020.0)


@pytest.mark.parametrize("found", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["fec0::1"], []])
def test_only_public_addresses_are_connected_to(found: list[str]) -> None:
    driver = FakeDriver(downloads=[b"x"], addresses=found)
    with pytest.raises(ImageDownloadError, match="address"):
        driver.run(fetch_image(URL, loopback=False, clock=driver.clock, deadline=2000.0))
    assert driver.downloads == []


def test_loopback_is_connected_to_where_the_api_is_there_too() -> None:
    url = "http://127.0.0.1:8000/a.png"
    _, driver = fetch(b"x", url=url, loopback=True, addresses=["127.0.0.1"])
    assert driver.downloads[0].ip == "127.0.0.1"
    with pytest.raises(ImageDownloadError, match="no https"):
        fetch(url=url)


def unreachable() -> errors.APIConnectionError:
    error = errors.APIConnectionError("refused")
    error.maybe_sent = False
    return error


def test_every_address_of_a_host_is_tried_in_turn() -> None:
    addresses = ["8.8.8.8", "2606:4700::1111", "1.1.1.1", "9.9.9.9"]
    data, driver = fetch(unreachable(), unreachable(), b"x", addresses=addresses)
    assert (data, driver.sleeps) == (b"x", [])
    assert [sent.ip for sent in driver.downloads] == addresses[:3]
    assert [sent.connect_timeout for sent in driver.downloads] == [2.5] * 3


def test_where_no_address_answers_all_are_tried_again() -> None:
    with pytest.raises(ImageDownloadError, match="can't be fetched: refused") as caught:
        fetch(*[unreachable()] * 6, addresses=["8.8.8.8", "1.1.1.1"])
    assert caught.value.is_retryable


def test_an_address_that_took_the_request_is_the_last_one() -> None:
    data, driver = fetch(errors.APIConnectionError("broke"), b"x", addresses=["8.8.8.8", "1.1.1.1"])
    assert [sent.ip for sent in driver.downloads] == ["8.8.8.8", "8.8.8.8"]
    assert (data, driver.sleeps) == (b"x", [0.5])


def test_a_proxy_looks_the_name_up() -> None:
    _, driver = fetch(b"x", addresses=None)
    assert (driver.resolved, driver.downloads[0].ip) == ([URL], None)


def test_a_download_cut_short_is_tried_again() -> None:
    data, driver = fetch(errors.StreamInterruptedError("cut"), b"whole")
    assert (data, driver.sleeps) == (b"whole", [0.5])


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".com"])
def test_a_host_that_is_none_is_an_error_before_anything_is_sent(host: str) -> None:
    with pytest.raises(ImageDownloadError, match="no valid host"):
        fetch(url=f"https://{host}/x.png")
    with pytest.raises(ImageDownloadError, match="no valid host"):
        fetch(redirect(f"https://{host}/x.png"))


def test_each_redirect_is_checked_and_sent_anew() -> None:
    _, driver = fetch(redirect("//other.example.com/b"), redirect("/c", 307), b"c")
    assert [sent.url for sent in driver.downloads] == [
        URL,
        "https://other.example.com/b",
        "https://other.example.com/c",
    ]


@pytest.mark.parametrize("location", ["http://10.0.0.1/", None])
def test_a_redirect_to_what_is_not_fetched_is_an_error(location: str | None) -> None:
    with pytest.raises(ImageDownloadError, match="redirects to one that is not fetched"):
        fetch(redirect(location))


def test_more_than_three_redirects_are_an_error() -> None:
    with pytest.raises(ImageDownloadError, match="more than 3"):
        fetch(*[redirect("/a.png")] * 4)


@pytest.mark.parametrize("status", [404, 408, 429, 500, 503, 524])
def test_what_may_pass_is_tried_three_times(status: int) -> None:
    passing = Response(status, {})
    data, driver = fetch(passing, passing, b"x")
    assert (data, driver.sleeps) == (b"x", [0.5, 1.0])
    with pytest.raises(ImageDownloadError, match=f"HTTP {status}") as caught:
        fetch(passing, passing, passing)
    assert caught.value.status_code == status


@pytest.mark.parametrize("status", [206, 400, 403, 410])
def test_any_other_status_is_an_error_at_once(status: int) -> None:
    with pytest.raises(ImageDownloadError, match=f"HTTP {status}") as caught:
        fetch(Response(status, {}))
    assert not caught.value.is_retryable


def test_a_connection_that_breaks_is_tried_again_and_a_stall_is_not() -> None:
    data, _ = fetch(errors.APIConnectionError("broke"), b"x")
    assert data == b"x"
    for failure in (errors.APITimeoutError("late"), errors.InvalidResponseError("too large")):
        with pytest.raises(ImageDownloadError, match="can't be fetched"):
            fetch(failure)


def test_the_last_failure_of_a_connection_is_given() -> None:
    with pytest.raises(ImageDownloadError, match="can't be fetched: broke"):
        fetch(*[errors.APIConnectionError("broke")] * 3)


def test_an_address_that_is_refused_by_its_ip_is_not_tried_again() -> None:
    refused = ImageDownloadError("not a public address")
    with pytest.raises(ImageDownloadError, match="not a public"):
        fetch(refused)


def test_no_time_left_is_an_error_before_anything_is_sent() -> None:
    with pytest.raises(ImageDownloadError, match="no time was left"):
        fetch(seconds=0.0)
