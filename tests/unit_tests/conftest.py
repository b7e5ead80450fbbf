"""Unit tests reach no network, not even loopback, but where a test asks for it."""

from collections.abc import Iterator

import pytest
import pytest_socket

from langchain_minitoolai._http import client, transport


@pytest.fixture(autouse=True)
def no_sockets() -> Iterator[None]:
    """Forbid sockets, but for the pair that an event loop wakes itself with."""
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture
def loopback(no_sockets: None) -> None:
    """Allow sockets to this machine, where a network backend is what is tested."""
    pytest_socket.enable_socket()
    pytest_socket.socket_allow_hosts(["127.0.0.1"])


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look no name up: a host has one address, itself."""
    for module in (client, transport):
        monkeypatch.setattr(module, "resolve", lambda host, _, **__: [host])
