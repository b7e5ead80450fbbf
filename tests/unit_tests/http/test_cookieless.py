"""Clients that take no cookies."""

import httpx
import pytest

from langchain_minitoolai._cookieless import CookielessAsyncClient, CookielessClient

ANSWER = {"set-cookie": "visitor=17; Path=/"}


def test_a_client_takes_no_cookie_and_sends_none() -> None:
    sent: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        return httpx.Response(200, headers=ANSWER)

    with CookielessClient(transport=httpx.MockTransport(answer)) as client:
        for _ in range(2):
            client.get("https://service.test/")
    assert ["cookie" in headers for headers in sent] == [False, False]


async def test_an_async_client_takes_no_cookie_and_sends_none() -> None:
    sent: list[httpx.Headers] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers)
        return httpx.Response(200, headers=ANSWER)

    async with CookielessAsyncClient(transport=httpx.MockTransport(answer)) as client:
        for _ in range(2):
            await client.get("https://service.test/")
    assert ["cookie" in headers for headers in sent] == [False, False]


@pytest.mark.parametrize("kind", [CookielessClient, CookielessAsyncClient])
def test_nobody_can_replace_the_empty_jar(kind: type[CookielessClient]) -> None:
    with pytest.raises(AttributeError):
        kind().cookies = httpx.Cookies()  # type: ignore[misc]
