"""The life cycle: breaks, cancellations, loops, threads, forks, copies and collection."""

import asyncio
import copy
import gc
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel

from tests.faults.fault import Fault, Scenario, Verdict
from tests.faults.runs import QUESTION, Mode, acall, call, run
from tests.faults.server import Exchange, FaultServer, Record, Script
from tests.faults.targets import Settings, Target
from tests.faults.wire import (
    CHUNKED,
    GOOD,
    TEXT,
    answer,
    chunked,
    error,
    event,
    head,
    stream,
    token,
    tokens,
)

SETTINGS = Settings(timeout=4.0, total_timeout=60.0, max_retries=1)
SOON = 1.5
"""Seconds within which what is let go must be gone."""


def _slow(exchange: Exchange) -> None:
    """Send a token every 20 ms, far beyond what anybody reads."""
    exchange.send(head(headers=CHUNKED), *map(chunked, tokens()))
    for _ in range(300):
        exchange.send(chunked(event(token("x"))))
        exchange.pause(0.02)


def _mute(exchange: Exchange) -> None:
    exchange.send(head(headers=CHUNKED))
    exchange.stall()


class Bench:
    """A server with scripts and a model that talks to it."""

    def __init__(self, target: Target, server: FaultServer) -> None:
        """Make the model."""
        self.server = server
        self.record: Record = server.record
        self.model: BaseChatModel = target.model(server.url, SETTINGS)

    def is_released(self, most_open: int = 0) -> Verdict:
        """Describe what stays open."""
        if self.record.wait_closed(most_open, SOON):
            return ""
        return f"{len(self.record.open_connections())} connections stay open"

    async def asked(self) -> None:
        """Wait until the server has a request and its first answer is under way."""
        while not self.record.requests:  # noqa: ASYNC110 - the server lives in threads
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)

    async def ais_released(self, most_open: int = 0) -> Verdict:
        """Describe what stays open, while the loop runs."""
        return await asyncio.to_thread(self.is_released, most_open)

    def still_answers(self) -> Verdict:
        """Return whether a call that follows is answered."""
        outcome = call(self.model, "invoke")
        return "" if outcome.text == TEXT else f"then: {outcome.caught or outcome.text}"

    async def astill_answers(self) -> Verdict:
        """Return whether a call that follows in this loop is answered."""
        outcome = await acall(self.model, "ainvoke")
        return "" if outcome.text == TEXT else f"then: {outcome.caught or outcome.text}"


def _sync(scripts: Sequence[Script], play: Callable[[Bench], Verdict]) -> Scenario:
    def scenario(target: Target, mode: Mode) -> Verdict:
        with FaultServer(scripts) as server:
            return play(Bench(target, server))

    return scenario


def _async(
    scripts: Sequence[Script], play: Callable[[Bench], Coroutine[Any, Any, Verdict]]
) -> Scenario:
    def scenario(target: Target, mode: Mode) -> Verdict:
        with FaultServer(scripts) as server:
            bench = Bench(target, server)
            quiet: list[str] = []

            async def watched() -> Verdict:
                loop = asyncio.get_running_loop()
                loop.set_exception_handler(lambda _, facts: quiet.append(str(facts["message"])))
                return await play(bench)

            verdict = asyncio.run(watched())
            return verdict or "; ".join(quiet)

    return scenario


# --- Breaks ---------------------------------------------------------------------------


def _break(bench: Bench) -> Verdict:
    for _ in bench.model.stream(QUESTION):
        break
    return bench.is_released() or bench.still_answers()


async def _abreak(bench: Bench) -> Verdict:
    async for _ in bench.model.astream(QUESTION):
        break
    return await bench.ais_released() or await bench.astill_answers()


async def _aclose(bench: Bench) -> Verdict:
    stream = bench.model.astream(QUESTION)
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    return await bench.ais_released() or await bench.astill_answers()


def _breaks(bench: Bench) -> Verdict:
    for _ in range(12):
        for _ in bench.model.stream(QUESTION):
            break
    return bench.is_released() or bench.still_answers()


async def _abreaks(bench: Bench) -> Verdict:
    for _ in range(12):
        async for _ in bench.model.astream(QUESTION):
            break
    return await bench.ais_released() or await bench.astill_answers()


def _dozen(target: Target, mode: Mode) -> Verdict:
    scripts = [*[_slow] * 12, GOOD]
    play = _sync(scripts, _breaks) if mode == "stream" else _async(scripts, _abreaks)
    return play(target, mode)


# --- Cancellations ------------------------------------------------------------------------


async def _consume(model: BaseChatModel) -> None:
    async for _ in model.astream(QUESTION):
        pass


async def _ended(task: asyncio.Task[Any], began: float) -> Verdict:
    done, _ = await asyncio.wait([task], timeout=SOON)
    if not done:
        return "the task goes on"
    if not task.cancelled():
        return f"ended with {task.exception()!r}"[:200]
    return "" if time.monotonic() - began < 1.0 else "took its time to end"


def _cancels(
    start: Callable[[BaseChatModel], Awaitable[Any]], *, times: int = 1
) -> Callable[[Bench], Coroutine[Any, Any, Verdict]]:
    async def play(bench: Bench) -> Verdict:
        async def run() -> None:
            await start(bench.model)

        task = asyncio.create_task(run())
        await bench.asked()
        began = time.monotonic()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        return (
            await _ended(task, began) or await bench.ais_released() or await bench.astill_answers()
        )

    return play


async def _cancel_anywhere(bench: Bench) -> Verdict:
    """Cancel streams after ever longer times, so that every place they wait at is met."""
    for number in range(60):
        task = asyncio.create_task(_consume(bench.model))
        await asyncio.sleep(0.0004 * number)
        task.cancel()
        if number % 2:
            task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=SOON)
        if not done:
            return "the task goes on"
    bench.server.scripts[:] = [GOOD]
    return await bench.ais_released(1) or await bench.astill_answers()


async def _cancel_connecting(bench: Bench) -> Verdict:
    """Cancel calls once each, around the moment at which their connection is made.

    There anyio may take a cancellation for one of its own.
    """
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 30.0
    for number in range(250):
        task = asyncio.create_task(bench.model.ainvoke(QUESTION))
        await asyncio.sleep(0.00004 * number)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=SOON)
        if not done:
            return f"cancelled after {0.04 * number:.1f} ms, it goes on"
    bench.server.scripts[:] = [GOOD]
    return await bench.ais_released() or await bench.astill_answers()


async def _cancel_backoff(bench: Bench) -> Verdict:
    task = asyncio.create_task(bench.model.ainvoke(QUESTION))
    await bench.asked()
    began = time.monotonic()
    task.cancel()
    verdict = await _ended(task, began)
    if verdict or len(bench.record.requests) != 1:
        return verdict or f"sent {len(bench.record.requests)} requests"
    return await bench.ais_released(1) or await bench.astill_answers()


_MANY = ["x"] * 300


def _slow_caller(target: Target, mode: Mode) -> Verdict:
    """Take a pause of more than `timeout` after the first chunk, with many more on the way."""
    with FaultServer([stream(answer(_MANY))]) as server:
        model = target.model(server.url, Settings(timeout=1.0, max_retries=0))
        shown = ""
        if mode == "astream":
            shown = asyncio.run(_adawdle(model))
        else:
            for chunk in model.stream(QUESTION):
                if not shown:
                    time.sleep(1.6)
                shown += str(chunk.text)
        return "" if shown == "".join(_MANY) else f"showed {len(shown)} of {len(_MANY)}"


async def _adawdle(model: BaseChatModel) -> str:
    shown = ""
    async for chunk in model.astream(QUESTION):
        if not shown:
            await asyncio.sleep(1.6)
        shown += str(chunk.text)
    return shown


def _unaccepting(target: Target, mode: Mode) -> Verdict:
    """Fill a listener's backlog, so that the next connection is never made."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as held:
        address = listener.getsockname()
        for _ in range(4):
            one = held.enter_context(socket.socket())
            one.setblocking(False)  # noqa: FBT003 - the method's own signature
            one.connect_ex(address)
        origin = f"http://127.0.0.1:{address[1]}"
        settings = Settings(timeout=1.0, total_timeout=2.5, max_retries=1)
        [outcome] = run(lambda: target.model(origin, settings), mode)
        if outcome.caught is None or outcome.seconds > 4.0:
            return f"took {outcome.seconds:.1f} s: {outcome.caught}"
        if target.ours and not outcome.caught.is_a("APIConnectionError"):
            return f"raised {outcome.caught.name}"
        return ""


def _handshaking(target: Target, mode: Mode) -> Verdict:
    """Cancel a call, and let another run out of time, while a TLS handshake hangs."""
    settings = Settings(timeout=0.6, total_timeout=3.0, max_retries=0)

    async def play(origin: str, accepted: list[socket.socket]) -> Verdict:
        model = target.model(origin, settings)
        task = asyncio.create_task(acall(model, mode))
        while not accepted and not task.done():  # noqa: ASYNC110 - a thread accepts
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        outcome = await acall(model, mode)
        if outcome.caught is None:
            return "no error"
        await asyncio.sleep(0.2)
        gone = await asyncio.to_thread(lambda: [_is_closed(one) for one in accepted])
        return "" if gone == [True, True] else f"of two connections, closed are {gone}"

    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as held:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while len(accepted) < 2:
                accepted.append(held.enter_context(listener.accept()[0]))

        threading.Thread(target=accept, daemon=True).start()
        gc.disable()  # what closes a connection must not be chance
        return asyncio.run(play(f"https://127.0.0.1:{listener.getsockname()[1]}", accepted))


def _is_closed(sock: socket.socket) -> bool:
    """Read what a client sent, and return whether it has left."""
    sock.settimeout(0.5)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


async def _wait_for(bench: Bench) -> Verdict:
    began = time.monotonic()
    try:
        await asyncio.wait_for(bench.model.ainvoke(QUESTION), 1.0)
    except TimeoutError:
        pass
    else:
        return "no timeout"
    if time.monotonic() - began > 1.8:
        return "took its time to end"
    return await bench.ais_released() or await bench.astill_answers()


# --- Loops, threads, processes --------------------------------------------------------------


def _loops(bench: Bench) -> Verdict:
    for _ in range(2):
        outcome = asyncio.run(acall(bench.model, "astream"))
        if outcome.text != TEXT or outcome.caught:
            return f"{outcome.caught or outcome.text}"
    return bench.is_released()


async def _several(model: BaseChatModel) -> Verdict:
    outcomes = await asyncio.gather(*(acall(model, "ainvoke") for _ in range(3)))
    outcomes = [*outcomes, await acall(model, "astream")]
    return next((str(one.caught) for one in outcomes if one.text != TEXT or one.caught), "")


def _pooled_loops(bench: Bench) -> Verdict:
    for _ in range(3):
        verdict = asyncio.run(_several(bench.model))
        if verdict:
            return verdict
        if not bench.record.wait_closed(0, SOON):
            return "a loop's connections outlive it"
    return ""


def _in_threads(work: Callable[[], Verdict], threads: int) -> Verdict:
    verdicts: list[Verdict] = []
    started = [
        threading.Thread(target=lambda: verdicts.append(work()), daemon=True)
        for _ in range(threads)
    ]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join(15)
    if len(verdicts) != threads:
        return f"{threads - len(verdicts)} threads did not end"
    return next((verdict for verdict in verdicts if verdict), "")


def _loops_in_threads(bench: Bench) -> Verdict:
    def work() -> Verdict:
        return asyncio.run(_several(bench.model)) or asyncio.run(_several(bench.model))

    return _in_threads(work, 4) or bench.is_released()


def _threads(bench: Bench) -> Verdict:
    def work() -> Verdict:
        outcomes = [call(bench.model, mode) for mode in ("invoke", "stream", "invoke")]
        return next((str(one.caught) for one in outcomes if one.text != TEXT or one.caught), "")

    return _in_threads(work, 8)


def _fork(bench: Bench) -> Verdict:
    before = call(bench.model, "invoke")
    outlet, inlet = os.pipe()
    child = os.fork()
    if child == 0:
        outcome = call(bench.model, "invoke")
        looped = asyncio.run(acall(bench.model, "ainvoke"))
        ok = outcome.text == looped.text == TEXT
        os.write(inlet, b"ok" if ok else f"{outcome.caught or looped.caught}".encode()[:400])
        os._exit(0)
    os.close(inlet)
    os.set_blocking(outlet, True)
    report = os.read(outlet, 400).decode()
    os.waitpid(child, 0)
    os.close(outlet)
    after = call(bench.model, "invoke")
    if report != "ok":
        return f"in the child: {report or 'died'}"
    if before.text != TEXT or after.text != TEXT:
        return f"in the parent: {before.caught or after.caught}"
    parents, childs = bench.record.requests[0].connection, bench.record.requests[1].connection
    return "the child used its parent's connection" if parents is childs else ""


def _again(copied: Callable[[BaseChatModel], BaseChatModel]) -> Callable[[Bench], Verdict]:
    def play(bench: Bench) -> Verdict:
        before = call(bench.model, "invoke")
        asyncio.run(acall(bench.model, "ainvoke"))
        twin = copied(bench.model)
        outcomes = [before, call(twin, "invoke"), call(bench.model, "stream")]
        outcomes.append(asyncio.run(acall(twin, "astream")))
        return next((str(one.caught) for one in outcomes if one.text != TEXT or one.caught), "")

    return play


def _copies(model: BaseChatModel) -> BaseChatModel:
    return copy.copy(copy.deepcopy(model)).model_copy()


def _pickled(model: BaseChatModel) -> BaseChatModel:
    made: BaseChatModel = pickle.loads(pickle.dumps(model))  # noqa: S301 - made right here
    return made


_QUIET = [sys.executable, "-X", "dev", "-W", "error", "-m", "tests.faults.quiet"]
_ROOT = Path(__file__).parents[3]


def _quiet(target: Target, mode: Mode) -> Verdict:
    with FaultServer([_slow, GOOD]) as server:
        found = subprocess.run(
            [*_QUIET, target.name, server.url, mode],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=_ROOT,
        )
        lines = [line for line in found.stderr.splitlines() if line.strip()]
        if lines or found.returncode:
            return f"exit {found.returncode}: {' | '.join(lines[-3:])}"[:300]
        return "" if server.record.wait_closed(0, SOON) else "connections outlive their process"


def _life(name: str, promise: str, scenario: Scenario, *modes: Mode) -> Fault:
    return Fault("life cycle", name, promise, scenario=scenario, modes=modes, isolated=True)


_BREAK = (_slow, GOOD)
LIFE = (
    _life(
        "break out of a stream",
        "a stream let go closes its connection",
        _sync(_BREAK, _break),
        "stream",
    ),
    _life(
        "break out of an async stream",
        "an async stream let go closes its connection",
        _async(_BREAK, _abreak),
        "astream",
    ),
    _life(
        "aclose",
        "`aclose` closes the connection before it returns",
        _async(_BREAK, _aclose),
        "astream",
    ),
    _life("a dozen breaks", "no break costs a connection", _dozen, "stream", "astream"),
    _life(
        "cancel a stream",
        "a cancelled stream closes its connection",
        _async(_BREAK, _cancels(_consume)),
        "astream",
    ),
    _life(
        "cancel an ainvoke",
        "a cancelled call closes its connection",
        _async((_mute, GOOD), _cancels(lambda model: model.ainvoke(QUESTION))),
        "ainvoke",
    ),
    _life(
        "cancel a backoff",
        "a cancelled wait ends at once, and nothing is sent again",
        _async((error("503 Busy", headers={"Retry-After": "30"}), GOOD), _cancel_backoff),
        "ainvoke",
    ),
    _life(
        "double cancel",
        "cleaning up outlives a second cancellation",
        _async(_BREAK, _cancels(_consume, times=3)),
        "astream",
    ),
    _life(
        "cancel at any moment",
        "no moment is a bad one to cancel at",
        _async((_slow,), _cancel_anywhere),
        "astream",
    ),
    _life(
        "a slow caller",
        "the time that the caller takes is no stall",
        _slow_caller,
        "stream",
        "astream",
    ),
    _life(
        "connect timed out",
        "a server that accepts nobody costs no more than the time allowed",
        _unaccepting,
        "invoke",
        "ainvoke",
    ),
    _life(
        "cancel while connecting",
        "one cancellation ends a call, also as its connection is made",
        _async((_mute,), _cancel_connecting),
        "ainvoke",
    ),
    _life(
        "cancel during the TLS handshake",
        "a connection that is only half made is closed as well",
        _handshaking,
        "ainvoke",
        "astream",
    ),
    _life(
        "wait_for",
        "`asyncio.wait_for` ends a call in time",
        _async((_mute, GOOD), _wait_for),
        "ainvoke",
    ),
    _life(
        "two loops", "one model serves one loop after another", _sync((GOOD,), _loops), "astream"
    ),
    _life(
        "two loops with pooled answers",
        "no loop is given another's connection",
        _sync((GOOD,), _pooled_loops),
        "ainvoke",
    ),
    _life(
        "loops in threads",
        "one model serves loops side by side",
        _sync((GOOD,), _loops_in_threads),
        "ainvoke",
    ),
    _life("threads", "one model serves threads side by side", _sync((GOOD,), _threads), "invoke"),
    _life(
        "fork after use",
        "a forked child opens connections of its own",
        _sync((GOOD,), _fork),
        "invoke",
    ),
    _life(
        "pickle",
        "a model that was used survives a pickle",
        _sync((GOOD,), _again(_pickled)),
        "invoke",
    ),
    _life(
        "deepcopy", "a model that was used can be copied", _sync((GOOD,), _again(_copies)), "invoke"
    ),
    _life(
        "quiet garbage collection",
        "what is dropped is dropped without a warning",
        _quiet,
        "stream",
        "astream",
    ),
)
