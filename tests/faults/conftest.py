"""Fixtures and options of the catalogue: each fault in each mode on each target.

Without `--target` the faults run over the package's own clients, where "late" alone is judged
anew, since a busy machine may be why. With it they run once each, and a matrix is printed.
"""

import inspect
import logging
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.client import Client, LateError
from tests.faults.fault import Fault, faults_of
from tests.faults.targets import MODES, TARGETS, Target

PATIENCE = 60.0
"""Seconds that a fault may take."""


class HungError(BaseException):
    """A fault took longer than `PATIENCE`; no code under test catches it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of `make faults`."""
    parser.addoption("--target", choices=sorted(TARGETS), help="one target, judged once a fault")
    parser.addoption("--only", default="", help="a chapter, or a part of a fault's name")
    parser.addoption("--mode", choices=MODES, help="one mode instead of all that differ")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a fault happen in each of its modes to each target."""
    name = metafunc.config.getoption("--target", None)
    targets = [TARGETS[one] for one in ([name] if name else ["ours", "ours-aiohttp"])]
    mode = metafunc.config.getoption("--mode", None)
    chapter = metafunc.module.__name__.rpartition(".test_")[2].replace("_", " ")
    faults = list(faults_of(metafunc.function))
    if "client" in metafunc.fixturenames:
        cases = [
            _case(chapter, fault, Client(target, one))
            for fault in faults
            for target in targets
            if target.has_tool or not fault.tool
            for one in fault.modes
            if one in target.modes and mode in (None, one)
        ]
        metafunc.parametrize(["client", *faults[0].values], cases)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `make faults` does not ask for."""
    if config.getoption("--target", None):
        only = config.getoption("--only")
        chosen = [one for one in items if _is_chosen(one.nodeid.partition("[")[2], only)]
        config.hook.pytest_deselected(items=[one for one in items if one not in chosen])
        items[:] = chosen


def _is_chosen(case: str, only: str) -> bool:
    chapter, _, fault = case.rpartition(" [")[0].partition(": ")
    return bool(fault) and (only == chapter or only in fault)


def _case(chapter: str, fault: Fault, client: Client) -> Any:
    target = client.target
    marks: list[pytest.MarkDecorator] = []
    if reason := target.known.get(fault.name):
        marks.append(pytest.mark.xfail(reason=reason, strict=target.name == "ours"))
    if find_spec(_package(target)) is None:
        marks.append(pytest.mark.skip(reason=f"{_package(target)} is not installed"))
    if not target.ours:
        marks.append(pytest.mark.filterwarnings("ignore"))
    name = f"{chapter}: {fault.name} [{client.mode}, {target.name}]"
    return pytest.param(client, *fault.values.values(), id=name, marks=marks)


def _package(target: Target) -> str:
    return "httpx_aiohttp" if "aiohttp" in target.name else target.module


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Run a fault with a limit on its time; anew if it was late and nothing else."""
    names = inspect.signature(pyfuncitem.function).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    for _ in range(0 if pyfuncitem.config.getoption("--target", None) else 2):
        try:
            _limited(pyfuncitem.obj, arguments)
        except LateError:
            continue
        return True
    _limited(pyfuncitem.obj, arguments)
    return True


def _limited(function: Callable[..., Any], arguments: dict[str, Any]) -> None:
    def hang(*_: Any) -> None:
        raise HungError(f"still running after {PATIENCE:.0f} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        function(**arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def quiet_logs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what clients say of retries out of the matrix."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


# --- The matrix -----------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each fault with its mode, seconds and verdict, and how many are held."""
    name = config.getoption("--target", None)
    if name is None:
        return
    lines: dict[str, list[str]] = {}
    for outcome in ("passed", "xpassed", "xfailed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            fault, _, mode = report.nodeid.partition("[")[2].rpartition(" [")
            wrong = "" if outcome in ("passed", "xpassed") else _reason(report)
            lines.setdefault(fault, []).append(_line(fault, mode.partition(",")[0], report, wrong))
    for line in sorted(line for fault in lines.values() for line in fault):
        terminalreporter.write_line(line)
    held = sum(not any("FAILS" in line for line in fault) for fault in lines.values())
    terminalreporter.write_line(f"{name} holds {held} of {len(lines)} faults, worst mode counted")


def _line(fault: str, mode: str, report: pytest.TestReport, wrong: str) -> str:
    verdict = f"FAILS: {wrong}" if wrong else "holds"
    return f"{fault:<50} {mode:<8} {report.duration:7.2f}  {verdict}"


def _reason(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else str(report.longrepr)
    return " ".join(message.split())[:160]
