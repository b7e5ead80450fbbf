"""Run one fault in one mode against one target, here or in a process of its own."""

import multiprocessing
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.faults.fault import Fault, Seen, Verdict
from tests.faults.runs import Mode, Outcome, run
from tests.faults.server import FaultServer
from tests.faults.targets import TARGETS, Target

MEMORY_MIB = 1024
"""Address space that a process of its own may take beyond what it starts with."""

SCENARIO_MIB = 8192
"""The same for a scenario: its server lives in it, and each thread reserves its share."""


@dataclass(frozen=True)
class Result:
    """A verdict and how long it took; `wrong` is empty when the fault is held."""

    fault: Fault
    mode: Mode
    wrong: Verdict
    seconds: float


def judge(fault: Fault, mode: Mode, target: Target, *, isolated: bool | None = None) -> Result:
    """Let `fault` happen to `target` in `mode`, and judge both sides."""
    began = time.monotonic()
    apart = fault.isolated if isolated is None else isolated
    if fault.scenario is not None:
        wrong = _scenario(fault, mode, target, apart=apart)
    else:
        wrong = _exchange(fault, mode, target, apart=apart)
    return Result(fault, mode, wrong, time.monotonic() - began)


def _exchange(fault: Fault, mode: Mode, target: Target, *, apart: bool) -> Verdict:
    with FaultServer(fault.scripts) as server:
        origin = fault.origin.format(url=server.url)
        environ = {name: value.format(url=server.url) for name, value in fault.environ.items()}
        task = (fault.name, mode, target.name, origin, environ)
        grew = 0.0
        if apart:
            found = aside(_attempt, task, fault.limit)
            if isinstance(found, str):
                return found
            outcomes, grew = found
        else:
            outcomes, _ = _attempt(*task)
        seen = Seen(target, mode, fault.settings, outcomes, server.record, grew)
        assert fault.expect is not None
        verdict = fault.expect(seen)
        return verdict or "; ".join(server.record.problems)


def _attempt(
    name: str, mode: Mode, target: str, origin: str, environ: Mapping[str, str]
) -> tuple[list[Outcome], float]:
    from tests.faults.catalog import BY_NAME

    fault = BY_NAME[name]
    chosen = TARGETS[target]
    with environment(environ), measured() as grew:
        outcomes = run(
            lambda: chosen.model(origin, fault.settings, plain=fault.plain), mode, fault.calls
        )
    return outcomes, grew()


def _scenario(fault: Fault, mode: Mode, target: Target, *, apart: bool) -> Verdict:
    if not apart:
        return _play(fault.name, mode, target.name)
    found = aside(_play, (fault.name, mode, target.name), fault.limit, SCENARIO_MIB)
    return str(found)


def _play(name: str, mode: Mode, target: str) -> Verdict:
    from tests.faults.catalog import BY_NAME

    scenario = BY_NAME[name].scenario
    assert scenario is not None
    try:
        return scenario(TARGETS[target], mode)
    except Exception as error:  # noqa: BLE001 - a scenario that breaks is a fault not held
        return f"broke: {type(error).__name__}: {str(error)[:160]}"


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _memory(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(name))
    return int(found.split()[1]) / 1024


@contextmanager
def measured() -> Iterator[Callable[[], float]]:
    """Measure by how many MiB this process grows at its peak."""
    before = _memory("VmRSS")
    yield lambda: max(0.0, _memory("VmHWM") - before)


# --- A process of its own ---------------------------------------------------------------


def aside(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    limit: float,
    memory: int = MEMORY_MIB,
) -> Any:
    """Call `function` in a fresh process with bounds on time and address space.

    Returns:
        What it returned, or a text that says how the process ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preload"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_confined, args=(theirs, memory, function, arguments))
    process.start()
    theirs.close()
    try:
        if not ours.poll(limit):
            return f"still running after {limit:.0f} s"
        return ours.recv()
    except EOFError:
        process.join(5)
        return f"its process died: {process.exitcode}"
    finally:
        process.kill()
        process.join(5)
        ours.close()


def _confined(
    pipe: Connection, memory: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    most = int((_memory("VmSize") + memory) * (1 << 20))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    try:
        pipe.send(function(*arguments))
    except MemoryError:
        pipe.send(f"took more than {memory} MiB")
    except Exception as error:  # noqa: BLE001 - the parent must learn of it
        pipe.send(f"broke: {type(error).__name__}: {str(error)[:160]}")
