"""Job status: reads an undocumented response, and fails safe.

No response becomes a success without an address, and a job that was paid for is given up only on
words that say so. Whatever is not understood counts as pending; the deadline ends it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from pydantic_core import from_json

from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.error_mapping import retry_after, summarize_body
from langchain_minitoolai._http.retry import MAX_RETRY_AFTER, backoff
from langchain_minitoolai._images.ssrf import is_image_url
from langchain_minitoolai._redaction import tidy
from langchain_minitoolai.errors import MiniToolAIError

GRACE_SECONDS: Final = 10.0
"""Seconds in which a job may be unknown yet, or report errors that are none."""
ERROR_THRESHOLD: Final = 3
ERROR_SPREAD_SECONDS: Final = 6.0
MAX_NOT_FOUND: Final = 2
TROUBLE_THRESHOLD: Final = 6
TROUBLE_SPREAD_SECONDS: Final = 30.0
MAX_CHALLENGES: Final = 2

PENDING_WORDS: Final = (
    "pending|queued|in queue|waiting|scheduled|created|submitted|accepted|starting|started|"
    "processing|in progress|running|generating|rendering|working|not ready|wait|try again later"
)
TRANSIENT_WORDS: Final = (
    "timeout|timed out|temporarily|unavailable|overloaded|connection|database|internal|try again|"
    "retry"
)
FAILED_WORDS: Final = (
    "failed|failure|cancelled|canceled|aborted|rejected|moderated|nsfw|blocked|expired|"
    "deleted|invalid|insufficient"
)
NOT_FOUND_WORDS: Final = "not found|no such|unknown job|does not exist"

_WORDS: Final = {
    kind: re.compile(rf"\b({words})\b")
    for kind, words in (
        ("pending", PENDING_WORDS),
        ("transient", TRANSIENT_WORDS),
        ("failed", FAILED_WORDS),
        ("not_found", NOT_FOUND_WORDS),
    )
}
_CHALLENGE: Final = re.compile(rb"(?i)just a moment|captcha|cf-chl|challenge-platform")
_SECRETS: Final = re.compile(r"(?i)(\"?signature\"?\s*[:=]\s*)(\"[^\"]*\"?|[^\s,}]+)")
_NESTED_KEYS: Final = ("data", "result", "job", "images")

Kind: TypeAlias = Literal["pending", "ready", "failed", "suspect", "transient", "unavailable"]
Verdict: TypeAlias = Literal[
    "pending", "transient", "failed", "error", "not_found", "failed_transient", "success", "other"
]
_PRECEDENCE: Final[tuple[Verdict, ...]] = ("pending", "transient", "failed", "error", "not_found")


@dataclass(frozen=True, slots=True)
class PollHistory:
    """History of a job's polls, which decides how the next response is read.

    Attributes:
        errors: Bare errors in a row, since `error_since`.
        failures: Failures in a row whose message speaks of something that passes.
        not_found: Responses after the grace period that did not know the job.
        troubles: Polls in a row that gave nothing to read, since `trouble_since`.
        challenges: Bot challenges met.
        slow_downs: Responses in a row that report too many requests.
        warned: Whether a response that fits nothing was met.
    """

    errors: int = 0
    error_since: float = 0.0
    failures: int = 0
    not_found: int = 0
    troubles: int = 0
    trouble_since: float = 0.0
    challenges: int = 0
    slow_downs: int = 0
    warned: bool = False

    def readable(self, *, warned: bool = False) -> "PollHistory":
        """Return the history after a response that shows a job on its way."""
        return replace(self, errors=0, failures=0, not_found=0, warned=self.warned or warned)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job, as one response reports it.

    Attributes:
        kind: `pending`, `suspect` and `transient` are polled again; `unavailable` ends the
            polling, not the job.
        history: For the next response.
        url: The image's address, if ready.
        reason: The service's words, without secrets.
        delay: The fewest seconds to wait before the next poll.
        warning: A warning for the developer, once a job.
        invalid_id: Whether it reports that the job's id is invalid.
    """

    kind: Kind
    history: PollHistory
    url: str | None = None
    reason: str = ""
    delay: float = 0.0
    warning: str | None = None
    invalid_id: bool = False


def read_status(
    outcome: Response | MiniToolAIError, age: float, history: PollHistory, *, loopback: bool = False
) -> JobStatus:
    """Read a job's status from the outcome of a poll.

    Args:
        outcome: The response, or the error that the request ended in.
        age: Seconds since the job was submitted.
        history: What the earlier polls left.
        loopback: Whether the API itself is on loopback.
    """
    slow_downs = history.slow_downs
    history = replace(history, slow_downs=0)
    if isinstance(outcome, MiniToolAIError):
        return _trouble(str(outcome), age, history)
    payload = _parse_object(outcome.body)
    url = find_image_url(payload, loopback=loopback)
    if url is not None:
        return JobStatus("ready", PollHistory(), url=url)
    if outcome.status == 429:
        history = replace(history, slow_downs=slow_downs + 1)
        return JobStatus("pending", history, delay=_delay(outcome, backoff(slow_downs + 1)))
    return _read_response(outcome, payload, age, history)


def _read_response(
    response: Response, payload: Mapping[str, Any] | None, age: float, history: PollHistory
) -> JobStatus:
    status, texts = response.status, list(status_texts(payload or {}))
    reason = _reason(texts) or preview(response.body)
    if payload is None or 300 <= status < 400 or status >= 500:
        return _unreadable(response, reason, age, history)
    texts = [(field, _normalize(text)) for field, text in texts]
    verdict = _verdict(texts, status)
    if verdict == "transient" or status in (401, 403):
        return _trouble(f"HTTP {status}: {reason}", age, history)
    history = replace(history, troubles=0)
    if verdict in ("failed", "failed_transient"):
        return _failed(reason, texts, history, transient=verdict == "failed_transient")
    if verdict == "not_found":
        return _not_found(reason, age, history)
    if verdict == "error":
        return _suspect(reason, age, history)
    return _pending(response, verdict, history)


def _failed(
    reason: str, texts: list[tuple[str, str]], history: PollHistory, *, transient: bool
) -> JobStatus:
    if transient and not history.failures:
        return JobStatus("suspect", replace(history, failures=1), reason=reason)
    invalid_id = any("invalid" in text for _, text in texts)
    return JobStatus("failed", history, reason=reason, invalid_id=invalid_id)


def _pending(response: Response, verdict: Verdict, history: PollHistory) -> JobStatus:
    """Wait on; the first response that fits nothing gets a warning."""
    if verdict != "other" or history.warned:
        return JobStatus("pending", history.readable())
    warning = f"a response that is not understood: {preview(response.body)}"
    return JobStatus("pending", history.readable(warned=True), warning=warning)


def _reason(texts: list[tuple[str, str]]) -> str:
    """Return the service's own words: its messages, or where there are none the status."""
    for field in ("message", "status"):
        found = dict.fromkeys(text for name, text in texts if name == field and text.strip())
        if found:
            return tidy("; ".join(found))
    return ""


def _verdict(texts: list[tuple[str, str]], status: int) -> Verdict:
    """Judge the texts, and where they say nothing the HTTP status."""
    verdict = classify(texts)
    if verdict in ("error", "success", "other") and status in (404, 410):
        return "not_found"
    return "transient" if verdict in ("success", "other") and status >= 400 else verdict


def _not_found(reason: str, age: float, history: PollHistory) -> JobStatus:
    if age < GRACE_SECONDS:
        return JobStatus("pending", history, reason=reason)
    history = replace(history, not_found=history.not_found + 1)
    kind: Kind = "failed" if history.not_found >= MAX_NOT_FOUND else "pending"
    return JobStatus(kind, history, reason=reason)


def _suspect(reason: str, age: float, history: PollHistory) -> JobStatus:
    since = history.error_since if history.errors else age
    history = replace(history, errors=history.errors + 1, error_since=since)
    certain = history.errors >= ERROR_THRESHOLD and age - since >= ERROR_SPREAD_SECONDS
    failed = certain and age >= GRACE_SECONDS
    return JobStatus("failed" if failed else "suspect", history, reason=reason)


def _trouble(reason: str, age: float, history: PollHistory) -> JobStatus:
    since = history.trouble_since if history.troubles else age
    history = replace(history, troubles=history.troubles + 1, trouble_since=since)
    over = history.troubles >= TROUBLE_THRESHOLD and age - since >= TROUBLE_SPREAD_SECONDS
    kind: Kind = "unavailable" if over else "transient"
    return JobStatus(kind, history, reason=tidy(reason), delay=backoff(history.troubles))


def _unreadable(response: Response, reason: str, age: float, history: PollHistory) -> JobStatus:
    reason = f"HTTP {response.status}: {reason}"
    is_page = response.body.lstrip()[:1] == b"<"
    challenged = response.headers.get("cf-mitigated") == "challenge"
    if challenged or (is_page and _CHALLENGE.search(response.body)):
        history = replace(history, challenges=history.challenges + 1)
        if history.challenges >= MAX_CHALLENGES:
            return JobStatus("unavailable", history, reason=f"a bot challenge: {reason}")
    status = _trouble(reason, age, history)
    return replace(status, delay=_delay(response, status.delay))


def _delay(response: Response, default: float) -> float:
    """Return the seconds that a response asks to wait, or those that are wise."""
    asked = retry_after(response.headers)
    return default if asked is None else min(asked, MAX_RETRY_AFTER)


def find_image_url(payload: Mapping[str, Any] | None, *, loopback: bool) -> str | None:
    """Find the image's address, unless the status reports a failure."""
    if payload is None:
        return None
    for field, text in status_texts(payload):
        status = _normalize(text)
        if field == "status" and (status == "error" or "failed" in _kinds(status)):
            return None
    inner = [nested.get(key) for nested in _nested(payload) for key in ("image_url", "url")]
    for value in (payload.get("image_url"), *inner):
        if isinstance(value, str) and is_image_url(value.strip(), loopback=loopback):
            return value.strip()
    return None


def classify(texts: list[tuple[str, str]]) -> Verdict:
    """Judge the texts of a response: the status first, then the message, then a bare status."""
    status, message = (
        _kinds(" / ".join(text for name, text in texts if name == field))
        for field in ("status", "message")
    )
    if "failed" in status:
        return "failed_transient" if "transient" in message else "failed"
    if {"pending", "failed"} <= message:  # such as "processing failed"
        message = message - {"pending", "failed"} | {"error"}
    for kinds in (status, message):
        for verdict in _PRECEDENCE:
            if verdict in kinds:
                return verdict
    if any("error" in text for text in texts):
        return "error"
    return "success" if ("status", "success") in texts else "other"


def _kinds(text: str) -> set[str]:
    """Return the kinds of which a text has a word."""
    return {kind for kind, words in _WORDS.items() if words.search(text)}


def status_texts(payload: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the texts of a response, and of what is nested one level down.

    Yields:
        `"status"`, `"message"` or `"error"`, and the text.
    """
    for key in ("status", "state"):
        if isinstance(payload.get(key), str):
            yield "status", payload[key]
    for key in ("message", "error", "detail", "reason"):
        value = payload.get(key)
        if isinstance(value, Mapping):
            value = value.get("message") or value.get("code") or "error"
        if isinstance(value, str):
            yield "message", value
    if payload.get("error") or payload.get("success") is False:
        yield "error", "error"
    if depth == 0:
        for inner in _nested(payload):
            yield from status_texts(inner, depth + 1)


def _nested(payload: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in _NESTED_KEYS:
        value = payload.get(key)
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, Mapping):
            yield first
        elif isinstance(first, str):
            yield {"image_url": first}


def _normalize(text: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s_.\-]+", " ", text[:2000])
    return " ".join(words.casefold().split())


def _parse_object(body: bytes) -> Mapping[str, Any] | None:
    """Parse a JSON object, or the first of a list."""
    try:
        payload = from_json(body)
    except ValueError:
        return None
    if isinstance(payload, list) and payload:
        payload = payload[0]
    return payload if isinstance(payload, dict) else None


def preview(body: bytes) -> str:
    """Return the start of a body, without secrets."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return summarize_body(body)
    return tidy(_SECRETS.sub(r"\1[secret]", body[:4096].decode("utf-8", "replace")))
