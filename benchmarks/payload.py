"""What the benchmark server answers, encoded before anything is measured.

One HTTP chunk is one packet: it is sent by a system call of its own, so `per_packet`
events arrive together however the reader is written.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle, islice

SNAPSHOT = "gpt-4o-mini-2024-07-18"
CREATED = 1_735_689_600
_TOKENS = (
    "The", " harbour", " lies", " quiet", ",", " and", " the", " boats", " turn", " with",
    " the", " tide", ":", " nine", " of", " them", ",", ' "Brisa"', " the", " eldest", ".",
    "\n", "Gulls", " cry", " over", " the", " fjærsteiner", " at", " 6", "°", ".",
)  # fmt: skip


def tokens(count: int) -> Iterator[str]:
    """Give the text of `count` content chunks: prose, with quotes and other alphabets."""
    return islice(cycle(_TOKENS), count)


@lru_cache(maxsize=16)
def text(count: int) -> str:
    """Give the whole text of an answer of `count` content chunks."""
    return "".join(tokens(count))


def usage(count: int) -> dict[str, object]:
    """Give the usage that an answer of `count` content chunks tells."""
    return {
        "prompt_tokens": 9,
        "completion_tokens": count,
        "total_tokens": 9 + count,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _chunk(choices: list[dict[str, object]], told: dict[str, object] | None) -> dict[str, object]:
    return {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": SNAPSHOT,
        "service_tier": "default",
        "system_fingerprint": "fp_72ed7ab54c",
        "choices": choices,
        "usage": told,
    }


def _choice(delta: dict[str, str], finish_reason: str | None) -> dict[str, object]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def events(count: int) -> Iterator[bytes]:
    """Give the events of a streamed answer, in the documented shape and order."""
    for token in tokens(count):
        yield _event(_compact(_chunk([_choice({"content": token}, None)], None)))
    yield _event(_compact(_chunk([_choice({}, "stop")], None)))
    yield _event(_compact(_chunk([], usage(count))))
    yield _event("[DONE]")


def _event(data: str) -> bytes:
    return f"data: {data}\n\n".encode()


@lru_cache(maxsize=64)
def packets(count: int, per_packet: int) -> tuple[bytes, ...]:
    """Give a streamed answer as it is sent, packet by packet, head and end included."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
        b"Cache-Control: no-cache\r\nX-Request-Id: req_benchmark\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    sent = list(events(count))
    groups = (b"".join(sent[i : i + per_packet]) for i in range(0, len(sent), per_packet))
    return (head, *(b"%x\r\n%b\r\n" % (len(group), group) for group in groups), b"0\r\n\r\n")


@lru_cache(maxsize=64)
def document(count: int) -> bytes:
    """Give the same answer as one JSON document, for a request that asks for no stream."""
    body = _compact(
        {
            "id": "chatcmpl-benchmark",
            "object": "chat.completion",
            "created": CREATED,
            "model": SNAPSHOT,
            "system_fingerprint": "fp_72ed7ab54c",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text(count), "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": usage(count),
        }
    ).encode()
    return plain(body)


def plain(body: bytes) -> bytes:
    """Wrap a JSON body in the head of a 200."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body
