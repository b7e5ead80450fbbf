"""Effects of the sans-I/O workflows: requests, downloads, sleeps, calls of a function.

A workflow is a generator: it yields an effect, is sent its outcome, may have an exception thrown
in, and returns its result. So it needs no network, clock or event loop.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R", bound="BodyReader")

MAX_JSON_BODY = 8 * 1024 * 1024
"""The most bytes of a JSON body."""


class BodyReader(Protocol):
    """Parses a response body block by block and knows whether it is complete.

    Attributes:
        events: The events parsed so far; only these are progress.
        done: Nothing more will come.
        complete: The end of the content was seen, though more may follow it.
        usage: The tokens that the service counted, where it has sent them.
    """

    events: int
    done: bool
    usage: dict[str, Any] | None

    @property
    def complete(self) -> bool: ...

    def feed(self, block: bytes) -> list[Any]:
        """Parse the next bytes; an error after some items is deferred."""
        ...

    def end(self) -> list[Any]:
        """Parse the end of the body, or raise if it is incomplete."""
        ...

    def raise_deferred(self) -> None:
        """Raise the error that was deferred, if any."""
        ...

    def defer_error(self, error: Exception, items: Sequence[Any]) -> None:
        """Keep an error until the items before it were consumed; without items, raise it."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """A `POST` of JSON to the service; its outcome is a `Response`.

    Attributes:
        path: Below the service's base URL, as in `contract.py`.
        body: The JSON object to send.
        timeout: Seconds without progress before the request is given up.
        deadline: When the whole call must be over, on the client's clock.
        send_auth: Whether the API key goes along.
        new_connection: Whether it must not go over a connection that was used before.
    """

    path: str
    body: Mapping[str, Any] = field(repr=False)
    timeout: float = 60.0
    deadline: float | None = None
    send_auth: bool = True
    new_connection: bool = False


@dataclass(frozen=True, slots=True)
class StreamRequest(Request, Generic[R]):
    """A request whose success is parsed by a reader; its outcome is a `StreamResponse`.

    Attributes:
        reader: Makes the parser of the body; it takes the API key, to keep it out of errors.
        collect: Whether the body is read to its end before the outcome is given, so that a retry
            can repeat it; else the stream is still open.
    """

    reader: Callable[[str], R] = field(kw_only=True)
    collect: bool = field(default=True, kw_only=True)


@dataclass(frozen=True, slots=True)
class Resolve:
    """A look-up of the host of a foreign URL; its outcome is a list of IP addresses.

    It is `None` where a proxy is asked for the URL, and looks the name up itself; a host that is
    an address is always returned.
    """

    url: str
    timeout: float
    deadline: float


@dataclass(frozen=True, slots=True)
class Download:
    """A bare `GET` of a foreign URL, without our key; its outcome is a `Response`.

    Redirects are not followed: their response comes back. Only a status of 200 has a body.

    Attributes:
        url: What to fetch.
        max_bytes: The most bytes of the body.
        timeout: Seconds without progress before the download is given up.
        deadline: When it must be over, on the client's clock.
        ip: The address to connect to; by default the host, as a proxy looks it up.
        connect_timeout: Seconds to connect, at most.
    """

    url: str
    max_bytes: int
    timeout: float
    deadline: float
    ip: str | None = None
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: The decoded body up to its bound; empty where a reader took it.
        attempts: The requests that were sent for it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class StreamResponse(Response, Generic[R]):
    """A success whose body is parsed by a reader.

    Attributes:
        reader: The parser of the body.
        items: All that was parsed, where the body was collected.
        stream: Else a generator, async from an async client, of the items of each block; it
            closes the body at its end, or when it is closed.
    """

    reader: R = field(kw_only=True)
    items: list[Any] = field(default_factory=list, kw_only=True)
    stream: Any = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wait, in seconds; its outcome is `None`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Invoke:
    """A function to call, sync or async; its outcome is what the function returns."""

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]]


@dataclass(slots=True)
class Uninterrupted(Generic[T]):
    """A workflow that runs to its end even if its call is cancelled; its outcome is its result.

    Attributes:
        start: Makes the workflow; it takes a function that returns whether the call was cancelled.
        cancelled: Whether it was.
    """

    start: Callable[[Callable[[], bool]], "Workflow[T]"]
    cancelled: bool = False


Effect: TypeAlias = Request | Resolve | Download | Sleep | Invoke | Uninterrupted[Any]
Workflow: TypeAlias = Generator[Effect, Any, T]
Clock: TypeAlias = Callable[[], float]
"""Seconds on a monotonic scale."""
