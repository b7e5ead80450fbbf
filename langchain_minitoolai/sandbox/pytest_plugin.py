"""The fixture `minitoolai_sandbox`; opt in with `pytest_plugins` in the root `conftest.py`.

pytest_plugins = ["langchain_minitoolai.sandbox.pytest_plugin"]
"""

from collections.abc import Iterator
from typing import Final

import pytest

from langchain_minitoolai import sandbox

_MARK: Final = "minitoolai_sandbox"
_SERVICE: Final = pytest.StashKey[sandbox.Service]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line(
        "markers", f"{_MARK}(allow_unused): whether scripts may stay unused in the test's sandbox"
    )


@pytest.fixture
def minitoolai_sandbox(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[sandbox.Service]:
    """Run a fresh sandbox with quick images, and point the two environment variables at it."""
    with sandbox.running(job_seconds=0.02) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        request.node.stash[_SERVICE] = service
        yield service


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test that passed, though its sandbox has scripts that no request met."""
    yield
    service, mark = item.stash.get(_SERVICE, None), item.get_closest_marker(_MARK)
    if service and service.unused and not (mark and mark.kwargs.get("allow_unused")):
        message = f"the sandbox's scripts were not used up: {'; '.join(service.unused)}"
        pytest.fail(message, pytrace=False)
