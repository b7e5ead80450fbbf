"""The example's batch on a local Ray: a worker and the driver are killed, and it resumes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest

from langchain_minitoolai import sandbox
from tests.scale_tests.processes import descendants, listening_addresses

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "ray_batch.py"
CHATS, IMAGES = 300, 30
PATIENCE: Final = 120.0
MAX_UNKNOWN: Final = 2
"""One for each death; a few of a hundred runs have one at all."""
LOOPBACK: Final = {"127.0.0.1", "::1"}


class Milestones:
    """Answers chats as the sandbox does, and sets an event at a certain number of them."""

    def __init__(self, service: sandbox.Service) -> None:
        self.count = 0
        self._events: dict[int, threading.Event] = {}
        service.reply(self._answer, times=None)

    def at(self, number: int) -> threading.Event:
        return self._events.setdefault(number, threading.Event())

    def _answer(self, body: Any) -> str:
        self.count += 1
        self.at(self.count).set()
        return f"Answer to {body['messages'][-1]['content']}"


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory with a short name, since Ray makes sockets in it."""
    path = Path(tempfile.mkdtemp(prefix="ray-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(home: Path) -> Iterator[Callable[[sandbox.Service], subprocess.Popen[str]]]:
    """Start the example; nothing that it started outlives the test."""
    drivers: list[subprocess.Popen[str]] = []

    def started(service: sandbox.Service) -> subprocess.Popen[str]:
        options = ["--requests-per-second", "40"]
        driver = subprocess.Popen(
            [
                sys.executable,
                str(EXAMPLE),
                str(home / "prompts.jsonl"),
                str(home / "out"),
                *options,
            ],
            env={
                **os.environ,
                **service.environment,
                "HOME": str(home),
                "RAY_TMPDIR": str(home),
                "PYTHONPATH": str(EXAMPLE.parents[1]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        drivers.append(driver)
        return driver

    yield started
    for driver in drivers:
        end(driver)


def end(driver: subprocess.Popen[str]) -> None:
    """Kill a driver, and what its Ray started."""
    if driver.poll() is None:
        processes = descendants(driver.pid)
        for pid in [driver.pid, *processes]:
            kill(pid)
        driver.communicate()


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def write_prompts(path: Path) -> dict[str, bool]:
    """Write the rows, every eleventh an image; give their ids and whether they are one."""
    rows = {f"row-{number}": number % 11 == 0 for number in range(CHATS + IMAGES)}
    lines = [json.dumps({"id": id_, "prompt": id_, "draw": draw}) for id_, draw in rows.items()]
    path.write_text("\n".join(lines))
    return rows


def answers(out: Path) -> list[dict[str, Any]]:
    files = sorted((out / "answers").glob("*.json"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def prompts(service: sandbox.Service, kind: str) -> list[str]:
    """List the prompts that were paid for."""
    if kind == "image":
        return [each.facts["prompt"] for each in service.charges if each.kind == "image"]
    bodies = [each.body for each in service.requests if each.path.endswith("/chat-completions/")]
    return [body["messages"][-1]["content"] for body in bodies]


def test_a_batch_survives_the_deaths_of_a_worker_and_of_its_driver(
    home: Path, start: Callable[[sandbox.Service], subprocess.Popen[str]]
) -> None:
    rows = write_prompts(home / "prompts.jsonl")
    out = home / "out"
    with sandbox.running(job_seconds=0.5) as service:
        milestones = Milestones(service)
        driver = start(service)
        assert milestones.at(60).wait(PATIENCE)
        processes = descendants(driver.pid)
        workers = [pid for pid, name in processes.items() if "MapWorker" in name]
        assert len(workers) == 2
        addresses = {address for pid in processes for address in listening_addresses(pid)}
        assert addresses
        assert addresses <= LOOPBACK
        kill(workers[0])

        assert milestones.at(240).wait(PATIENCE)
        end(driver)
        done = {row["id"] for row in answers(out)}
        assert done
        before = len(prompts(service, "chat"))

        driver = start(service)
        output, _ = driver.communicate(timeout=PATIENCE)
        assert driver.returncode == 0, output
        again = Counter(prompts(service, "chat")[before:])
        images = Counter(prompts(service, "image"))

    assert again == Counter(id_ for id_, draw in rows.items() if not draw and id_ not in done)
    results = answers(out)
    assert Counter(row["id"] for row in results) == Counter(list(rows))
    # Killed while the order was on its way, an image may be paid for: it is not ordered again.
    unknown = {row["id"] for row in results if row["error"].startswith("SubmissionUnknownError")}
    assert len(unknown) <= MAX_UNKNOWN
    assert set(images.values()) == {1}
    assert images.keys() | unknown == {id_ for id_, draw in rows.items() if draw}
    for row in results:
        if row["id"] not in unknown:
            assert row["error"] == ""
            assert row["answer"].startswith("http" if row["draw"] else f"Answer to {row['id']}")
            assert row["cost_usd"] > 0
