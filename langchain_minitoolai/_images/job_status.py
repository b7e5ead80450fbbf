"""What a job's answer means: a reading of an undocumented status that fails safe.

No answer becomes a success without an address, and a job that was paid for is given up only
on words that say so. Whatever is not understood counts as pending; the deadline ends it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.error_mapping import retry_after
from langchain_minitoolai._images.job_words import address_in, parsed, said, shown, verdict
from langchain_minitoolai.errors import MiniToolAIError, tidy

YOUNG: Final = 10.0
"""Seconds in which a job may be unknown yet, or tell of errors that are none."""
SUSPECTS: Final = 3
SUSPECT_SPREAD: Final = 6.0
MISSES: Final = 2
TROUBLES: Final = 6
TROUBLE_SPREAD: Final = 30.0
CHALLENGES: Final = 2

_CHALLENGE: Final = re.compile(rb"(?i)just a moment|captcha|cf-chl|challenge-platform")
_TOO_MANY: Final = 429
_GONE: Final = (404, 410)
_DENIED: Final = (401, 403)
_SERVER: Final = 500
_REFUSED: Final = 400
_REDIRECT: Final = 300

Kind = Literal["pending", "ready", "failed", "suspect", "transient", "unavailable"]


@dataclass(frozen=True, slots=True)
class History:
    """What the looks so far have left behind.

    Attributes:
        suspects: Bare errors in a row, since `suspect_since`.
        misses: Looks after the first seconds that did not find the job.
        troubles: Looks in a row that gave nothing to read, since `trouble_since`.
        challenges: Bot challenges met.
        strange: Whether an answer that fits nothing was met.
    """

    suspects: int = 0
    suspect_since: float = 0.0
    misses: int = 0
    troubles: int = 0
    trouble_since: float = 0.0
    challenges: int = 0
    strange: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer means.

    Attributes:
        kind: `pending`, `suspect` and `transient` are asked again; `unavailable` ends the
            asking, not the job.
        history: For the next reading.
        url: The picture's address, if ready.
        reason: The service's words, without secrets.
        retry_after: Seconds the service asks to wait.
        slow_down: Whether it says that it is asked too often.
        warning: Something to tell the developer, once a job.
        invalid_id: Whether the words are that the job's id is invalid.
    """

    kind: Kind
    history: History
    url: str | None = None
    reason: str = ""
    retry_after: float | None = None
    slow_down: bool = False
    warning: str | None = None
    invalid_id: bool = False


def read(
    answer: Response | MiniToolAIError, age: float, history: History, *, loopback: bool = False
) -> Reading:
    """Say what an answer to the question for a job means.

    Args:
        answer: The reply, or what the request died of.
        age: Seconds since the job was submitted.
        history: What the earlier readings left.
        loopback: Whether the API itself is on loopback.
    """
    if isinstance(answer, MiniToolAIError):
        return _trouble(str(answer), age, history)
    payload = parsed(answer.body)
    url = address_in(payload, loopback=loopback)
    if url is not None:
        return Reading("ready", History(), url=url)
    if answer.status == _TOO_MANY:
        wait = retry_after(answer.headers)
        reason = shown(answer.body)
        return Reading("pending", history, retry_after=wait, slow_down=True, reason=reason)
    if payload is None or _REDIRECT <= answer.status < _REFUSED or answer.status >= _SERVER:
        return _unreadable(answer, age, history)
    if answer.status in _DENIED:
        return _trouble(f"HTTP {answer.status}: {shown(answer.body)}", age, history)
    return _words_read(answer, payload, age, replace(history, troubles=0))


def _words_read(
    answer: Response, payload: Mapping[str, Any], age: float, history: History
) -> Reading:
    heard = list(said(payload))
    reason, told = shown(answer.body), verdict(heard)
    if told == "failed":
        invalid = any("invalid" in words for _, words in heard)
        return Reading("failed", history, reason=reason, invalid_id=invalid)
    if told == "pending":
        return Reading("pending", replace(history, suspects=0, misses=0))
    if told == "missing" or answer.status in _GONE:
        return _missing(reason, age, history)
    if told == "error":
        return _suspect(reason, age, history)
    if answer.status >= _REFUSED:
        return _trouble(f"HTTP {answer.status}: {reason}", age, history)
    return _unwarned(reason, history, strange=told == "strange")


def _unwarned(reason: str, history: History, *, strange: bool) -> Reading:
    """Wait on; the first answer that fits nothing gets a warning."""
    warning = f"an answer that is not understood: {reason}" if strange else None
    if history.strange:
        warning = None
    history = replace(history, suspects=0, misses=0, strange=history.strange or strange)
    return Reading("pending", history, warning=warning)


def _missing(reason: str, age: float, history: History) -> Reading:
    if age < YOUNG:
        return Reading("pending", history, reason=reason)
    history = replace(history, misses=history.misses + 1)
    return Reading("failed" if history.misses >= MISSES else "pending", history, reason=reason)


def _suspect(reason: str, age: float, history: History) -> Reading:
    since = history.suspect_since if history.suspects else age
    history = replace(history, suspects=history.suspects + 1, suspect_since=since)
    certain = history.suspects >= SUSPECTS and age - since >= SUSPECT_SPREAD and age >= YOUNG
    return Reading("failed" if certain else "suspect", history, reason=reason)


def _trouble(reason: str, age: float, history: History) -> Reading:
    since = history.trouble_since if history.troubles else age
    history = replace(history, troubles=history.troubles + 1, trouble_since=since)
    over = history.troubles >= TROUBLES and age - since >= TROUBLE_SPREAD
    return Reading("unavailable" if over else "transient", history, reason=tidy(reason))


def _unreadable(answer: Response, age: float, history: History) -> Reading:
    reason = f"HTTP {answer.status}: {shown(answer.body)}"
    told = answer.headers.get("cf-mitigated") == "challenge"
    if told or (answer.body.lstrip()[:1] == b"<" and _CHALLENGE.search(answer.body)):
        history = replace(history, challenges=history.challenges + 1)
        if history.challenges >= CHALLENGES:
            return Reading("unavailable", history, reason=f"a bot challenge: {reason}")
    reading = _trouble(reason, age, history)
    return replace(reading, retry_after=retry_after(answer.headers))
