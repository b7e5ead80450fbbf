"""Every example runs as its user runs it: a process of its own, against the sandbox."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from langchain_minitoolai import contract, sandbox

pytestmark = pytest.mark.usefixtures("uncovered")

EXAMPLES = Path(__file__).parents[2] / "examples"
# `make test-mcp` and `make test-scale` run those that need environments of their own.
ELSEWHERE = {"mcp_server", "ray_batch"}
NAMES = sorted({file.stem for file in EXAMPLES.glob("*.py")} - {"service", *ELSEWHERE})
BARS = [name for name in ("tqdm", "rich") if find_spec(name)]
NOBODY = "http://127.0.0.1:9/api"
WORDS = {
    "agent": (
        '[calls weather] {"city": "Bergen"}',
        '[calls multiply] {"a": 6, "b": 7}',
        "multiply -> 42",
        "agent: weather: Bergen: 9 °C, rain",
    ),
    "demo": ("[calls generate_image]", "tool:  success", "saved: ", "I was shown 1 image."),
    "fallback": ("Name a fjord", "asked gpt-4.5-not-yet, answered by gpt-4.1-mini-2025-04-14"),
    "graph_with_checkpointer": (
        "stopped before book_table({'city': 'Oslo', 'guests': 4})",
        "graph: resumed\nmodel: book_table: A table for 4 in Oslo is booked.",
    ),
    "progress_bars": ("Image 10000000 is ready" if BARS else "Install tqdm or rich",),
    "structured_output": ("mood:   good", "stars:  4", "reason: bath was cold"),
}


def example(
    name: str, folder: Path, *, key: str | None = None, base: str | None = None
) -> subprocess.CompletedProcess[str]:
    given = {contract.API_KEY_VARIABLE: key, contract.API_BASE_VARIABLE: base}
    kept = {name: value for name, value in os.environ.items() if name not in given}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py")],
        cwd=folder,
        env={
            **kept,
            "PYTHONPATH": str(EXAMPLES.parent),
            "PYTHONIOENCODING": "utf-8",
            **{variable: value for variable, value in given.items() if value},
        },
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def one_line_of_failure(done: subprocess.CompletedProcess[str]) -> str:
    """Give the only line on stderr; nothing else may stand there."""
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_every_example_has_its_expected_words() -> None:
    assert list(WORDS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_example_runs_against_the_sandbox_without_a_key(name: str, tmp_path: Path) -> None:
    done = example(name, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "talking to the sandbox on this machine, at no cost" in done.stdout
    for words in WORDS[name]:
        assert words in done.stdout


def test_with_a_key_the_demo_says_what_it_costs_and_saves_the_image_that_it_names(
    service: sandbox.Service, tmp_path: Path
) -> None:
    done = example("demo", tmp_path, key=service.api_key, base=service.base_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Talking to {service.base_url}. This costs about $0.0034 ")
    assert sum(charge.usd for charge in service.charges) < 0.0034
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("   saved: ")]
    image = Path(line.removeprefix("   saved: "))
    assert image.read_bytes().startswith(b"\x89PNG")
    assert image.is_relative_to(tmp_path / "demo-output")


def test_a_refused_connection_is_one_clear_line(tmp_path: Path) -> None:
    done = example("demo", tmp_path, key="some-key", base=NOBODY)
    assert one_line_of_failure(done).startswith("demo: can't connect")
    assert NOBODY in done.stdout


def test_a_missing_key_is_one_clear_line(service: sandbox.Service, tmp_path: Path) -> None:
    line = one_line_of_failure(example("demo", tmp_path, base=service.base_url))
    assert line.startswith("demo: No API key")
    assert contract.API_KEY_VARIABLE in line
    assert service.requests == []


def test_a_bad_key_is_one_clear_line(service: sandbox.Service, tmp_path: Path) -> None:
    line = one_line_of_failure(example("demo", tmp_path, key="bad-key", base=service.base_url))
    assert line.startswith("demo: ")
    assert "key" in line
    assert "bad-key" not in line
