"""What goes over the wire: requests not yet sent, and what came of them.

A flow (see `_flows.py`) yields these and is sent the outcome; it never acts itself.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A request not yet sent: always `POST`, always JSON.

    Attributes:
        path: Below the service's base address, as in `contract.py`.
        body: The JSON object to send.
        timeout: Seconds without progress before the call is given up.
        deadline: When the whole call must be over, on the shell's clock.
        send_auth: Whether the API key goes along.
        new_connection: Whether it must not go over a connection that was used before.
        response_mode: What a success gives: `"body"` its bytes, `"answer"` the whole chat answer,
            `"stream"` the answer still open. Any other status gives its bytes.
    """

    path: str
    body: Mapping[str, Any] = field(repr=False)
    timeout: float = 60.0
    deadline: float | None = None
    send_auth: bool = True
    new_connection: bool = False
    response_mode: Literal["body", "answer", "stream"] = "body"


@dataclass(frozen=True, slots=True)
class Response:
    """What the service answered; the outcome of a `Request`.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: The body, at most a few MiB of it, decoded, and without our key. Empty when
            the answer is read as a chat answer.
        answer: The whole chat answer (`_answers.Answer`), or the open one.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    answer: Any = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wait, in seconds; its outcome is `None`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Invoke:
    """Something to do that is neither a request nor a wait, in both colours.

    Its outcome is what the function returned; what it raises is thrown into the flow.
    """

    run: Callable[[], Any]
    arun: Callable[[], Awaitable[Any]]


Effect: TypeAlias = Request | Sleep | Invoke
Workflow: TypeAlias = Generator[Effect, Any, T]
Clock: TypeAlias = Callable[[], float]
"""Seconds on a monotonic scale."""
