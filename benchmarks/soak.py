"""Soak: 50 async streams and 8 threads at once, while one request in twenty meets a fault.

    python benchmarks/soak.py --seconds 60

Every call must end, in the very answer that the service gave or in an error of ours; some
streams are broken off or cancelled on the way. In the end no task, no connection and no file
stays open, and memory is where it was after the warm-up. The exit status is 1 otherwise.
"""

import argparse
import asyncio
import gc
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from langchain_minitoolai import ChatMiniToolAI, sandbox
from langchain_minitoolai._http import pool
from langchain_minitoolai.errors import MiniToolAIError

KEY = "soak-key"
STREAMS = 50
THREADS = 8
FAULTY = 0.05
GROWTH_MIB = 24.0
"""How much memory may grow between the warm-up and the end."""

_FAULTS = (
    sandbox.faults.status(429, headers={"retry-after-ms": "50"}),
    sandbox.faults.status(500),
    sandbox.faults.status(503, headers={"Retry-After": "0"}),
    sandbox.faults.status(400),
    sandbox.faults.html_page(520),
    sandbox.faults.html_page(200, title="Just a moment..."),
    sandbox.faults.drop(),
    sandbox.faults.drop(reset=True),
    sandbox.faults.cut(2),
    sandbox.faults.cut(2, ending="clean"),
    sandbox.faults.cut(1, ending="reset"),
    sandbox.faults.stall(seconds=3.0),
    sandbox.faults.stall(2, seconds=3.0),
    sandbox.faults.stall(2, seconds=3.0, comments=0.1),
    sandbox.faults.garbled(2),
    sandbox.faults.error_event(2),
)


def expected(question: str) -> str:
    """Return the answer to a question; both sides compute it."""
    chooser = random.Random(question)
    return " ".join(f"w{chooser.randrange(1000)}" for _ in range(chooser.randrange(3, 30)))


# --- The service, in a process of its own -----------------------------------------------------


def serve() -> None:
    """Run the sandbox until standard input ends; answer as `expected`, but for the faults."""
    chooser = random.Random(1)

    def answer(body: Mapping[str, Any]) -> str:
        return expected(str(body["messages"][-1]["content"]))

    def fault(_: str) -> sandbox.faults.Fault | None:
        return chooser.choice(_FAULTS) if chooser.random() < FAULTY else None

    with sandbox.running(api_key=KEY, balance=1e9) as service:
        service.reply(answer, times=None)
        vars(service)["next_fault"] = fault
        vars(service)["receive"] = lambda _: 0  # keep no list of a million requests
        print(service.base_url, flush=True)
        sys.stdin.read()


@contextmanager
def service() -> Iterator[str]:
    """Start the service and yield its address."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdin is not None
        assert one.stdout is not None
        try:
            yield one.stdout.readline().strip()
        finally:
            one.stdin.close()
            one.wait(20)


# --- The callers --------------------------------------------------------------------------------


@dataclass
class Books:
    """What became of the calls; every call begun must end."""

    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> str:
        """Begin a call and return its question."""
        with self.lock:
            self.begun += 1
            return f"Question {self.begun}?"

    def end(self, question: str, shown: str, how: str) -> None:
        """End a call; what was shown must be the answer, or its beginning."""
        right = expected(question)
        fits = shown == right if how == "answered" else right.startswith(shown)
        with self.lock:
            self.ended[how] += 1
            if not fits:
                self.wrong.append(f"{question} {how}: {shown[:80]!r} is not {right[:80]!r}")

    def fail(self, question: str, shown: str, error: BaseException) -> None:
        """End a call in an error, which must be one of ours."""
        if isinstance(error, MiniToolAIError):
            self.end(question, shown, type(error).__name__)
        else:
            with self.lock:
                self.ended["foreign"] += 1
                self.wrong.append(f"{question}: {error!r}"[:300])


async def _stream(model: ChatMiniToolAI, books: Books, chooser: random.Random) -> None:
    question, shown, least = books.begin(), "", 10**9
    if chooser.random() < 0.1:
        least = chooser.randrange(1, 4)
    try:
        async for chunk in model.astream(question):
            shown += chunk.text
            least -= 1
            if not least:
                break
        books.end(question, shown, "answered" if least > 0 else "broken off")
    except Exception as error:
        books.fail(question, shown, error)


async def _cancelled(model: ChatMiniToolAI, books: Books, chooser: random.Random) -> None:
    question = books.begin()
    task = asyncio.create_task(model.ainvoke(question))
    await asyncio.sleep(chooser.random() * 0.1)
    task.cancel()
    try:
        books.end(question, str((await task).text), "answered")
    except asyncio.CancelledError:
        books.end(question, "", "cancelled")
    except Exception as error:
        books.fail(question, "", error)


async def _caller(model: ChatMiniToolAI, books: Books, until: float, seed: int) -> None:
    chooser = random.Random(seed)
    while time.monotonic() < until:
        call = _cancelled if chooser.random() < 0.05 else _stream
        await call(model, books, chooser)


def _thread(model: ChatMiniToolAI, books: Books, until: float, seed: int) -> None:
    chooser = random.Random(seed)
    while time.monotonic() < until:
        question, shown = books.begin(), ""
        try:
            if chooser.random() < 0.5:
                shown = str(model.invoke(question).text)
            else:
                for chunk in model.stream(question):
                    shown += chunk.text
            books.end(question, shown, "answered")
        except Exception as error:
            books.fail(question, shown, error)


def rss() -> float:
    """Return this process's memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def files() -> int:
    """Return how many files and sockets this process holds open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _soak(model: ChatMiniToolAI, books: Books, seconds: float) -> tuple[float, float, int]:
    began = time.monotonic()
    until, warm = began + seconds, 0.0
    threads = [
        threading.Thread(target=_thread, args=(model, books, until, -number))
        for number in range(1, THREADS + 1)
    ]
    for thread in threads:
        thread.start()
    callers = [asyncio.create_task(_caller(model, books, until, n)) for n in range(STREAMS)]
    await asyncio.sleep(seconds * 0.4)
    gc.collect()
    warm = rss()
    await asyncio.gather(*callers)
    for thread in threads:
        await asyncio.to_thread(thread.join)
    gc.collect()
    await asyncio.sleep(0.2)
    return warm, rss(), len(asyncio.all_tasks()) - 1


def soak(seconds: float) -> list[str]:
    """Run for so many seconds; return all that is wrong."""
    books = Books()
    with service() as base_url:
        before = files()
        model = ChatMiniToolAI(
            minitoolai_api_key=SecretStr(KEY),
            minitoolai_api_base=base_url,
            timeout=1.5,
            total_timeout=20,
            max_retries=2,
        )
        warm, end, tasks = asyncio.run(_soak(model, books, seconds))
        del model
        # Idle connections are kept for the next model, on purpose: whatever else is left counts.
        pool._networks.clear()  # noqa: SLF001
        gc.collect()
        left = files() - before
    ended = sum(books.ended.values())
    print(f"{books.begun} calls, {books.begun / seconds:.0f} a second: {dict(books.ended)}")
    print(f"memory {warm:.0f} MiB after the warm-up, {end:.0f} MiB at the end")
    found = books.wrong[:10]
    if ended != books.begun:
        found.append(f"{books.begun - ended} calls were lost")
    if tasks or left > 0:
        found.append(f"{tasks} tasks and {left} files or sockets stay open")
    if end - warm > GROWTH_MIB:
        found.append(f"memory grew by {end - warm:.0f} MiB")
    if not books.ended["answered"] or len(books.ended) < 4:
        found.append("too little happened to say anything")
    return found


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    found = soak(options.seconds)
    print("\n".join(found) or "all held")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
