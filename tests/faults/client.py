"""A chat model in one of its four modes, and what must be true of each call."""

import asyncio
import os
import pickle
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import BaseChatModel

from tests.faults.server import FaultServer, Record, Script
from tests.faults.targets import KEY, Mode, Target
from tests.faults.wire import TEXT

QUESTION = "Hi?"
MAX_MESSAGE = 300
"""The most characters an error shows."""


class LateError(AssertionError):
    """Something came true too late: what is wrong may be a busy machine."""


@dataclass
class Call:
    """What one call gave: a message, the sum of what was shown before the error, or neither."""

    message: Any = None
    pieces: int = 0
    error: Exception | None = None
    seconds: float = 0.0

    def show(self, chunk: Any) -> None:
        """Add a chunk to what was shown."""
        self.message = chunk if self.message is None else self.message + chunk
        self.pieces += bool(chunk.text)

    @property
    def text(self) -> str:
        """The text that was shown."""
        return "" if self.message is None else str(self.message.text)


@dataclass(frozen=True)
class Client:
    """A target in one mode: what the test of a fault takes."""

    target: Target
    mode: Mode

    @property
    def ours(self) -> bool:
        """Whether the strict reading of each expectation applies."""
        return self.target.ours

    @property
    def streams(self) -> bool:
        """Whether the caller sees pieces as they come."""
        return self.mode in ("stream", "astream")

    @property
    def is_async(self) -> bool:
        """Whether calls run in an event loop."""
        return self.mode in ("ainvoke", "astream")

    def call(self, model: BaseChatModel, times: int = 1, config: Any = None) -> list[Call]:
        """Call a model, in one event loop where the mode has one."""
        if self.is_async:
            return asyncio.run(self._acalls(model, times, config))
        return [call(model, self.mode, config) for _ in range(times)]

    async def _acalls(self, model: BaseChatModel, times: int, config: Any) -> list[Call]:
        return [await acall(model, self.mode, config) for _ in range(times)]


@contextmanager
def _recorded() -> Iterator[Call]:
    made, began = Call(), time.monotonic()
    try:
        yield made
    except Exception as error:  # noqa: BLE001 - every error is an outcome here
        made.error = error
    made.seconds = time.monotonic() - began


def call(model: BaseChatModel, mode: Mode = "invoke", config: Any = None) -> Call:
    """Call a model without a loop."""
    with _recorded() as made:
        if mode == "invoke":
            made.message = model.invoke(QUESTION, config)
        else:
            for chunk in model.stream(QUESTION, config):
                made.show(chunk)
    return made


async def acall(model: BaseChatModel, mode: Mode = "ainvoke", config: Any = None) -> Call:
    """Call a model inside a loop."""
    with _recorded() as made:
        if mode == "ainvoke":
            made.message = await model.ainvoke(QUESTION, config)
        else:
            async for chunk in model.astream(QUESTION, config):
                made.show(chunk)
    return made


# --- What must be true ----------------------------------------------------------------


def check_answered(
    client: Client,
    scripts: Sequence[Script],
    *,
    text: str = TEXT,
    requests: int | None = None,
    calls: int = 1,
    settings: dict[str, Any] | None = None,
) -> tuple[Call, Record]:
    """Serve `scripts`, call, and assert that every call is answered in full.

    Returns the last call, and what the server saw: `requests` requests, by default one a call.
    """
    with FaultServer(scripts) as server:
        made = client.call(client.target.model(server.url, **settings or {}), calls)
    for one in made:
        check_answer(client, one, text)
    assert len(server.record.requests) == (requests or calls)
    assert server.record.problems == []
    return made[-1], server.record


def check_answer(client: Client, made: Call, text: str = TEXT) -> None:
    """Assert that a call was answered in full."""
    assert made.error is None
    assert made.text == text
    assert made.message.usage_metadata or not client.ours


def check_raised(
    client: Client,
    scripts: Sequence[Script],
    kind: str = "ModelError",
    *,
    requests: int | None = None,
    settings: dict[str, Any] | None = None,
    **facts: Any,
) -> tuple[Call, Record]:
    """Serve `scripts`, and assert that a call ends with a typed error; see `check_error`.

    Returns the call, and what the server saw: `requests` are asked of ours alone.
    """
    with FaultServer(scripts) as server:
        [made] = client.call(client.target.model(server.url, **settings or {}))
        check_error(client, made, kind, **facts)
    assert not client.ours or requests in (None, len(server.record.requests))
    assert server.record.problems == []
    return made, server.record


def check_error(
    client: Client,
    made: Call,
    kind: str = "ModelError",
    *,
    shown: str | None = None,
    within: float | None = None,
    retryable: bool | None = None,
    status: int | None = None,
    says: str = "",
) -> None:
    """Assert that a call ended with a typed error, and with nothing that looks like an answer.

    The class, `retryable`, `status` and `says` are asked of ours alone, since peers may well draw
    those lines elsewhere.
    """
    error = made.error
    assert error is not None, f"no error, but the answer {made.text[:60]!r}"
    assert any(name.startswith(client.target.errors) for name in class_names(error)), repr(error)
    assert shown is None or not client.streams or made.text == shown
    if within is not None:
        check_soon(made.seconds, within)
    if client.ours:
        assert kind in [type_.__name__ for type_ in type(error).__mro__], repr(error)
        assert retryable in (None, getattr(error, "is_retryable", None))
        assert status in (None, getattr(error, "status_code", None))
        assert says in str(error)
        check_decent(error)


def check_decent(error: BaseException, key: str = KEY) -> None:
    """Assert that an error can be shown, kept and sent: no markup, no key, no response."""
    assert not ("<" in str(error) and ">" in str(error)), f"shows markup: {error}"
    assert len(str(error)) <= MAX_MESSAGE
    assert leaks_of(error, key) == []
    assert [name for name in ("response", "request", "body") if hasattr(error, name)] == []
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - made right here
    assert type(again) is type(error)
    assert str(again) == str(error)


def class_names(error: BaseException) -> list[str]:
    """Return the qualified names of an error's classes, most derived first."""
    return [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]


def links(error: BaseException) -> Iterator[BaseException]:
    """Yield `error`, its causes, its contexts and the members of groups, each once."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        yield one


def leaks_of(error: BaseException, key: str = KEY) -> list[str]:
    """Return where the key shows in an error, its chain or its pickle."""
    leaks = [
        f"text of {type(one).__name__}"
        for one in links(error)
        if key in f"{one} {one!r} {one.args!r} {vars(one)!r}"
    ]
    try:
        pickled = pickle.dumps(error)
    except Exception:  # noqa: BLE001 - peers' errors hold what no pickle takes
        pickled = b""
    return [*leaks, "pickle"] if key.encode() in pickled else leaks


def run_forked(work: Callable[[], None]) -> None:
    """Do something in a forked child, where clients are made anew; fail if it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads are as they are
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:  # noqa: BLE001 - nothing may go on in the child
            traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    assert ended == 0, "failed in the forked child"


def check_soon(seconds: float, most: float) -> None:
    """Assert that something took no longer than `most` seconds."""
    if seconds > most:
        raise LateError(f"took {seconds:.2f} s, at most {most} are allowed")


def check_released(record: Record, most_open: int = 0) -> None:
    """Assert that soon no more than `most_open` connections are open."""
    if not record.wait_closed(most_open):
        raise LateError(f"{len(record.open_connections())} connections stay open")
