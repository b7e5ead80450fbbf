"""The bytes of answers: heads, chunks, events, and the scripts made of them."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.faults.server import Exchange, Script

TOKENS = ("Hel", "lo, ", "wörld", " 🌍", "!")
TEXT = "".join(TOKENS)
USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 5,
    "total_tokens": 16,
    "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 2, "audio_tokens": 0},
}
DONE = b"data: [DONE]\n\n"

Headers = Mapping[str, str]


def chunk_object(**fields: Any) -> dict[str, Any]:
    """Return a completion chunk as the service sends it, with `fields` in place of its own."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_750_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_1",
        "choices": [],
        "usage": None,
    } | fields


def choice(delta: Any, finish: str | None = None) -> dict[str, Any]:
    """Return the one choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def event(value: Any, end: str = "\n", prefix: str = "data: ") -> bytes:
    """Return `value` as one event; text goes as it is, the rest as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{prefix}{text}{end}{end}".encode()


def token(text: str) -> dict[str, Any]:
    """Return the chunk that carries `text`."""
    return chunk_object(choices=[choice({"content": text})])


def finish(reason: str = "stop") -> dict[str, Any]:
    """Return the chunk that ends the text."""
    return chunk_object(choices=[choice({}, reason)])


def usage() -> dict[str, Any]:
    """Return the chunk that counts the tokens."""
    return chunk_object(usage=USAGE)


def tokens(texts: Iterable[str] = TOKENS) -> list[bytes]:
    """Return the events of the text alone."""
    return [event(token(text)) for text in texts]


def answer(texts: Iterable[str] = TOKENS, reason: str = "stop") -> list[bytes]:
    """Return every event of a complete answer."""
    return [*tokens(texts), event(finish(reason)), event(usage()), DONE]


def completion(text: str = TEXT) -> dict[str, Any]:
    """Return a whole answer as one JSON document."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return chunk_object(
        object="chat.completion",
        choices=[{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        usage=USAGE,
    )


def head(
    status: str = "200 OK",
    content_type: str | None = "text/event-stream",
    headers: Headers | None = None,
) -> bytes:
    """Return a response head; `headers` say how the body is framed."""
    lines = [f"HTTP/1.1 {status}"]
    if content_type is not None:
        lines.append(f"Content-Type: {content_type}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode()


CHUNKED: Headers = {"Transfer-Encoding": "chunked"}
CLOSES: Headers = {"Connection": "close"}
LAST = b"0\r\n\r\n"


def chunked(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(
    packets: Iterable[bytes],
    *,
    content_type: str | None = "text/event-stream",
    gap: float = 0.0,
    headers: Headers | None = None,
    then: Callable[[Exchange], None] | None = None,
) -> Script:
    """Return a script that sends `packets`, each an HTTP chunk, and then ends the body.

    `then` replaces the proper end.
    """
    parts = list(packets)

    def script(exchange: Exchange) -> None:
        exchange.send(head(content_type=content_type, headers={**CHUNKED, **(headers or {})}))
        exchange.send(*[chunked(part) for part in parts], gap=gap)
        if then is None:
            exchange.send(LAST)
        else:
            then(exchange)

    return script


def body(
    status: str,
    content: bytes | str | dict[str, Any],
    content_type: str | None = "application/json",
    headers: Headers | None = None,
) -> Script:
    """Return a script that answers with a body of known length."""
    data = json.dumps(content) if isinstance(content, dict) else content
    raw = data.encode() if isinstance(data, str) else data

    def script(exchange: Exchange) -> None:
        length = {"Content-Length": str(len(raw)), **(headers or {})}
        exchange.send(head(status, content_type, length) + raw)

    return script


def error(status: str, message: str = "no", headers: Headers | None = None, **more: str) -> Script:
    """Return a script that refuses in OpenAI's form."""
    return body(status, {"error": {"message": message, "type": "t", **more}}, headers=headers)


def page(status: str, title: str = "Just a moment...") -> Script:
    """Return a script that answers with a page, as a CDN would."""
    html = f"<!DOCTYPE html><html><head><title>{title}</title></head><body><p>Ray</p></body></html>"
    return body(status, html, "text/html; charset=UTF-8")


GOOD: Script = stream(answer())
"""The service at its best."""


def closed_at_end(packets: Iterable[bytes]) -> Script:
    """Return a script whose body ends where the connection does."""
    parts = list(packets)

    def script(exchange: Exchange) -> None:
        exchange.send(head(headers=CLOSES), *parts)
        exchange.close()

    return script


def flood(block: bytes, times: int, start: bytes = b"", end: bytes = b"") -> Script:
    """Return a script that sends `block` so often that nobody should read it all."""

    def script(exchange: Exchange) -> None:
        exchange.send(head(headers=CLOSES) + start)
        for _ in range(times):
            exchange.send(block)
        exchange.send(end)
        exchange.close()

    return script


def drip(data: Iterable[bytes], gap: float, seconds: float, before: bytes = b"") -> Script:
    """Return a script that sends `before`, then one piece of `data` every `gap` seconds."""

    def script(exchange: Exchange) -> None:
        exchange.send(before)
        until = time.monotonic() + seconds
        for piece in data:
            if time.monotonic() > until:
                break
            exchange.send(piece)
            exchange.pause(gap)
        exchange.close()

    return script
