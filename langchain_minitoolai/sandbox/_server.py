"""Sandbox server: a socket, served by an event loop in a thread of its own."""

import asyncio
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from anyio.from_thread import start_blocking_portal

from langchain_minitoolai.sandbox._app import build
from langchain_minitoolai.sandbox._service import Service, Settings
from langchain_minitoolai.sandbox.faults import Ending

_REACHED_AT: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Addresses that stand for all of a machine's, and one that reaches it from there."""
_TICK: Final = 0.005
_RESET: Final = struct.pack("ii", 1, 0)
"""Lingering for no time at all, which makes closing a socket a reset."""


@contextmanager
def served(host: str, port: int, api_key: str | None, settings: Settings) -> Iterator[Service]:
    """Serve a new sandbox while the block runs.

    Raises:
        OSError: The port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    near = _REACHED_AT.get(host, host)
    with (
        socket.create_server((host, port), family=family) as listener,
        start_blocking_portal() as portal,
    ):
        origin = f"http://{f'[{near}]' if ':' in near else near}:{listener.getsockname()[1]}"
        service = Service(origin, api_key or f"sandbox-{secrets.token_hex(12)}", settings)
        server = _Server(service)
        portal.call(server.startup, [listener])
        try:
            yield service
        finally:
            portal.call(server.shutdown)


class _Server(uvicorn.Server):
    """Uvicorn, but it stops at once, open connections and unfinished answers or not."""

    def __init__(self, service: Service) -> None:
        config = uvicorn.Config(
            build(service, self.drop),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
        super().__init__(config)
        config.load()
        self.lifespan = config.lifespan_class(config)

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
