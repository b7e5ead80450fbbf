"""Sandbox service: the running sandbox's address, charges, scripts and recorded requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from langchain_minitoolai import contract
from langchain_minitoolai.sandbox._chat import CallForm, Part, ToolCall
from langchain_minitoolai.sandbox._jobs import JobSeconds, JobTable
from langchain_minitoolai.sandbox.faults import Fault, Route, routes

T = TypeVar("T")
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
class Charge:
    """One charge, as booked.

    Attributes:
        kind: Chat or image.
        model: The model that was asked for.
        usd: The price, in USD.
        facts: The usage of an answer, or the job and the parameters of an image.
    """

    kind: Literal["chat", "image"]
    model: str
    usd: float
    facts: Mapping[str, Any] = field(default_factory=dict)


class Reply(NamedTuple):
    """A scripted answer, and how it ends."""

    parts: Sequence[Part | Script]
    finish_reason: str | None = None


@dataclass(slots=True)
class _Scripted(Generic[T]):
    """A scripted answer or fault, for how many requests on which routes."""

    what: T
    routes: frozenset[Route]
    times: int | None
    used: int = 0


class Service:
    """A running sandbox; every method is safe to call from any thread.

    Attributes:
        origin: The address without `/api`, such as `http://127.0.0.1:40213`.
        api_key: The only key it accepts.
        call_form: How calls are written in answers; see `running`.
        settings: The options it was started with.
        jobs: The image jobs.
    """

    def __init__(self, origin: str, api_key: str, settings: Settings) -> None:
        """Start with nothing received, booked or scripted."""
        self.origin = origin
        self.api_key = api_key
        self.settings = settings
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was received, booked, submitted and scripted, and refill the balance."""
        with self._lock:
            self.call_form = self.settings.call_form
            self.jobs = JobTable(self.settings.seed, self.settings.job_seconds)
            self._requests: list[RecordedRequest] = []
            self._charges: list[Charge] = []
            self._balance = self.settings.balance
            self._replies: list[_Scripted[Reply]] = []
            self._faults: list[_Scripted[Fault]] = []

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
        return {contract.API_KEY_VARIABLE: self.api_key, contract.API_BASE_VARIABLE: self.base_url}

    @property
    def charges(self) -> list[Charge]:
        """Every charge so far, in order."""
        with self._lock:
            return list(self._charges)

    @property
    def balance(self) -> float:
        """The credit left, in USD; set it to zero to be refused with a 402."""
        return self._balance

    @balance.setter
    def balance(self, usd: float) -> None:
        with self._lock:
            self._balance = usd

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in order."""
        with self._lock:
            return list(self._requests)

    @property
    def unused(self) -> list[str]:
        """The scripted answers and faults that fewer requests met than they were meant for."""
        with self._lock:
            scripts: list[_Scripted[Any]] = [*self._replies, *self._faults]
        counts = [(script.what, script.used, script.times or 1) for script in scripts]
        return [
            f"{what!r} was used {used} of {times} times"
            for what, used, times in counts
            if used < times
        ]

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
        script = _Scripted(Reply(parts, finish_reason), frozenset({"chat"}), times)
        with self._lock:
            self._replies.append(script)

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
        script = _Scripted(fault, routes(fault) if on is None else frozenset({on}), times)
        with self._lock:
            self._faults.append(script)

    def receive(self, request: RecordedRequest) -> int:
        """Keep a request, and give its place in line."""
        with self._lock:
            self._requests.append(request)
            return len(self._requests)

    def charge_chat(self, model: str, usage: Mapping[str, Any]) -> None:
        """Book an answer at its model's price, from the usage it reports."""
        read, written = {**self.settings.models, **contract.CHAT_PRICES}[model] or (0.0, 0.0)
        usd = (usage["prompt_tokens"] * read + usage["completion_tokens"] * written) / 1_000_000
        self._book(Charge("chat", model, usd, dict(usage)))

    def charge_image(self, jobid: int, body: Mapping[str, Any]) -> None:
        """Book an image, which costs the same whatever its parameters."""
        self._book(Charge("image", body["model"], contract.IMAGE_PRICE, {"jobid": jobid, **body}))

    def next_fault(self, route: Route) -> Fault | None:
        """Take the next fault that is scripted for such a request."""
        return self._next(self._faults, route)

    def next_reply(self) -> Reply | None:
        """Take the next scripted answer."""
        return self._next(self._replies, "chat")

    def _book(self, charge: Charge) -> None:
        with self._lock:
            self._charges.append(charge)
            self._balance -= charge.usd

    def _next(self, scripts: list[_Scripted[T]], route: Route) -> T | None:
        with self._lock:
            for place, script in enumerate(scripts):
                if route in script.routes:
                    script.used += 1
                    if script.used == script.times:
                        del scripts[place]
                    return script.what
        return None


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
