"""The fixture `minitoolai_sandbox`; opt in with `pytest_plugins` in the root `conftest.py`.

pytest_plugins = ["langchain_minitoolai.sandbox.pytest_plugin"]
"""

from collections.abc import Iterator

import pytest

from langchain_minitoolai import sandbox


@pytest.fixture
def minitoolai_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[sandbox.Service]:
    """Run a fresh sandbox with quick images, and point the two environment variables at it."""
    with sandbox.running(job_seconds=0.02) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service
