"""Sandbox service: the running sandbox's address, charges, scripts and recorded requests."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeAlias

from langchain_minitoolai.contract import API_BASE_VARIABLE, API_KEY_VARIABLE
from langchain_minitoolai.sandbox._chat import CallForm, Part, ToolCall
from langchain_minitoolai.sandbox._jobs import JobSeconds, JobTable
from langchain_minitoolai.sandbox._ledger import Charge, Ledger
from langchain_minitoolai.sandbox.faults import Fault, Route, routes

Script: TypeAlias = Callable[[Mapping[str, Any]], Part | Sequence[Part]]
"""A function of the request's JSON that gives a text, a call, or several of them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a sandbox; see `running`."""

    balance: float = 10.0
    seed: int = 0
    job_seconds: JobSeconds = None
    token_seconds: float = 0.0
    native_tools: bool = False
    call_form: CallForm = "keyed"
    models: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    fields: Sequence[str] = ()
    upstream: str | None = None
    upstream_model: str | None = None


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the sandbox received.

    Attributes:
        method: The HTTP method.
        path: The path, from the root.
        body: The JSON, or `None` when it was none.
        headers: By lower-case name, without `Authorization`.
        authorized: Whether the right API key came along.
    """

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]
    authorized: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """A scripted answer, how often it is given, and how it ends."""

    parts: Sequence[Part | Script]
    finish_reason: str | None = None


@dataclass(slots=True)
class _Queue:
    """Scripts in the order they are used up, each for so many requests."""

    entries: deque[list[Any]] = field(default_factory=deque)

    def add(self, what: Any, times: int | None) -> None:
        self.entries.append([what, times])

    def take(self, suits: Callable[[Any], bool]) -> Any:
        entry = next((entry for entry in self.entries if suits(entry[0])), None)
        if entry is None:
            return None
        if entry[1] is not None:
            entry[1] -= 1
            if entry[1] <= 0:
                self.entries.remove(entry)
        return entry[0]


class Service:
    """A running sandbox; every method is safe to call from any thread.

    Attributes:
        origin: The address without `/api`, such as `http://127.0.0.1:40213`.
        api_key: The only key it accepts.
        call_form: How calls are written in answers; see `running`.
    """

    def __init__(self, origin: str, api_key: str, settings: Settings) -> None:
        """Start with nothing received, booked or scripted."""
        self.origin = origin
        self.api_key = api_key
        self._settings = settings
        self._lock = Lock()
        self._ledger = Ledger(settings.balance)
        self._start()

    def _start(self) -> None:
        self.call_form = self._settings.call_form
        self._requests: list[RecordedRequest] = []
        self._replies = _Queue()
        self._faults = _Queue()
        self._jobs = JobTable(self._settings.seed, self._settings.job_seconds)

    def __repr__(self) -> str:
        """Show the address, not the key."""
        return f"Service(base_url={self.base_url!r})"

    @property
    def base_url(self) -> str:
        """The address for `base_url` and `MINITOOLAI_API_BASE`; it ends in `/api`."""
        return f"{self.origin}/api"

    @property
    def environment(self) -> dict[str, str]:
        """The two environment variables that point a client here."""
        return {API_KEY_VARIABLE: self.api_key, API_BASE_VARIABLE: self.base_url}

    @property
    def charges(self) -> list[Charge]:
        """Every charge so far, in order."""
        return self._ledger.charges

    @property
    def balance(self) -> float:
        """The credit left, in USD; set it to zero to be refused with a 402."""
        return self._ledger.balance

    @balance.setter
    def balance(self, usd: float) -> None:
        self._ledger.balance = usd

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in order."""
        with self._lock:
            return list(self._requests)

    def reply(
        self,
        *parts: Part | Script,
        finish_reason: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Script the next answer that no earlier call scripts.

        Args:
            *parts: Texts, calls (`sandbox.ToolCall`), or functions of the request's JSON that
                give them; sent in this order, in one answer.
            finish_reason: In place of the one that follows from the parts.
            times: For how many requests; `None` for all that follow.

        Raises:
            TypeError: If a part is none of these.
        """
        for part in parts:
            if not callable(part):
                _check_part(part)
        with self._lock:
            self._replies.add(Reply(parts, finish_reason), times)

    def fault(self, fault: Fault, *, on: Route | None = None, times: int | None = 1) -> None:
        """Script a fault for the next request that it suits.

        Args:
            fault: From `sandbox.faults`.
            on: The only requests it strikes; by default a fault inside a stream strikes chats,
                a job's outcome the next submission, and any other a chat, a submission or a poll
                of a job, whichever comes first.
            times: For how many requests; `None` for all that follow.

        Raises:
            TypeError: If it is no fault.
        """
        if not isinstance(fault, Fault):
            raise TypeError(f"a fault is {fault!r}; allowed: what sandbox.faults gives")
        with self._lock:
            self._faults.add((fault, routes(fault) if on is None else frozenset({on})), times)

    def reset(self) -> None:
        """Forget what was received, booked, submitted and scripted, and refill the balance."""
        with self._lock:
            self._start()
            self._ledger.reset(self._settings.balance)

    @property
    def settings(self) -> Settings:
        """The options it was started with."""
        return self._settings

    @property
    def ledger(self) -> Ledger:
        """The charges and the balance."""
        return self._ledger

    @property
    def jobs(self) -> JobTable:
        """The image jobs."""
        return self._jobs

    def receive(self, request: RecordedRequest) -> int:
        """Keep a request, and give its place in line."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests)

    def next_fault(self, route: Route) -> Fault | None:
        """Take the next fault that is scripted for such a request."""
        with self._lock:
            found = self._faults.take(lambda entry: route in entry[1])
        fault: Fault | None = found[0] if found else None
        return fault

    def next_reply(self) -> Reply | None:
        """Take the next scripted answer."""
        with self._lock:
            reply: Reply | None = self._replies.take(lambda _: True)
        return reply


def resolve(parts: Sequence[Part | Script], body: Mapping[str, Any]) -> list[Part]:
    """Work out a scripted answer for one request.

    Raises:
        TypeError: If a function gives what is no part.
    """
    resolved: list[Part] = []
    for part in parts:
        given = part(body) if callable(part) else part
        resolved += [given] if isinstance(given, str) or not isinstance(given, Sequence) else given
    for part in resolved:
        _check_part(part)
    return resolved


def _check_part(part: object) -> None:
    if not isinstance(part, str | ToolCall):
        raise TypeError(f"a part of an answer is {part!r}; allowed: a text or a sandbox.ToolCall")
