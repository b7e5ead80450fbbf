"""HTTP server of the benchmarks: streamed chat completions, encoded before anything is measured.

The address names the answer: `/500-fast/…` streams 500 content chunks as fast as the client reads
them, `/500-paced/…` an event each millisecond, `/2-held/…` one event and then nothing more. Each
event is an HTTP chunk of its own, sent by a system call of its own.
"""

import asyncio
import json
import multiprocessing
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import cycle, islice
from multiprocessing.connection import Connection
from typing import Any

_TOKENS = re.findall(
    r"\s*(?:\w+|\W)",
    'The harbour lies quiet, and the boats turn with the tide: nine of them, "Brisa" the eldest.\n'
    "Gulls cry over the fjærsteiner at 6°.",
)
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nX-Request-Id: req_benchmark\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_REQUEST = re.compile(rb"(?is)^POST /(\d+)-(fast|paced|held)/.*\r\ncontent-length: *(\d+)")
_BURST = 10
"""Events that a connection sends before the others have their turn."""


def tokens(count: int) -> list[str]:
    """Return the contents of `count` chunks: prose, with quotes and other alphabets."""
    return list(islice(cycle(_TOKENS), count))


def events(count: int) -> list[bytes]:
    """Return the server-sent events of an answer, in the documented shape and order."""
    usage = {"prompt_tokens": 9, "completion_tokens": count, "total_tokens": 9 + count}
    details = {"reasoning_tokens": 0, "accepted_prediction_tokens": 0}
    sent = [_event([_choice({"content": token}, None)], None) for token in tokens(count)]
    sent.append(_event([_choice({}, "stop")], None))
    sent.append(_event([], usage | {"completion_tokens_details": details}))
    return [*sent, b"data: [DONE]\n\n"]


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _event(choices: list[dict[str, Any]], usage: dict[str, Any] | None) -> bytes:
    chunk = {
        "id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1_735_689_600,
        "model": "gpt-4o-mini-2024-07-18", "service_tier": "default",
        "system_fingerprint": "fp_72ed7ab54c", "choices": choices, "usage": usage,
    }  # fmt: skip
    return f"data: {json.dumps(chunk, separators=(',', ':'), ensure_ascii=False)}\n\n".encode()


@cache
def packets(count: int) -> list[bytes]:
    """Return an answer as it is sent, packet by packet, head and end included."""
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events(count)]
    return [_HEAD, *chunks, b"0\r\n\r\n"]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, one after the other."""
    writer.transport.set_write_buffer_limits(high=0)  # write nothing ahead of what is read
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        while request := _REQUEST.match(await reader.readuntil(b"\r\n\r\n")):
            await reader.readexactly(int(request[3]))
            await _answer(writer, int(request[1]), request[2])
    writer.close()


async def _answer(writer: asyncio.StreamWriter, count: int, pace: bytes) -> None:
    sent = packets(count)[:2] if pace == b"held" else packets(count)
    for number, packet in enumerate(sent):
        if pace == b"paced" or number % _BURST == 0:
            await asyncio.sleep(0.001 if pace == b"paced" else 0)
        writer.write(packet)
        await writer.drain()


def allow_many_files() -> None:
    """Raise the limit of open files as far as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _main(pipe: Connection) -> None:
    async def listen() -> None:
        server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    allow_many_files()
    asyncio.run(listen())


@contextmanager
def running() -> Iterator[str]:
    """Run the server in a process of its own and yield its address."""
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_main, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()
