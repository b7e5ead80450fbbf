"""A fault: what the server does, and what must then be true on both sides."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.faults.runs import MODES, Caught, Mode, Outcome
from tests.faults.server import Record, Script
from tests.faults.targets import Settings, Target
from tests.faults.wire import GOOD, TEXT

MAX_MESSAGE = 300
"""The most characters an error shows."""

MEMORY_MIB = 48
"""MiB by which a call may grow a process, whatever the server sends."""


LATE = ("took ", "waited ", "still running after ")
"""Prefix of a verdict that is about time alone."""


@dataclass(frozen=True)
class Seen:
    """Both sides of a run: what the caller got and what the server saw.

    Attributes:
        grew: MiB that the process grew by at its peak; 0 where nobody measured.
    """

    target: Target
    mode: Mode
    settings: Settings
    outcomes: list[Outcome]
    record: Record
    grew: float = 0.0

    @property
    def last(self) -> Outcome:
        """The last call's outcome."""
        return self.outcomes[-1]

    @property
    def streams(self) -> bool:
        """Whether the caller sees pieces as they come."""
        return self.mode in ("stream", "astream")


Verdict: TypeAlias = str
"""Empty when the fault is held, else what is wrong."""

Expect: TypeAlias = Callable[[Seen], Verdict]
Scenario: TypeAlias = Callable[[Target, Mode], Verdict]


@dataclass(frozen=True)
class Fault:
    """One thing the wire can do, and what is expected then.

    Attributes:
        group: Its chapter.
        name: Its name, as `--only` takes it.
        promise: What holds, in a few words for the documentation.
        scripts: What the server does at the first request, the second, ...; the last repeats.
        expect: The judge of both sides.
        scenario: In place of scripts and judge, for faults that are no single call.
        modes: The modes that differ.
        settings: How the model is set up.
        calls: How many calls one model makes, one after the other.
        isolated: Whether it must run in a process of its own, since it could hang or eat memory.
        environ: Environment variables to set; `{url}` is the server's origin.
        origin: The origin given to the model; `{url}` is the server's.
        plain: Whether peers get their own way in `invoke`.
        peers: Whether it can be asked of models that are not ours.
        limit: Seconds after which a process of its own is ended.
    """

    group: str
    name: str
    promise: str
    scripts: tuple[Script, ...] = (GOOD,)
    expect: Expect | None = None
    scenario: Scenario | None = None
    modes: tuple[Mode, ...] = MODES
    settings: Settings = field(default_factory=Settings)
    calls: int = 1
    isolated: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)
    origin: str = "{url}"
    plain: bool = False
    peers: bool = True
    limit: float = 30.0


# --- Judges ---------------------------------------------------------------------------


def both(*judges: Expect) -> Expect:
    """Return a judge that asks each of `judges`."""
    return lambda seen: next(filter(None, (judge(seen) for judge in judges)), "")


def per_mode(shown: Expect, collected: Expect) -> Expect:
    """Return a judge that differs between streaming modes and `invoke`."""
    return lambda seen: shown(seen) if seen.streams else collected(seen)


def answers(
    text: str = TEXT, *, requests: int | None = 1, within: float | None = None, usage: bool = True
) -> Expect:
    """Expect a complete answer from every call, after so many requests in all."""

    def judge(seen: Seen) -> Verdict:
        for outcome in seen.outcomes:
            if outcome.caught is not None:
                return f"raised {outcome.caught.name}: {outcome.caught.message[:120]}"
            if outcome.text != text:
                return f"answered {outcome.text[:60]!r}, not {text[:60]!r}"
            if seen.target.ours and usage and not outcome.usage:
                return "lost the usage"
            if within is not None and outcome.seconds > within:
                return f"took {outcome.seconds:.1f} s"
        return count(requests)(seen)

    return judge


def count(requests: int | None) -> Expect:
    """Expect so many requests at the server; `None` accepts any number."""

    def judge(seen: Seen) -> Verdict:
        made = len(seen.record.requests)
        return "" if requests in (None, made) else f"sent {made} requests, not {requests}"

    return judge


def raises(
    kind: str = "ModelError",
    *,
    retryable: bool | None = None,
    requests: int | None = None,
    shown: str | None = None,
    says: str = "",
    within: float | None = None,
    status: int | None = None,
) -> Expect:
    """Expect a typed error, and nothing that looks like an answer.

    `kind` is a class's bare name; it, `retryable`, `requests`, `says` and `status` are asked of
    ours alone, since peers may well draw those lines elsewhere.
    """

    def judge(seen: Seen) -> Verdict:
        outcome = seen.last
        caught = outcome.caught
        if caught is None:
            return f"no error: answered {outcome.text[:60]!r}"
        if within is not None and outcome.seconds > within:
            return f"took {outcome.seconds:.1f} s to raise {caught.name}"
        if not any(known.startswith(seen.target.errors) for known in caught.kinds):
            return f"untyped {caught.kinds[0]}: {caught.message[:120]}"
        if shown is not None and seen.streams and outcome.text != shown:
            return f"showed {outcome.text[:60]!r} before the error, not {shown[:60]!r}"
        if not seen.target.ours:
            return ""
        return (
            _facts(caught, kind, retryable=retryable, status=status)
            or _words(caught, says)
            or count(requests)(seen)
        )

    return judge


def _facts(caught: Caught, kind: str, *, retryable: bool | None, status: int | None) -> Verdict:
    if not caught.is_a(kind):
        return f"raised {caught.name}, not {kind}: {caught.message[:120]}"
    if retryable not in (None, caught.facts["is_retryable"]):
        return f"{caught.name}.is_retryable is {caught.facts['is_retryable']}"
    if status not in (None, caught.facts.get("status_code")):
        return f"status_code is {caught.facts.get('status_code')}, not {status}"
    return ""


def _words(caught: Caught, says: str) -> Verdict:
    if says not in caught.message:
        return f"does not say {says!r}: {caught.message[:120]}"
    if "<" in caught.message and ">" in caught.message:
        return f"shows markup: {caught.message[:120]}"
    if len(caught.message) > MAX_MESSAGE:
        return f"has {len(caught.message)} characters"
    if caught.leaks:
        return f"leaks the key: {', '.join(caught.leaks)}"
    if caught.facts["carries"]:
        return f"carries {caught.facts['carries']}"
    return "" if caught.pickles else "does not survive a pickle"


def bounded(seen: Seen) -> Verdict:
    """Expect that the process did not grow with what the server sent."""
    return f"grew by {seen.grew:.0f} MiB" if seen.grew > MEMORY_MIB else ""


def answers_or_raises(text: str = TEXT, kind: str = "ModelError") -> Expect:
    """Expect the true answer or a typed error; never a part of the one without the other."""

    def judge(seen: Seen) -> Verdict:
        if seen.last.caught is None:
            return answers(text, requests=None)(seen)
        return raises(kind)(seen)

    return judge


def released(seen: Seen) -> Verdict:
    """Expect that at most one connection, the pooled one, stays open."""
    return "" if seen.record.wait_closed(1) else f"{len(seen.record.open_connections())} stay open"


def connections(most: int) -> Expect:
    """Expect that no more than `most` connections were ever opened."""

    def judge(seen: Seen) -> Verdict:
        made = len(seen.record.connections)
        return "" if made <= most else f"opened {made} connections, not {most}"

    return judge
