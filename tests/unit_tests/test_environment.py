"""The tests' own rules: no sockets, no keys, no proxies, no live calls by accident."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_socket

ROOT = Path(__file__).parents[2]


def pytest_run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, collecting only."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-cov", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_unit_test_cannot_open_a_socket() -> None:
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket()


async def test_an_event_loop_still_runs() -> None:
    assert await asyncio.to_thread(lambda: 1) == 1


@pytest.mark.parametrize(
    "name", ["MINITOOLAI_API_KEY", "MINITOOLAI_API_BASE", "HTTPS_PROXY", "LANGSMITH_TRACING"]
)
def test_the_environment_of_a_test_is_clean(name: str) -> None:
    assert name not in os.environ


@pytest.mark.usefixtures("uncovered")
def test_live_without_a_key_is_refused() -> None:
    run = pytest_run("--live", __file__)
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "MINITOOLAI_API_KEY" in run.stderr


@pytest.mark.usefixtures("uncovered")
def test_live_with_a_key_is_accepted() -> None:
    assert pytest_run("--live", __file__, MINITOOLAI_API_KEY="k").returncode == 0
