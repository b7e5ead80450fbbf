"""Error mapping: transport errors, responses and payloads to the exceptions of this package.

The classes, and the tree of them, stand in `errors.py`; `_BY_STATUS` is the one map of statuses.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.transport import Deadline, ExchangeTrace
from langchain_minitoolai._redaction import tidy

MAX_ERROR_BODY: Final = 64 * 1024
"""The most bytes of a page or an error body."""

_TITLE: Final = re.compile(r"<title[^<>]{0,200}>([^<]*)", re.IGNORECASE)
_MARKUP: Final = re.compile(
    r"<(script|style)\b.*?(?:</\1>|\Z)|<[^>]*(?:>|\Z)", re.IGNORECASE | re.DOTALL
)
_BY_STATUS: Final[dict[int, type[errors.MiniToolAIError]]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    402: errors.InsufficientCreditError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.ServiceError,
    425: errors.ServiceError,
    429: errors.RateLimitError,
}
# A word of the service's `code` or `type`, and what it means; the first that fits counts.
_BY_WORD: Final[tuple[tuple[str, type[errors.MiniToolAIError]], ...]] = (
    ("context_length", errors.ContextLengthError),
    ("insufficient", errors.InsufficientCreditError),
    ("quota", errors.InsufficientCreditError),
    ("billing", errors.InsufficientCreditError),
    ("rate_limit", errors.RateLimitError),
    ("api_key", errors.AuthenticationError),
    ("authentication", errors.AuthenticationError),
    ("permission", errors.PermissionDeniedError),
    ("not_found", errors.NotFoundError),
    ("invalid_request", errors.BadRequestError),
)
# Words that say more than the status they come with.
_STRONGER: Final = (errors.ContextLengthError, errors.InsufficientCreditError)


def error_from_response(response: Response) -> errors.MiniToolAIError:
    """Make the exception for a response with a status of 300 or more."""
    payload = parse_json_object(response.body) or {}
    code = _code(payload)
    kind = _by_word(code)
    if kind not in _STRONGER:
        default = errors.ServiceError if response.status >= 500 else errors.BadRequestError
        kind = _BY_STATUS.get(response.status, default)
    retryable = None
    summary = summarize_body(response.body)
    if 300 <= response.status < 400:
        kind, retryable = errors.InvalidResponseError, False
        summary = "a redirect, which is never followed" + (f": {summary}" if summary else "")
    wait = retry_after(response.headers)
    head = f"HTTP {response.status}"
    if wait is not None:
        head += f" (try again in {wait:g} s)"
    return kind(
        tidy(f"{head}: {summary}" if summary else head),
        status_code=response.status,
        code=code,
        request_id=request_id(response.headers),
        retry_after=wait,
        is_retryable=retryable,
    )


def error_from_payload(payload: Mapping[str, Any], *, secret: str = "") -> errors.MiniToolAIError:
    """Make the exception for an error that the service reports inside a 200, without the key."""
    code = _code(payload, secret)
    kind = _by_word(code) or errors.ServiceError
    words = _message(payload) if payload else "no reason given"
    error = kind(f"the service reports an error: {words}", status_code=200, code=code)
    return error.redact(secret)


def summarize_body(body: bytes, secret: str = "") -> str:
    """Summarize a body in at most 300 characters: its message, a page's title, or its text."""
    payload = parse_json_object(body.removeprefix(b"\xef\xbb\xbf"))
    text = _message(payload) if payload else body[:MAX_ERROR_BODY].decode("utf-8", "replace")
    if not payload and text.lstrip("\ufeff \t\r\n").startswith("<"):
        title = _TITLE.search(text)
        text = title[1] if title and title[1].strip() else _MARKUP.sub(" ", text)
    return tidy(text, secret)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read the `Retry-After` of a response, in seconds; `None` where it says nothing sensible.

    A date counts from the response's own `Date`, so that a wrong clock here does no harm.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,12}(\.\d{0,9})?", text, re.ASCII):
            return float(text) * unit
    then = _date(headers.get("retry-after"))
    if then is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def response_metadata(response: Response) -> dict[str, Any]:
    """Return what a response adds to `response_metadata`: `request_id`, and `attempts` over 1."""
    found = request_id(response.headers)
    attempts = {"attempts": response.attempts} if response.attempts > 1 else {}
    return {**({"request_id": found} if found else {}), **attempts}


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def parse_json_object(data: bytes) -> dict[str, Any] | None:
    """Parse a JSON object, also one with bytes that are no UTF-8; `None` if it is none."""
    try:
        parsed = from_json(data)
    except ValueError:
        try:
            parsed = from_json(data.decode("utf-8", "replace"))
        except ValueError:
            return None
    return parsed if isinstance(parsed, dict) else None


def _message(payload: Mapping[str, Any]) -> str:
    error = payload.get("error")
    inner = error if isinstance(error, Mapping) else {}
    for words in (inner.get("message"), error, payload.get("message"), payload.get("detail")):
        if isinstance(words, str) and words.strip():
            return words
    return str(dict(payload))


def _code(payload: Mapping[str, Any], secret: str = "") -> str | None:
    error = payload.get("error")
    inner = error if isinstance(error, Mapping) else payload
    for key in ("code", "type"):
        if isinstance(inner.get(key), str | int) and inner[key]:
            return tidy(str(inner[key]), secret)
    return None


def _by_word(code: str | None) -> type[errors.MiniToolAIError] | None:
    if code is None:
        return None
    if code.isascii() and code.isdigit() and len(code) == 3:
        return _BY_STATUS.get(int(code))
    return next((kind for word, kind in _BY_WORD if word in code.lower()), None)


def request_id(headers: Mapping[str, str]) -> str | None:
    """Return the service's id of a request, for asking its support."""
    found = headers.get("x-request-id") or headers.get("cf-ray")
    return tidy(found) if found else None


# --- Transport errors ---------------------------------------------------------------

# Classes are known by their names: httpx, httpcore, httpx2 and httpcore2 share them.
_TRANSPORT_ERRORS: Final = frozenset(
    {
        "ClientError",  # aiohttp's own, which httpx-aiohttp lets pass
        "NetworkError",
        "OSError",
        "ProtocolError",
        "ProxyError",
        "TimeoutException",
        "TransportError",
        "UnsupportedProtocol",
    }
)
CONNECT_ERRORS: Final = frozenset(
    {
        "ConnectError",
        "LocalProtocolError",
        "PoolTimeout",
        "ProxyError",
        "UnsupportedProtocol",
        "gaierror",
    }
)
"""What a transport raises before it has sent anything."""
_CERTIFICATE_HINT: Final = (
    "to trust a company's authority, pass the path of its certificate as verify=…, set "
    "SSL_CERT_FILE, or bring your own http_client"
)


def map_transport_error(
    caught: Exception,
    deadline: Deadline,
    trace: ExchangeTrace | None = None,
    *,
    headers_received: bool = False,
    peer: str = "the service",
) -> errors.MiniToolAIError:
    """Make the exception for what a transport raised, whatever transport it is.

    Args:
        caught: What it raised; nothing of it is kept.
        deadline: The exchange's time.
        trace: How far the exchange got.
        headers_received: Whether the response had begun.
        peer: What was asked, for the message where it was not reached.
    """
    if isinstance(caught, errors.MiniToolAIError):
        return caught
    names = _class_names(caught)
    sent = trace.sent if trace is not None else None
    unsent = _is_connect_error(caught, names) if sent is None else not sent
    if not headers_received and (unsent or "ProxyError" in names):
        return _not_connected(caught, names, peer)
    timed_out = not names.isdisjoint(("TimeoutError", "TimeoutException"))
    if timed_out and "ConnectTimeout" not in names:
        return errors.APITimeoutError(deadline.timeout_message())
    if headers_received:
        return errors.StreamInterruptedError("the connection broke before the answer was complete")
    if names.isdisjoint(_TRANSPORT_ERRORS):
        failure = errors.APIConnectionError(f"the HTTP client raised {type(caught).__name__}")
        failure.is_retryable = False  # nobody knows what it means
        return failure
    failure = errors.APIConnectionError("the connection broke before the service answered")
    failure.stale = trace is not None and trace.stale
    return failure


def _class_names(caught: BaseException) -> frozenset[str]:
    return frozenset(kind.__name__ for kind in type(caught).__mro__)


def _is_connect_error(caught: Exception, names: frozenset[str]) -> bool:
    """Whether a transport that does not trace failed before it sent anything."""
    if "ConnectTimeout" not in names:
        return not names.isdisjoint(CONNECT_ERRORS)
    # httpx-aiohttp raises it for every broken connection; the cause is aiohttp's own error.
    cause = _class_names(caught.__cause__) if caught.__cause__ is not None else frozenset()
    is_connect = not cause.isdisjoint(("ClientConnectorError", "TimeoutError"))
    return is_connect or "ClientConnectionError" not in cause


def _not_connected(
    caught: Exception, names: frozenset[str], peer: str
) -> errors.APIConnectionError:
    known = not names.isdisjoint(_TRANSPORT_ERRORS)
    reason = tidy(str(caught)) if known else type(caught).__name__
    reason = reason or "no connection in the time allowed"
    is_untrusted = "certificate" in reason.lower()
    hint = f"; {_CERTIFICATE_HINT}" if is_untrusted else ""
    failure = errors.APIConnectionError(f"can't connect to {peer}: {reason}{hint}")
    failure.maybe_sent = failure.maybe_charged = False
    if is_untrusted:
        failure.hint = _CERTIFICATE_HINT
    if not known or is_untrusted or "LocalProtocolError" in names:
        failure.is_retryable = False
    return failure
