"""Where calls go and as whom: requests built, replies taken."""

from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import httpx
from pydantic_core import to_json

from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.effects import Request, Response
from langchain_minitoolai._http.pool import Network
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import InvalidInputError

_SHOWN: Final = 60

_HEADERS: Final = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"langchain-minitoolai/{__version__}",
}


class Endpoint:
    """Where calls go, and as whom: what both shells share.

    Attributes:
        place: The service's host and port, for errors.
    """

    def __init__(
        self, network: Network, base: str, key: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Keep the facts; nothing is opened.

        Args:
            network: Lends the connections.
            base: The service's address, without a slash at its end.
            key: The API key.
            headers: Headers for every request.
        """
        self.network = network
        self.secret = key
        self._base = base
        self.place = _place(httpx.URL(base))
        self._auth = _KeyAuth(key)
        self._headers = httpx.Headers(_HEADERS)
        self._headers.update(headers)
        self._urls: dict[str, httpx.URL] = {}

    def request(self, call: Request, budget: Budget) -> httpx.Request:
        """Build the request; the key is not in it yet.

        Raises:
            InvalidInputError: If the body holds what JSON can't.
        """
        content = _json(call.body)
        url = self._urls.get(call.path)
        if url is None:
            url = self._urls[call.path] = httpx.URL(self._base + call.path)
        # A stream and whole headers spare httpx most of the work of building a request.
        headers = self._headers.copy()
        headers.setdefault("Host", url.netloc.decode("ascii"))
        headers["Content-Length"] = str(len(content))
        return httpx.Request(
            "POST",
            url,
            headers=headers,
            stream=httpx.ByteStream(content),
            extensions=budget.extensions(),
        )

    def auth(self, call: Request) -> httpx.Auth | None:
        """Give what sets the key, if the call takes it along."""
        return self._auth if call.send_auth else None

    def reply(self, response: httpx.Response, body: bytes = b"", answer: Any = None) -> Response:
        """Make a reply, its body without our key."""
        if body and self.secret:
            body = body.replace(self.secret.encode(), b"[key]")
        return Response(response.status_code, response.headers, body, answer)


def _place(url: httpx.URL) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port or (443 if url.scheme == 'https' else 80)}"


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return to_json(body)
    except ValueError:
        place, value = next(_unwritable(body, ""), ("the request", "something"))
    raise InvalidInputError(f"{place} is {value}; allowed: what JSON can hold, in valid Unicode")


def _unwritable(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Find what can't be written: where it stands, and what it is."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _unwritable(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _unwritable(inner, f"{place}[{index}]")
    else:
        try:
            to_json(value)
        except ValueError:
            text = ascii(value)
            yield place, text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class _KeyAuth(httpx.Auth):
    """Sets the API key when a request is sent, and not before."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request
