"""What went wrong, from what the service said: replies and payloads to our errors."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response

MAX_DOCUMENT: Final = 8 * 1024 * 1024
"""The most bytes of a JSON answer."""
MAX_PAGE: Final = 64 * 1024
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


def error_of(reply: Response) -> errors.MiniToolAIError:
    """Make the exception for a reply that is no success; the shell takes our key out of it.

    Args:
        reply: Any reply with a status of 300 or more.
    """
    payload = _payload(reply.body)
    code = _code(payload)
    kind = _by_word(code)
    if kind not in _STRONGER:
        default = errors.ServiceError if reply.status >= 500 else errors.BadRequestError
        kind = _BY_STATUS.get(reply.status, default)
    retryable = None
    if 300 <= reply.status < 400:
        kind, retryable = errors.InvalidResponseError, False
    words = body_words(reply.body)
    if 300 <= reply.status < 400:
        words = "a redirect, which is never followed" + (f": {words}" if words else "")
    wait = retry_after(reply.headers)
    head = f"HTTP {reply.status}"
    if wait is not None:
        head += f" (try again in {wait:g} s)"
    return kind(
        errors.tidy(f"{head}: {words}" if words else head),
        status_code=reply.status,
        code=code,
        request_id=_request_id(reply.headers),
        retry_after=wait,
        is_retryable=retryable,
    )


def told_error(payload: Mapping[str, Any], *, secret: str = "") -> errors.MiniToolAIError:
    """Make the exception for an error that the service tells inside a 200.

    Args:
        payload: The JSON object that tells of it.
        secret: The API key, to be kept out of the message.
    """
    code = _code(payload)
    kind = _by_word(code) or errors.ServiceError
    words = _words(payload) if payload else "no reason given"
    told = kind(f"the service reports an error: {words}", status_code=200, code=code)
    return told.redact(secret)


def body_words(body: bytes, secret: str = "") -> str:
    """Say in at most 300 characters what a body says: its message, a page's title, its text.

    Args:
        body: The body, or its first bytes.
        secret: The API key, to be left out.
    """
    payload = _payload(body)
    text = _words(payload) if payload else body[:MAX_PAGE].decode("utf-8", "replace")
    if not payload and text.lstrip("\ufeff \t\r\n").startswith("<"):
        title = _TITLE.search(text)
        text = title[1] if title and title[1].strip() else _MARKUP.sub(" ", text)
    return errors.tidy(text, secret)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how long the service asks to wait.

    Args:
        headers: By lower-case name.

    Returns:
        Seconds, 0 or more; `None` where nothing sensible is said. A date counts from the
        reply's own `Date`, so that a wrong clock here does no harm.
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


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _payload(body: bytes) -> dict[str, Any]:
    try:
        payload = from_json(body)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _words(payload: Mapping[str, Any]) -> str:
    error = payload.get("error")
    inner = error if isinstance(error, Mapping) else {}
    for words in (inner.get("message"), error, payload.get("message"), payload.get("detail")):
        if isinstance(words, str) and words.strip():
            return words
    return str(dict(payload))


def _code(payload: Mapping[str, Any]) -> str | None:
    error = payload.get("error")
    inner = error if isinstance(error, Mapping) else payload
    for key in ("code", "type"):
        if isinstance(inner.get(key), str | int) and inner[key]:
            return errors.tidy(str(inner[key]))
    return None


def _by_word(code: str | None) -> type[errors.MiniToolAIError] | None:
    if code is None:
        return None
    if code.isascii() and code.isdigit() and len(code) == 3:
        return _BY_STATUS.get(int(code))
    return next((kind for word, kind in _BY_WORD if word in code.lower()), None)


def _request_id(headers: Mapping[str, str]) -> str | None:
    found = headers.get("x-request-id") or headers.get("cf-ray")
    return errors.tidy(found) if found else None
