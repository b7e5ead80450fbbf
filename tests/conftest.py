"""Shared by all tests: `--live`, and an environment without keys, proxies and tracing.

Tests run against the sandbox. The real service, which costs money, is asked only by tests
that take `endpoint`, and only with `--live` *and* a key in the environment.
"""

import os
from collections.abc import Iterator

import hypothesis
import pytest

from langchain_minitoolai import contract

# Machines differ in speed; the whole of CI runs every property three times, with other examples.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=60)
hypothesis.settings.load_profile("patient")

KEY = pytest.StashKey[str | None]()
BASE = pytest.StashKey[str]()

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ws_proxy", "wss_proxy")
OURS = "MINITOOLAI_"
TRACING = ("LANGSMITH_", "LANGCHAIN_")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--live`."""
    parser.addoption(
        "--live",
        action="store_true",
        help=f"ask the real service where a test can: needs {contract.API_KEY_VARIABLE}, costs",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the key for live tests; refuse `--live` without one."""
    key = os.environ.get(contract.API_KEY_VARIABLE)
    if config.getoption("live") and not key:
        raise pytest.UsageError(f"--live needs an API key in {contract.API_KEY_VARIABLE}")
    config.stash[KEY] = key if config.getoption("live") else None
    config.stash[BASE] = os.environ.get(contract.API_BASE_VARIABLE) or contract.API_BASE


@pytest.fixture(scope="session")
def live_key(pytestconfig: pytest.Config) -> str | None:
    """The real service's key with `--live`, else nothing."""
    return pytestconfig.stash[KEY]


@pytest.fixture(autouse=True)
def clean_environment(live_key: str | None) -> Iterator[None]:
    """Hide this machine's keys, proxies and tracing from the test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            proxy = name.lower() in PROXIES and not live_key
            if proxy or name.upper().startswith((OURS, *TRACING)):
                patch.delenv(name)
        yield


@pytest.fixture
def uncovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start processes without coverage, which nearly doubles the time that their imports take."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
