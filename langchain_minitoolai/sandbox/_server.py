"""Sandbox server: a loopback socket, in a thread of its own."""

import asyncio
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn

from langchain_minitoolai.sandbox._app import build
from langchain_minitoolai.sandbox._service import Service, Settings
from langchain_minitoolai.sandbox.faults import Ending

HOST: Final = "127.0.0.1"
_KEEP_ALIVE: Final = 75
_TICK: Final = 0.005
_RESET: Final = struct.pack("ii", 1, 0)
"""Lingering for no time at all, which makes closing a socket a reset."""


@contextmanager
def served(port: int, api_key: str | None, settings: Settings) -> Iterator[Service]:
    """Serve a new sandbox while the block runs.

    Raises:
        OSError: The port is taken.
    """
    listener = socket.create_server((HOST, port))
    origin = f"http://{HOST}:{listener.getsockname()[1]}"
    service = Service(origin, api_key or f"sandbox-{secrets.token_hex(12)}", settings)
    server = _Server(service)
    thread = threading.Thread(
        target=server.run_on, args=(listener,), name=f"sandbox {origin}", daemon=True
    )
    thread.start()
    try:
        server.wait_started()
        yield service
    finally:
        server.stop()
        thread.join()


class _Server(uvicorn.Server):
    """Uvicorn, but it stops at once, open connections and unfinished answers or not."""

    def __init__(self, service: Service) -> None:
        config = uvicorn.Config(
            build(service, self.drop),
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        super().__init__(config)
        self._stop = asyncio.Event()
        self._up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failure: Exception | None = None

    def run_on(self, listener: socket.socket) -> None:
        """Serve on a socket until stopped; for a thread of its own."""
        try:
            asyncio.run(self.serve([listener]))
        except Exception as error:  # noqa: BLE001 - raised again where somebody waits
            self._failure = error
        finally:
            listener.close()
            self._up.set()

    def wait_started(self) -> None:
        """Wait until connections are accepted; raise what prevents it."""
        self._up.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop serving; from any thread."""
        self._up.wait()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def main_loop(self) -> None:
        """Serve until stopped, in place of looking every tenth of a second."""
        self._loop = asyncio.get_running_loop()
        self._up.set()
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        """Close everything, in place of waiting for clients to be done."""
        for server in self.servers:
            server.close()
        while self.server_state.connections or self.server_state.tasks:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(_TICK)
        for server in self.servers:
            await server.wait_closed()

    def drop(self, client: Any, ending: Ending) -> None:
        """End a client's connection, with what was written before."""
        for connection in list(self.server_state.connections):
            if getattr(connection, "client", None) == tuple(client):
                transport = connection.transport
                if ending == "reset":
                    raw = transport.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                transport.close()
