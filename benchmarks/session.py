"""The parent's side: one server, one process a target, rounds interleaved."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, cast

from benchmarks.clock import Sample
from benchmarks.measures import Effort, Measure
from benchmarks.targets import TARGETS

Round = dict[str, dict[str, Sample]]
"""The samples of one round: by target, then by row."""

_ROOT = Path(__file__).parent.parent
_PATIENCE = 600.0
_LEFT_OUT = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LEFT_OUT_PREFIXES = ("LANGCHAIN_", "LANGSMITH_", "OPENAI_", "MISTRAL", "MINITOOLAI_")


class TargetFailedError(Exception):
    """A target's process broke or told of an error."""


def _environment() -> dict[str, str]:
    """Let bytecode be written, and keep proxies, tracing and keys out."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in _LEFT_OUT and not name.upper().startswith(_LEFT_OUT_PREFIXES)
    }
    return kept | {"PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": "0"}


class Failure(NamedTuple):
    """What could not be measured, and why."""

    target: str
    measure: str
    reason: str


class _Process:
    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment()
        )
        self._in = cast("IO[str]", self._process.stdin)
        self._out = cast("IO[str]", self._process.stdout)

    def line(self) -> str:
        ready, _, _ = select.select([self._out], [], [], _PATIENCE)
        line = self._out.readline() if ready else ""
        if not line:
            self.end()
            raise TargetFailedError("no answer" if not ready else "the process ended")
        return line

    def order(self, **order: Any) -> dict[str, Sample]:
        self._in.write(json.dumps(order) + "\n")
        self._in.flush()
        answer = json.loads(self.line())
        if "error" in answer:
            raise TargetFailedError(answer["error"])
        samples: dict[str, Sample] = answer["samples"]
        return samples

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


class Session:
    """The server and the targets' processes, for as long as the `with` lasts."""

    def __init__(self, say: Callable[[str], object] = lambda _: None) -> None:
        """Tell `say` what is going on."""
        self._say = say
        self._workers: dict[str, _Process] = {}
        self.failures: list[Failure] = []

    def __enter__(self) -> Self:
        """Start the server."""
        self._server = _Process("-m", "benchmarks.server")
        self._root = f"http://127.0.0.1:{self._server.line().strip()}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End every process."""
        for process in (*self._workers.values(), self._server):
            process.end()

    def measure(self, measure: Measure, effort: Effort, targets: Iterable[str]) -> list[Round]:
        """Run `measure` for its rounds, every target once in each; the first is a warm-up."""
        chosen = [t for t in targets if t in measure.targets]
        rounds: list[Round] = []
        for number in range(effort.rounds + 1):
            if measure.fresh and measure.run and number == 0:
                continue
            self._say(f"{measure.name}: {number}/{effort.rounds}")
            turns = _rotated(chosen, number)
            if number == 0 and measure.run is None:
                # A running worker has imported it all: the bytecode is there.
                turns = [target for target in turns if target not in self._workers]
            samples = {target: self._once(measure, effort, target) for target in turns}
            rounds.append({t: s for t, s in samples.items() if s is not None})
        return rounds[-effort.rounds :]

    def _once(self, measure: Measure, effort: Effort, target: str) -> dict[str, Sample] | None:
        if any(f.target == target and f.measure == measure.name for f in self.failures):
            return None
        try:
            return self._samples(measure, effort, target)
        except TargetFailedError as error:
            if worker := self._workers.pop(target, None):
                worker.end()
            self.failures.append(Failure(target, measure.name, str(error)))
            return None

    def _samples(self, measure: Measure, effort: Effort, target: str) -> dict[str, Sample]:
        if measure.run is None:
            return self._cold(target, effort.size)
        if measure.fresh:
            worker = self._worker(target)
            try:
                return worker.order(measure=measure.name, size=effort.size)
            finally:
                worker.end()
        if target not in self._workers:
            self._workers[target] = self._worker(target)
        return self._workers[target].order(measure=measure.name, size=effort.size)

    def _worker(self, target: str) -> _Process:
        return _Process("-m", "benchmarks.worker", target, self._root)

    def _cold(self, target: str, next_models: int) -> dict[str, Sample]:
        statement = TARGETS[target].imported
        arguments = ("-m", "benchmarks.cold", target, self._root, statement, str(next_models))
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True, text=True, env=_environment(), timeout=_PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            raise TargetFailedError((done.stderr.strip().splitlines() or ["no word"])[-1][:300])
        samples: dict[str, Sample] = json.loads(done.stdout.splitlines()[-1])
        return samples


def _rotated(targets: list[str], number: int) -> list[str]:
    """Let each round begin with another target."""
    turn = number % max(len(targets), 1)
    return targets[turn:] + targets[:turn]
