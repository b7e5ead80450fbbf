"""Faults to script with `Service.fault`: what a service or a network can do wrong.

    answers in place of the service's own    status, html_page, submission_refused
    the connection                           cut, drop, stall
    inside a chat's stream                   garbled, error_event, and cut and stall after n events
    the outcome of a submitted image         job_fails, job_vanishes, job_never_ends

A fault with `charged=True` strikes after the request was carried out and paid for: the
answer is lost, the charge is not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias, TypeGuard

Route = Literal["chat", "image", "job", "file"]
"""The kind of request: an answer, a new image, a job's status, or a finished image."""

Ending = Literal["break", "clean", "reset"]


@dataclass(frozen=True, slots=True)
class ReplaceResponse:
    """Another answer in place of the service's own."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    charged: bool = False
    after: ClassVar[None] = None


@dataclass(frozen=True, slots=True)
class Break:
    """The connection ends: before any answer (`after=None`), or after so many events."""

    after: int | None = None
    ending: Ending = "break"
    charged: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing comes for `seconds`: before the headers (`after=None`), or after so many events.

    `comments` is the interval of keep-alive comments in seconds; zero sends none.
    """

    after: int | None = None
    seconds: float = 3600.0
    comments: float = 0.0
    charged: bool = False


@dataclass(frozen=True, slots=True)
class Insert:
    """Bytes put into the stream after so many events, which may be the last of it."""

    after: int
    data: bytes
    last: bool = False


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The outcome of a submitted image once its time is up."""

    after: ClassVar[None] = None
    kind: Literal["fails", "vanishes", "never"]
    answer: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


Fault: TypeAlias = ReplaceResponse | Break | Stall | Insert | JobOutcome


def status(
    code: int,
    *,
    headers: Mapping[str, str] | None = None,
    message: str = "scripted fault",
    body: str | bytes | None = None,
    charged: bool = False,
) -> ReplaceResponse:
    """Answer with an HTTP status, such as 429 with `headers={"Retry-After": "1"}`.

    The body is an error in OpenAI's shape with this `message`, or `body`, whose `Content-Type`
    goes into the headers.
    """
    if body is None:
        body = json.dumps({"error": {"message": message, "type": "scripted", "code": str(code)}})
    raw = body.encode() if isinstance(body, str) else body
    return ReplaceResponse(
        code, raw, {"Content-Type": "application/json", **(headers or {})}, charged
    )


def html_page(code: int = 520, *, title: str = "Web server is down") -> ReplaceResponse:
    """Answer with a page, as a firewall or a content network before the service does."""
    page = f"<!DOCTYPE html><html><head><title>{title}</title></head><body>{title}</body></html>"
    return status(code, body=page, headers={"Content-Type": "text/html; charset=utf-8"})


def submission_refused() -> ReplaceResponse:
    """Answer a submission with the documented error, which has no job."""
    body = json.dumps({"status": "error", "jobid": None, "signature": None})
    return status(200, body=body)


def drop(*, charged: bool = False, reset: bool = False) -> Break:
    """End the connection without any answer; `reset` with a TCP reset."""
    return Break(None, "reset" if reset else "break", charged)


def cut(after: int, *, ending: Ending = "break") -> Break:
    """End a chat's stream after `after` events.

    `ending` is `"break"`, which closes inside the body, `"clean"`, which ends the body properly,
    or `"reset"`, which sends a TCP reset.
    """
    return Break(after, ending)


def stall(
    after: int | None = None,
    *,
    seconds: float = 3600.0,
    comments: float = 0.0,
    charged: bool = False,
) -> Stall:
    """Send nothing for a while, before the headers or after `after` events of a chat.

    It ends when the client leaves. Keep-alive comments come every `comments` seconds, if any.
    """
    return Stall(after, seconds, comments, charged)


def garbled(after: int = 0, *, data: str = '{"id":"chatcmpl-') -> Insert:
    """Put an event that is no JSON into a chat's stream after `after` events."""
    return Insert(after, f"data: {data}\n\n".encode())


def error_event(after: int = 0, *, message: str = "the model failed") -> Insert:
    """End a chat's stream with an error object after `after` events."""
    error = {"error": {"message": message, "type": "server_error", "code": "scripted"}}
    return Insert(after, f"data: {json.dumps(error)}\n\n".encode(), last=True)


def job_fails(message: str = "generation failed", *, status: str = "failed") -> JobOutcome:
    """Let the next image's job fail once its time is up."""
    return JobOutcome("fails", {"status": status, "image_url": None, "message": message})


def job_vanishes(*, http_status: int = 404) -> JobOutcome:
    """Let the next image's job be unknown once its time is up."""
    return JobOutcome("vanishes", status=http_status)


def job_never_ends() -> JobOutcome:
    """Let the next image's job stay unfinished for ever."""
    return JobOutcome("never")


def is_early(fault: Fault | None) -> TypeGuard[ReplaceResponse | Break | Stall]:
    """Return whether a fault strikes in place of the answer's first byte."""
    return isinstance(fault, ReplaceResponse) or (
        isinstance(fault, Break | Stall) and fault.after is None
    )


def routes(fault: Fault) -> frozenset[Route]:
    """Name the requests that a fault strikes unless the script says otherwise."""
    if isinstance(fault, JobOutcome):
        return frozenset({"image"})
    return frozenset({"chat", "image", "job"}) if is_early(fault) else frozenset({"chat"})


def is_last(fault: Fault | None) -> bool:
    """Return whether a stream ends with the fault."""
    return isinstance(fault, Break) or (isinstance(fault, Insert) and fault.last)
