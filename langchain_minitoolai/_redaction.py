"""Texts that users see: API keys redacted, control characters removed; warnings at their line."""

import html
import inspect
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final
from urllib.parse import unquote

MAX_MESSAGE: Final = 300
"""The most characters of the service's text that an error quotes."""
MIN_KEY: Final = 8
"""The fewest characters of a key that is redacted; a shorter one stands inside ordinary words."""

_BEARER: Final = re.compile(r"(?i)\bbearer\s+[^\s\"'<>,;]+")
_SECRET_NAME: Final = re.compile(
    r"(?i)(?:api[_-]?key|token|secret|password|authorization|credentials?)$"
)
_ESCAPED: Final = re.compile(r"\\(?:u00|x)([0-9a-fA-F]{2})|\\(?=[^\w\s])")
_ESCAPE_DEPTH: Final = 3
_INTERNAL: Final = frozenset(
    {
        "langchain_minitoolai",
        "langchain_core",
        "langchain",
        "langgraph",
        "pydantic",
        "asyncio",
        "concurrent",
        "contextlib",
        "threading",
    }
)
"""Packages whose lines a user can do nothing about."""

_hidden_key: Final[ContextVar[str]] = ContextVar("_hidden_key", default="")
_logger: Final = logging.getLogger("langchain_minitoolai")


@contextmanager
def hiding(key: str) -> Iterator[None]:
    """Let `tidy` redact a key in whatever runs inside."""
    token = _hidden_key.set(key)
    try:
        yield
    finally:
        _hidden_key.reset(token)


def tidy(text: str, secret: str = "") -> str:
    """Sanitize foreign text for display: no secrets, printable, at most 300 characters.

    Args:
        text: Text of the service; what is parsed is not to be changed.
        secret: An API key to redact, by default that of `hiding`.
    """
    text = _BEARER.sub("Bearer [key]", redact(text, secret or _hidden_key.get()))
    text = " ".join("".join(c if c.isprintable() else " " for c in text[:4096]).split())
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"


def redact(text: str, key: str) -> str:
    """Redact a key, also one that is escaped as in JSON, URLs or HTML, a few levels deep."""
    if len(key) < MIN_KEY:
        return text
    decoded = text = text.replace(key, "[key]")
    for _ in range(_ESCAPE_DEPTH):
        decoded = html.unescape(unquote(_ESCAPED.sub(_unescape, decoded)))
        if key in decoded:
            decoded = text = decoded.replace(key, "[key]")
    return text


def _unescape(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else ""


def is_secret_name(name: str) -> bool:
    """Check whether the name of a parameter or a header is one that secrets have."""
    return bool(_SECRET_NAME.search(name))


def warn(text: str) -> None:
    """Warn at the line of the user's code, whatever of langchain's and ours lies between."""
    warnings.warn(text, stacklevel=_user_level())


def safe_warn(text: str) -> None:
    """Warn; where warnings are errors, log instead, so that nothing paid for is lost to one."""
    try:
        warn(text)
    except Warning:
        _logger.warning(text)


def _user_level() -> int:
    """Return the `stacklevel`, for this function's caller, of the first line that is a user's."""
    frame, level = inspect.currentframe(), 0
    while frame and frame.f_globals.get("__name__", "").partition(".")[0] in _INTERNAL:
        frame, level = frame.f_back, level + 1
    return level
