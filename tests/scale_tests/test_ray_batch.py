"""The example's batch on a local Ray: a worker and the driver are killed, and it resumes."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from langchain_minitoolai import sandbox
from tests.scale_tests.processes import descendants, listening_addresses

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "ray_batch.py"
CHATS, IMAGES = 300, 30
PATIENCE: Final = 240.0
LOOPBACK: Final = {"127.0.0.1", "::1"}


class Chats:
    """Answers chats, and lets a test wait for a certain number of them."""

    def __init__(self, service: sandbox.Service) -> None:
        self.count = 0
        self._changed = threading.Condition()
        service.reply(self._answer, times=None)

    def wait(self, number: int) -> int:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= number, PATIENCE)
            return self.count

    def _answer(self, body: Any) -> str:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
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
    send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def workers_of(driver: subprocess.Popen[str]) -> list[int]:
    named = descendants(driver.pid).items()
    return [pid for pid, name in named if name.startswith("ray::MapWorker(MapBatches(Answers)")]


def stop_between_orders(
    driver: subprocess.Popen[str], chats: Chats, number: int, out: Path
) -> None:
    """Stop the workers after so many chats, at a moment when no order is on its way.

    Nobody knows whether an order is paid for whose process was killed while it was on its way.
    """
    while True:
        number = chats.wait(number) + 1
        workers = workers_of(driver)
        for pid in workers:
            send(pid, signal.SIGSTOP)
        with closing(sqlite3.connect(out / "jobs.sqlite")) as store:
            records = [json.loads(value) for (value,) in store.execute("SELECT value FROM records")]
        if all(record.get("state") != "sending" for record in records):
            return
        for pid in workers:
            send(pid, signal.SIGCONT)


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
        chats = Chats(service)
        driver = start(service)
        stop_between_orders(driver, chats, 60, out)
        processes = descendants(driver.pid)
        addresses = {address for pid in processes for address in listening_addresses(pid)}
        assert addresses
        assert addresses <= LOOPBACK
        dying, other = workers_of(driver)
        kill(dying)
        send(other, signal.SIGCONT)

        stop_between_orders(driver, chats, 200, out)
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
    assert images == Counter([id_ for id_, draw in rows.items() if draw])
    results = answers(out)
    assert Counter(row["id"] for row in results) == Counter(list(rows))
    for row in results:
        assert row["error"] == ""
        assert row["answer"].startswith("http" if row["draw"] else f"Answer to {row['id']}")
        assert row["cost_usd"] > 0
