"""Run a chat model in one of its four modes and keep what the caller got, as plain data."""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage

from tests.faults.targets import KEY

Mode = Literal["invoke", "stream", "ainvoke", "astream"]
MODES: tuple[Mode, ...] = get_args(Mode)
QUESTION = "Hi?"


@dataclass(frozen=True)
class Caught:
    """An exception, as data that crosses a process border.

    Attributes:
        kinds: The qualified names of its classes, most derived first.
        message: What `str` shows.
        leaks: Where the key was found in it, its chain or its pickle.
        facts: Its plain attributes.
        pickles: Whether it survives a pickle with its attributes.
    """

    kinds: tuple[str, ...]
    message: str
    leaks: tuple[str, ...]
    facts: dict[str, Any]
    pickles: bool

    @property
    def name(self) -> str:
        """The class's own name."""
        return self.kinds[0].rpartition(".")[2]

    def is_a(self, name: str) -> bool:
        """Return whether a class of this bare name is among its classes."""
        return any(kind.rpartition(".")[2] == name for kind in self.kinds)


@dataclass
class Outcome:
    """Outcome of one call.

    Attributes:
        text: The answer's text, or what was shown of it before the error.
        chunks: How many pieces were shown that had text.
        usage: The usage metadata, where the answer has it.
        metadata: The response metadata, where there is an answer.
        caught: The error, or `None`.
        seconds: How long the call took.
    """

    text: str = ""
    chunks: int = 0
    usage: dict[str, Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    caught: Caught | None = None
    seconds: float = 0.0


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


def catch(error: BaseException, key: str = KEY) -> Caught:
    """Return `error` as data."""
    leaks = []
    for one in links(error):
        where = type(one).__name__
        seen = f"{one} {one!r} {one.args!r} {vars(one)!r}"
        if key in seen:
            leaks.append(f"text of {where}")
    facts: dict[str, Any] = {
        name: value
        for name, value in vars(error).items()
        if isinstance(value, str | int | float | bool | None)
    }
    facts["is_retryable"] = getattr(error, "is_retryable", None)
    facts["carries"] = [name for name in ("response", "request", "body") if hasattr(error, name)]
    pickles = False
    try:
        data = pickle.dumps(error)
        if key.encode() in data:
            leaks.append("pickle")
        again = pickle.loads(data)  # noqa: S301 - made on the line above
        pickles = type(again) is type(error) and str(again) == str(error)
    except Exception:  # noqa: BLE001 - any failure to pickle is the finding
        pickles = False
    kinds = tuple(f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return Caught(kinds, str(error), tuple(leaks), facts, pickles)


def run(make: Callable[[], BaseChatModel], mode: Mode, calls: int = 1) -> list[Outcome]:
    """Make one model and call it `calls` times, one after the other."""
    if mode in ("ainvoke", "astream"):
        return asyncio.run(_run_async(make, mode, calls))
    model = make()
    return [call(model, mode) for _ in range(calls)]


async def _run_async(make: Callable[[], BaseChatModel], mode: Mode, calls: int) -> list[Outcome]:
    model = make()
    return [await acall(model, mode) for _ in range(calls)]


def call(model: BaseChatModel, mode: Mode) -> Outcome:
    """Call a model without a loop."""
    outcome, began = Outcome(), time.monotonic()
    try:
        if mode == "invoke":
            _keep(outcome, model.invoke(QUESTION))
        else:
            whole: Any = None
            for chunk in model.stream(QUESTION):
                whole = chunk if whole is None else whole + chunk
                _show(outcome, chunk)
            _keep(outcome, whole)
    except Exception as error:  # noqa: BLE001 - every error is an outcome here
        outcome.caught = catch(error)
    outcome.seconds = time.monotonic() - began
    return outcome


async def acall(model: BaseChatModel, mode: Mode) -> Outcome:
    """Call a model inside a loop."""
    outcome, began = Outcome(), time.monotonic()
    try:
        if mode == "ainvoke":
            _keep(outcome, await model.ainvoke(QUESTION))
        else:
            whole: Any = None
            async for chunk in model.astream(QUESTION):
                whole = chunk if whole is None else whole + chunk
                _show(outcome, chunk)
            _keep(outcome, whole)
    except Exception as error:  # noqa: BLE001 - every error is an outcome here
        outcome.caught = catch(error)
    outcome.seconds = time.monotonic() - began
    return outcome


def _show(outcome: Outcome, chunk: Any) -> None:
    text = str(chunk.text)
    outcome.text += text
    outcome.chunks += bool(text)


def _keep(outcome: Outcome, message: AIMessage | None) -> None:
    if message is None:
        return
    outcome.text = str(message.text)
    outcome.usage = dict(message.usage_metadata) if message.usage_metadata else None
    outcome.metadata = dict(message.response_metadata)
