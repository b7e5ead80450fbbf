"""Processes of this machine, read from `/proc`: descendants, and where they listen."""

import ipaddress
import socket
from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"
_PROC: Final = Path("/proc")


def descendants(pid: int) -> dict[int, str]:
    """Find the processes below one, by id, with their command lines."""
    parents = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                # The name in parentheses may hold spaces.
                parents[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
            except OSError:
                continue
    found: dict[int, str] = {}
    layer = {pid}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found.update((child, _command(child)) for child in layer)
    return found


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def listening_addresses(pid: int) -> set[str]:
    """List the addresses that a process listens on for TCP."""
    sockets = _sockets(pid)
    return {
        _address(fields[1].partition(":")[0])
        for table in ("tcp", "tcp6")
        for fields in map(str.split, (_PROC / "net" / table).read_text().splitlines()[1:])
        if fields[3] == _LISTENING and f"socket:[{fields[9]}]" in sockets
    }


def _sockets(pid: int) -> set[str]:
    try:
        return {str(entry.readlink()) for entry in (_PROC / str(pid) / "fd").iterdir()}
    except OSError:
        return set()


def _address(hexadecimal: str) -> str:
    """Decode an address of the kernel's table: words of 32 bits, each in the machine's order."""
    words = [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]
    packed = b"".join(socket.htonl(int(word, 16)).to_bytes(4) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
