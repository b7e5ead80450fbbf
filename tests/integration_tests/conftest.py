"""A running service: the sandbox, or with `--live` the real one."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from langchain_minitoolai import contract, sandbox
from tests.conftest import BASE
from tests.integration_tests.sandbox_helpers import bodies, undocumented


class Endpoint(NamedTuple):
    """Base URL and API key of the service under test."""

    base_url: str
    api_key: str
    live: bool = False


@pytest.fixture
def job_seconds() -> float:
    """How long the sandbox draws an image."""
    return 0.1


@pytest.fixture
def service(job_seconds: float, monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox.Service]:
    """A sandbox of the test's own, to script and to look into; the environment names it."""
    with sandbox.running(job_seconds=job_seconds) as running:
        monkeypatch.setenv(contract.API_BASE_VARIABLE, running.base_url)
        monkeypatch.setenv(contract.API_KEY_VARIABLE, running.api_key)
        yield running
    assert running.unused == []


@pytest.fixture
def strict(service: sandbox.Service) -> Iterator[sandbox.Service]:
    """A sandbox that must have seen chats in the end, and documented fields and roles alone."""
    yield service
    assert bodies(service)
    assert undocumented(service) == []


@pytest.fixture
def endpoint(
    request: pytest.FixtureRequest, live_key: str | None, monkeypatch: pytest.MonkeyPatch
) -> Endpoint:
    """The sandbox, or the real service with `--live`; the environment names it."""
    if not live_key:
        running = request.getfixturevalue("service")
        return Endpoint(running.base_url, running.api_key)
    base_url = request.config.stash[BASE]
    monkeypatch.setenv(contract.API_BASE_VARIABLE, base_url)
    monkeypatch.setenv(contract.API_KEY_VARIABLE, live_key)
    return Endpoint(base_url, live_key, live=True)
