"""Stopwatch and memory readings, of this process alone."""

import gc
import resource
import time
from pathlib import Path
from typing import Self

Sample = dict[str, float]
"""`cpu` and `wall` in seconds a unit, or `value` in the row's own unit; `wrong` counts answers
that were not the right ones."""


class Stopwatch:
    """CPU time of all threads, kernel time included, and wall time beside it."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self.cpu = 0.0
        self.wall = 0.0

    def __enter__(self) -> Self:
        """Start, or go on."""
        self._wall = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.cpu += time.process_time() - self._cpu
        self.wall += time.perf_counter() - self._wall

    def per(self, units: int, wrong: int = 0) -> Sample:
        """Give the times a unit."""
        return {"cpu": self.cpu / units, "wall": self.wall / units, "wrong": wrong}


def resident_kib() -> float:
    """Give the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() / 1024


def live_objects() -> int:
    """Give the number of objects the collector tracks, after it has collected."""
    for _ in range(3):
        gc.collect()
    return len(gc.get_objects())


def open_files() -> int:
    """Give the number of open file descriptors, sockets among them."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def allow_many_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
