"""Rounds of measures: one server, a process for each client, every client once in each round."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

from benchmarks.measures import MEASURES
from benchmarks.server import allow_many_files, running

Round = dict[str, float]
"""One figure for each client that did not fail."""

_HIDDEN = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "LANGCHAIN_", "LANGSMITH_", "MINITOOLAI_")
_LONGEST_RUN_SECONDS = 600


def _prepare() -> None:
    """Allow a client's process many files, and no proxies, tracing or keys."""
    allow_many_files()
    for name in list(os.environ):
        if name.upper().startswith(_HIDDEN):
            del os.environ[name]


def _run(measure: str, client: str, root: str, size: int) -> float:
    try:
        return MEASURES[measure].run(client, root, size)
    except Exception as error:  # noqa: BLE001 - not every library's exceptions can be pickled
        words = f"{type(error).__name__}: {error}".split()
        raise RuntimeError(" ".join(words)[:300]) from None


def _process() -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=spawn, initializer=_prepare)


class Session(ExitStack):
    """The server and the clients' processes, for as long as the `with` block lasts.

    Attributes:
        failures: Why a client was left out of a measure, by measure and client.
    """

    def __init__(self, report: Callable[[str], object] = lambda _: None) -> None:
        """Start the server; call `report` with each step."""
        super().__init__()
        self.failures: dict[tuple[str, str], str] = {}
        self._report = report
        self._root = self.enter_context(running())
        self._processes: dict[str, ProcessPoolExecutor] = {}

    def measure(self, name: str, clients: Sequence[str], size: int, rounds: int) -> list[Round]:
        """Run a measure on every client in each round; a round before these warms up."""
        results = []
        for number in range(int(MEASURES[name].fresh), rounds + 1):
            self._report(f"{name}: round {number} of {rounds}")
            turn = number % max(len(clients), 1)
            figures = [(c, self._once(name, c, size)) for c in (*clients[turn:], *clients[:turn])]
            results.append({client: value for client, value in figures if value is not None})
        return results[-rounds:]

    def _once(self, name: str, client: str, size: int) -> float | None:
        if (name, client) in self.failures:
            return None
        if MEASURES[name].fresh and client in self._processes:
            self._processes.pop(client).shutdown()
        if client not in self._processes:
            self._processes[client] = self.enter_context(_process())
        try:
            future = self._processes[client].submit(_run, name, client, self._root, size)
            return future.result(_LONGEST_RUN_SECONDS)
        except (RuntimeError, TimeoutError) as error:
            self.failures[name, client] = str(error)
            return None
