import base64
import struct
import zlib
from typing import Any

import pytest

from langchain_minitoolai._chat.tokens import count_request, count_text
from langchain_minitoolai._chat.usage import image_tokens


def png(width: int, height: int) -> str:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"x") + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(data).decode()


def letters(text: str) -> list[int]:
    return [ord(char) for char in text]


def user(content: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": content}]}


EMPTY = count_request(user(""))


def test_four_characters_are_a_token() -> None:
    assert count_text("") == 0
    assert count_text("abcd") == 1
    assert count_text("abcde") == 2


def test_a_tokenizer_counts_exactly() -> None:
    assert count_text("abc", letters) == 3
    assert count_request(user("abc"), letters) == 3 + len("user") + len("abc")


def test_messages_count_their_words_and_something_around_them() -> None:
    assert EMPTY > 0
    assert count_request(user("abcd")) == EMPTY + 1
    assert count_request(user([{"type": "text", "text": "abcd"}])) == EMPTY + 1
    twice = {"model": "gpt-4o", "messages": user("abcd")["messages"] * 2}
    assert count_request(twice) == 2 * (EMPTY + 1)


@pytest.mark.parametrize(
    ("url", "size"),
    [
        (png(2048, 512), (2048, 512)),
        ("https://example.com/a.png", None),
        ("data:image/png;base64,AAAA", None),
        ("data:image/png;base64,A", None),
        ("https://example.com/a,b.png", None),
    ],
)
@pytest.mark.parametrize("detail", ["low", "high", None])
def test_a_picture_counts_by_its_size_where_that_is_known(
    url: str, size: tuple[int, int] | None, detail: str | None
) -> None:
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    count = count_request(user([{"type": "image_url", "image_url": image}]))
    assert count == EMPTY + image_tokens("gpt-4o", detail, size)


def test_calls_and_tools_in_fields_of_their_own_count_too() -> None:
    body = user("")
    said = {"role": "assistant", "content": None}
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    without = count_request({**body, "messages": [said]})
    assert count_request({**body, "messages": [{**said, "tool_calls": [call]}]}) > without + 10
    tool = {"type": "function", "function": {"name": "add", "description": "x" * 400}}
    assert count_request({**body, "tools": [tool]}) > EMPTY + 100
