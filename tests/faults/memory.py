"""How far this process grows."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20


def _read(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(name))
    return int(found.split()[1]) / 1024


@contextmanager
def measured() -> Iterator[Callable[[], float]]:
    """Measure by how many MiB this process grows at its peak."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = _read("VmRSS")
    yield lambda: max(0.0, _read("VmHWM") - before)


@contextmanager
def limited(mib: int) -> Iterator[None]:
    """Allow this process no more than so many MiB of address space besides what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = int((_read("VmSize") + mib) * MIB)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
