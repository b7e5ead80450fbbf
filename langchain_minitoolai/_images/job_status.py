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

_PENDING: Final = re.compile(rf"\b({PENDING_WORDS})\b")
_TRANSIENT: Final = re.compile(rf"\b({TRANSIENT_WORDS})\b")
_FAILED: Final = re.compile(rf"\b({FAILED_WORDS})\b")
_NOT_FOUND: Final = re.compile(rf"\b({NOT_FOUND_WORDS})\b")
_CHALLENGE: Final = re.compile(rb"(?i)just a moment|captcha|cf-chl|challenge-platform")
_SECRETS: Final = re.compile(r"(?i)(\"?signature\"?\s*[:=]\s*)(\"[^\"]*\"?|[^\s,}]+)")
_NESTED_KEYS: Final = ("data", "result", "job", "images")

Kind: TypeAlias = Literal["pending", "ready", "failed", "suspect", "transient", "unavailable"]
Verdict: TypeAlias = Literal[
    "failed", "failed_transient", "pending", "transient", "not_found", "error", "success", "other"
]


@dataclass(frozen=True, slots=True)
class PollHistory:
    """History of a job's polls, which decides how the next response is read.

    Attributes:
        errors: Bare errors in a row, since `error_since`.
        failures: Failures in a row whose message speaks of something that passes.
        not_found: Responses after the grace period that did not know the job.
        troubles: Polls in a row that gave nothing to read, since `trouble_since`.
        challenges: Bot challenges met.
        warned: Whether a response that fits nothing was met.
    """

    errors: int = 0
    error_since: float = 0.0
    failures: int = 0
    not_found: int = 0
    troubles: int = 0
    trouble_since: float = 0.0
    challenges: int = 0
    warned: bool = False

    def readable(self) -> "PollHistory":
        """Return the history after a response that shows a job on its way."""
        return replace(self, errors=0, failures=0, not_found=0)


@dataclass(frozen=True, slots=True)
class JobStatus:
    """The status of a job, as one response reports it.

    Attributes:
        kind: `pending`, `suspect` and `transient` are polled again; `unavailable` ends the
            polling, not the job.
        history: For the next response.
        url: The image's address, if ready.
        reason: The service's words, without secrets.
        retry_after: Seconds the service asks to wait.
        slow_down: Whether it reports that it is asked too often.
        warning: A warning for the developer, once a job.
        invalid_id: Whether it reports that the job's id is invalid.
    """

    kind: Kind
    history: PollHistory
    url: str | None = None
    reason: str = ""
    retry_after: float | None = None
    slow_down: bool = False
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
    if isinstance(outcome, MiniToolAIError):
        return _trouble(str(outcome), age, history)
    payload = _parse_object(outcome.body)
    url = find_image_url(payload, loopback=loopback)
    if url is not None:
        return JobStatus("ready", PollHistory(), url=url)
    if outcome.status == 429:
        return JobStatus(
            "pending",
            history,
            retry_after=retry_after(outcome.headers),
            slow_down=True,
            reason=preview(outcome.body),
        )
    if payload is None or 300 <= outcome.status < 400 or outcome.status >= 500:
        return _unreadable(outcome, age, history)
    if outcome.status in (401, 403):
        return _trouble(f"HTTP {outcome.status}: {preview(outcome.body)}", age, history)
    return _read_payload(outcome, payload, age, history)


def _read_payload(
    response: Response, payload: Mapping[str, Any], age: float, history: PollHistory
) -> JobStatus:
    texts = list(status_texts(payload))
    reason, verdict = preview(response.body), _verdict(texts, response.status)
    if verdict == "transient":
        return _trouble(f"HTTP {response.status}: {reason}", age, history)
    history = replace(history, troubles=0)
    if verdict == "failed_transient" and not history.failures:
        return JobStatus("suspect", replace(history, failures=1), reason=reason)
    if verdict in ("failed", "failed_transient"):
        invalid = any("invalid" in text for _, text in texts)
        return JobStatus("failed", history, reason=reason, invalid_id=invalid)
    if verdict == "not_found":
        return _not_found(reason, age, history)
    if verdict == "error":
        return _suspect(reason, age, history)
    return _pending(reason, history, understood=verdict != "other")


def _verdict(texts: list[tuple[str, str]], status: int) -> Verdict:
    """Judge the texts, and where they say nothing the HTTP status."""
    verdict = classify(texts)
    if verdict in ("error", "success", "other") and status in (404, 410):
        return "not_found"
    return "transient" if verdict in ("success", "other") and status >= 400 else verdict


def _pending(reason: str, history: PollHistory, *, understood: bool) -> JobStatus:
    """Wait on; the first response that fits nothing gets a warning."""
    if understood or history.warned:
        return JobStatus("pending", history.readable())
    warning = f"a response that is not understood: {reason}"
    return JobStatus("pending", replace(history.readable(), warned=True), warning=warning)


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
    return JobStatus("unavailable" if over else "transient", history, reason=tidy(reason))


def _unreadable(response: Response, age: float, history: PollHistory) -> JobStatus:
    reason = f"HTTP {response.status}: {preview(response.body)}"
    is_page = response.body.lstrip()[:1] == b"<"
    challenged = response.headers.get("cf-mitigated") == "challenge"
    if challenged or (is_page and _CHALLENGE.search(response.body)):
        history = replace(history, challenges=history.challenges + 1)
        if history.challenges >= MAX_CHALLENGES:
            return JobStatus("unavailable", history, reason=f"a bot challenge: {reason}")
    return replace(_trouble(reason, age, history), retry_after=retry_after(response.headers))


def find_image_url(payload: Mapping[str, Any] | None, *, loopback: bool) -> str | None:
    """Find the image's address, unless the status reports a failure."""
    if payload is None:
        return None
    statuses = [text for field, text in status_texts(payload) if field == "status"]
    if any(_FAILED.search(text) or text == "error" for text in statuses):
        return None
    inner = [nested.get(key) for nested in _nested(payload) for key in ("image_url", "url")]
    for value in (payload.get("image_url"), *inner):
        if isinstance(value, str) and is_image_url(value.strip(), loopback=loopback):
            return value.strip()
    return None


def classify(texts: list[tuple[str, str]]) -> Verdict:
    """Judge the texts of a response: the status first, then the message, then a bare status."""
    status, message = (
        " / ".join(text for name, text in texts if name == field) for field in ("status", "message")
    )
    if _FAILED.search(status):
        return "failed_transient" if _TRANSIENT.search(message) else "failed"
    verdict = _classify_status(status) or _classify_message(message)
    if verdict is not None:
        return verdict
    if any("error" in text for text in texts):
        return "error"
    return "success" if ("status", "success") in texts else "other"


def _classify_status(status: str) -> Verdict | None:
    if _PENDING.search(status):
        return "pending"
    if _TRANSIENT.search(status):
        return "transient"
    return "not_found" if _NOT_FOUND.search(status) else None


def _classify_message(message: str) -> Verdict | None:
    pending, failed = _PENDING.search(message), _FAILED.search(message)
    if pending and not failed:
        return "pending"
    if _TRANSIENT.search(message):
        return "transient"
    if failed:
        return "error" if pending else "failed"
    return "not_found" if _NOT_FOUND.search(message) else None


def status_texts(payload: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the normalised texts of a response, and of what is nested one level down.

    Yields:
        `"status"`, `"message"` or `"error"`, and the text.
    """
    for key in ("status", "state"):
        if isinstance(payload.get(key), str):
            yield "status", _normalize(payload[key])
    for key in ("message", "error", "detail", "reason"):
        value = payload.get(key)
        if isinstance(value, Mapping):
            value = value.get("message") or value.get("code") or "error"
        if isinstance(value, str):
            yield "message", _normalize(value)
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
