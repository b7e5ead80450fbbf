"""Unit tests reach no network, not even loopback."""

from collections.abc import Iterator

import pytest
import pytest_socket

from langchain_minitoolai import _sync_sockets


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Forbid sockets, but for the pair that an event loop wakes itself with."""
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look no name up: a host has one address, itself."""
    monkeypatch.setattr(_sync_sockets, "addresses", lambda host, _: [host])
