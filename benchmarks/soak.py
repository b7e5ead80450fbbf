"""Soak test: 50 async callers and 8 threads at once, while one request in twenty meets a fault.

    python -m benchmarks.soak --seconds 60

Every call must end, in the answer that the service gave or in an error of the package; some streams
are left early or cancelled. At the end no task and no socket is open but the idle connections of
the threads, and memory is where it was after the warm-up. The exit status is 1 otherwise.
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.measures import open_sockets, resident_kib
from langchain_minitoolai import ChatMiniToolAI, sandbox
from langchain_minitoolai.errors import MiniToolAIError

KEY = "soak-key"
CALLERS = 50
THREADS = 8
FAULTY = 0.05
MAX_GROWTH_KIB = 24 * 1024

_faults = sandbox.faults
_FAULTS = (
    _faults.status(429, headers={"retry-after-ms": "50"}), _faults.status(500),
    _faults.status(503, headers={"Retry-After": "0"}), _faults.status(400),
    _faults.html_page(520), _faults.html_page(200, title="Just a moment..."),
    _faults.drop(), _faults.drop(reset=True), _faults.cut(2), _faults.cut(2, ending="clean"),
    _faults.cut(1, ending="reset"), _faults.stall(seconds=3.0), _faults.stall(2, seconds=3.0),
    _faults.stall(2, seconds=3.0, comments=0.1), _faults.garbled(2), _faults.error_event(2),
)  # fmt: skip


def expected(question: str) -> str:
    """Return the answer to a question; service and callers compute it alike."""
    chooser = random.Random(question)
    return " ".join(f"w{chooser.randrange(1000)}" for _ in range(chooser.randrange(3, 30)))


def _serve(pipe: Connection) -> None:
    """Run the service, in a process of its own that ends with its parent."""
    chooser = random.Random(1)
    with sandbox.running(api_key=KEY, balance=1e9) as service:

        def answer(body: Mapping[str, Any]) -> str:
            if chooser.random() < FAULTY:
                service.fault(chooser.choice(_FAULTS))
            return expected(str(body["messages"][-1]["content"]))

        service.reply(answer, times=None)
        pipe.send(service.base_url)
        threading.Event().wait()


class Callers:
    """Everyone who calls, and how the calls `ended`: every call that has `begun` must end."""

    def __init__(self, model: ChatMiniToolAI, until: float) -> None:
        """Call `model` until the clock is at `until`."""
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._model = model
        self._until = until
        self._lock = threading.Lock()

    def _begin(self) -> str:
        with self._lock:
            self.begun += 1
            return f"Question {self.begun}?"

    def _end(self, question: str, text: str, how: str | Exception) -> None:
        """Check that `text` is the answer, or its beginning if the call was not completed."""
        answer = expected(question)
        right = text == answer if how == "answered" else answer.startswith(text)
        right = right and isinstance(how, MiniToolAIError | str)
        with self._lock:
            self.ended[how if isinstance(how, str) else type(how).__name__] += 1
            if not right:
                self.wrong.append(f"{question} {how!r}: {text[:80]!r} is not {answer[:80]!r}")

    async def _call_async(self, chooser: random.Random) -> None:
        question, text, chunks = self._begin(), "", 0
        leave_after = chooser.randrange(1, 4) if chooser.random() < 0.1 else 0
        try:
            if chooser.random() < 0.2:
                text = str((await self._model.ainvoke(question)).text)
            else:
                async for chunk in self._model.astream(question):
                    text += chunk.text
                    chunks += 1
                    if chunks == leave_after:
                        break
            self._end(question, text, "left early" if 0 < chunks == leave_after else "answered")
        except asyncio.CancelledError:
            self._end(question, text, "cancelled")
        except Exception as error:
            self._end(question, text, error)

    async def call_async(self, seed: int) -> None:
        """Call one after the other; one call in twenty is cancelled."""
        chooser = random.Random(seed)
        while time.monotonic() < self._until:
            task = asyncio.create_task(self._call_async(chooser))
            if chooser.random() < 0.05:
                await asyncio.sleep(chooser.random() * 0.1)
                task.cancel()
            await asyncio.wait([task])

    def call(self, seed: int) -> None:
        """Call one after the other; every second call is a stream."""
        chooser = random.Random(seed)
        while time.monotonic() < self._until:
            question, text = self._begin(), ""
            try:
                if chooser.random() < 0.5:
                    text = str(self._model.invoke(question).text)
                else:
                    for chunk in self._model.stream(question):
                        text += chunk.text
                self._end(question, text, "answered")
            except Exception as error:
                self._end(question, text, error)


async def _run(callers: Callers, seconds: float) -> tuple[float, int]:
    """Run all callers; return how much memory grew after the warm-up, and the tasks left."""
    loop, threads = asyncio.get_running_loop(), ThreadPoolExecutor(THREADS)
    calls = [loop.run_in_executor(threads, callers.call, seed) for seed in range(THREADS)]
    tasks = asyncio.gather(*calls, *(callers.call_async(-n) for n in range(1, CALLERS + 1)))
    await asyncio.sleep(seconds * 0.4)
    warm = resident_kib()
    await tasks
    await asyncio.sleep(0.2)
    return resident_kib() - warm, len(asyncio.all_tasks()) - 1


def soak(base_url: str, seconds: float) -> list[str]:
    """Run for `seconds`; return everything that is wrong."""
    before = open_sockets()
    options: dict[str, Any] = {"api_key": KEY, "base_url": base_url, "timeout": 1.5}
    model = ChatMiniToolAI(total_timeout=20, max_retries=2, **options)
    callers = Callers(model, time.monotonic() + seconds)
    grown, tasks = asyncio.run(_run(callers, seconds))
    sockets = open_sockets() - before
    print(f"{callers.begun} calls, {grown:,.0f} KiB: {dict(callers.ended)}")
    held = {
        "calls never ended": callers.ended.total() == callers.begun,
        f"{tasks} tasks were left": tasks == 0,
        f"{sockets:.0f} sockets are open, for {THREADS} threads": sockets <= THREADS,
        f"memory grew by {grown:,.0f} KiB": grown <= MAX_GROWTH_KIB,
        "too little happened": callers.ended["answered"] > 0 and len(callers.ended) > 3,
    }
    return callers.wrong[:10] + [problem for problem, fine in held.items() if not fine]


def main() -> int:
    """Start the service, run, and return 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    spawn.Process(target=_serve, args=(theirs,), daemon=True).start()
    problems = soak(ours.recv(), seconds)
    print("\n".join(problems) or "no call was lost or wrong, and nothing was left open")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
