"""What a job's answer says: its words and its address, wherever they stand in it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai._http.error_mapping import summarize_body
from langchain_minitoolai._images.ssrf import is_image_url
from langchain_minitoolai.errors import tidy

PENDING_WORDS: Final = (
    "pending|queued|in queue|waiting|scheduled|created|submitted|accepted|starting|started|"
    "processing|in progress|running|generating|rendering|working|not ready|wait|try again later"
)
FAILED_WORDS: Final = (
    "failed|failure|cancelled|canceled|aborted|rejected|moderated|nsfw|blocked|expired|timeout|"
    "timed out|deleted|invalid|insufficient"
)
MISSING_WORDS: Final = "not found|no such|unknown job|does not exist"

_PENDING: Final = re.compile(rf"\b({PENDING_WORDS})\b")
_FAILED: Final = re.compile(rf"\b({FAILED_WORDS})\b")
_MISSING: Final = re.compile(rf"\b({MISSING_WORDS})\b")
_SECRETS: Final = re.compile(r"(?i)(\"?signature\"?\s*[:=]\s*)(\"[^\"]*\"?|[^\s,}]+)")
_NESTS: Final = ("data", "result", "job", "images")


def address_in(payload: Mapping[str, Any] | None, *, loopback: bool) -> str | None:
    """Find the picture's address, unless the status says that the job failed."""
    if payload is None:
        return None
    statuses = [words for name, words in said(payload) if name == "status"]
    if any(_FAILED.search(words) or words == "error" for words in statuses):
        return None
    inner = [nest.get(key) for nest in _nested(payload) for key in ("image_url", "url")]
    for value in (payload.get("image_url"), *inner):
        if isinstance(value, str) and is_image_url(value.strip(), loopback=loopback):
            return value.strip()
    return None


def parsed(body: bytes) -> Mapping[str, Any] | None:
    """Read a body as a JSON object, or a list's first; `None` if it is neither."""
    try:
        payload = from_json(body)
    except ValueError:
        return None
    if isinstance(payload, list) and payload:
        payload = payload[0]
    return payload if isinstance(payload, dict) else None


def verdict(heard: list[tuple[str, str]]) -> str:
    """Judge what was said: the status first, then the other words, then a bare status."""
    for field in ("status", "words"):
        text = " / ".join(words for name, words in heard if name == field)
        for told, pattern in (("failed", _FAILED), ("pending", _PENDING), ("missing", _MISSING)):
            if pattern.search(text):
                return told
    if any("error" in (name, words) for name, words in heard):
        return "error"
    statuses = {words for name, words in heard if name == "status"}
    return "success" if "success" in statuses else "strange"


def said(payload: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Give the normalised words of an answer, and of what is nested one level down."""
    for key in ("status", "state"):
        if isinstance(payload.get(key), str):
            yield "status", _normal(payload[key])
    for key in ("message", "error", "detail", "reason"):
        value = payload.get(key)
        if isinstance(value, Mapping):
            value = value.get("message") or value.get("code") or "error"
        if isinstance(value, str):
            yield "words", _normal(value)
    if payload.get("error") or payload.get("success") is False:
        yield "error", "error"
    if depth == 0:
        for inner in _nested(payload):
            yield from said(inner, depth + 1)


def _nested(payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in _NESTS:
        value = payload.get(key)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, Mapping):
            yield first
        elif isinstance(first, str):
            yield {"image_url": first}


def _normal(text: str) -> str:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_.\-]+", " ", text[:2000])
    return " ".join(apart.casefold().split())


def shown(body: bytes) -> str:
    """Show a body without secrets."""
    text = body[:4096].decode("utf-8", "replace")
    return tidy(_SECRETS.sub(r"\1[secret]", text)) if _is_json(body) else summarize_body(body)


def _is_json(body: bytes) -> bool:
    return body.lstrip()[:1] in (b"{", b"[")
