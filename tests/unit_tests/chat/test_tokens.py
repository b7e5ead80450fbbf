import base64
import struct
import zlib
from typing import Any

import pytest

from langchain_minitoolai._chat.tokens import (
    count_image_tokens,
    count_request_tokens,
    count_text_tokens,
)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((512, 512), 1),
        ((513, 512), 2),
        ((1024, 1024), 4),  # to 768 × 768
        ((2048, 4096), 6),  # to 1024 × 2048, then 768 × 1536
        ((4096, 512), 4),  # to 2048 × 256
        ((1, 1), 1),
        (None, 4),
    ],
)
def test_an_image_counts_by_openai_s_published_tiles(
    size: tuple[int, int] | None, tiles: int
) -> None:
    for model, base, tile in (
        ("gpt-4o", 85, 170),
        ("gpt-4o-mini", 2833, 5667),
        ("gpt-4.1", 85, 170),
        ("gpt-9", 85, 170),
    ):
        for detail in ("high", "auto", None):
            assert count_image_tokens(model, detail, size) == base + tiles * tile
        assert count_image_tokens(model, "low", size) == base


def test_the_smaller_models_count_patches() -> None:
    assert count_image_tokens("gpt-4.1-mini", None, (1024, 1024)) == 1659  # 1024 × 1.62
    assert count_image_tokens("gpt-4.1-nano", "low", (320, 33)) == 50  # 20 × 2.46
    assert count_image_tokens("gpt-4.1-mini", None, (10_000, 10_000)) == 2489  # 1536 × 1.62
    assert count_image_tokens("gpt-4.1-mini-2025-04-14", None, (32, 32)) == 2


# --- Token estimates -----------------------------------------------------------------


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


EMPTY = count_request_tokens(user(""))


def test_four_characters_are_a_token() -> None:
    assert count_text_tokens("") == 0
    assert count_text_tokens("abcd") == 1
    assert count_text_tokens("abcde") == 2


# A greeting with OpenAI's published counts of GPT-4o's tokenizer.
PUBLISHED = {
    "Hello, my name is GPT-4o. I'm a new type of language model, it's nice to meet you!": 24,
    "Hallo, mein Name is GPT-4o. Ich bin ein neues KI-Sprachmodell. "
    "Es ist schön, dich kennenzulernen.": 29,
    "你好,我的名字是GPT-4o。我是一种新型的语言模型,很高兴见到你!": 24,
    "こんにちわ、私の名前はGPT-4oです。私は新しいタイプの言語モデルです、初めまして": 26,
    "안녕하세요, 제 이름은 GPT-4o입니다. 저는 새로운 유형의 언어 모델입니다, "
    "만나서 반갑습니다!": 27,
    "Привет, меня зовут GPT-4o. Я — новая языковая модель, приятно познакомиться!": 23,
    "مرحبًا، اسمي جي بي تي-4o. أنا نوع جديد من نموذج اللغة، سررت بلقائك!": 26,
    "नमस्ते, मेरा नाम जीपीटी-4o है। मैं एक नए प्रकार का भाषा मॉडल हूँ। आपसे मिलकर अच्छा लगा!": 31,
    "வணக்கம், என் பெயர் ஜிபிடி-4o. நான் ஒரு புதிய வகை மொழி மாடல். உங்களை சந்தித்ததில் மகிழ்ச்சி!": 35,
}


@pytest.mark.parametrize(("text", "tokens"), PUBLISHED.items())
def test_an_estimate_is_within_a_quarter_of_the_published_count(text: str, tokens: int) -> None:
    assert count_text_tokens(text) == pytest.approx(tokens, rel=0.25)


def test_a_tokenizer_counts_exactly() -> None:
    assert count_text_tokens("abc", letters) == 3
    assert count_request_tokens(user("abc"), letters) == 3 + len("user") + len("abc")


def test_messages_count_their_words_and_something_around_them() -> None:
    assert EMPTY > 0
    assert count_request_tokens(user("abcd")) == EMPTY + 1
    assert count_request_tokens(user([{"type": "text", "text": "abcd"}])) == EMPTY + 1
    twice = {"model": "gpt-4o", "messages": user("abcd")["messages"] * 2}
    assert count_request_tokens(twice) == 2 * (EMPTY + 1)


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
def test_an_image_counts_by_its_size_where_that_is_known(
    url: str, size: tuple[int, int] | None, detail: str | None
) -> None:
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    count = count_request_tokens(user([{"type": "image_url", "image_url": image}]))
    assert count == EMPTY + count_image_tokens("gpt-4o", detail, size)


def test_calls_and_tools_in_fields_of_their_own_count_too() -> None:
    body = user("")
    message = {"role": "assistant", "content": None}
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    without = count_request_tokens({**body, "messages": [message]})
    assert (
        count_request_tokens({**body, "messages": [{**message, "tool_calls": [call]}]})
        > without + 10
    )
    tool = {"type": "function", "function": {"name": "add", "description": "x" * 400}}
    assert count_request_tokens({**body, "tools": [tool]}) > EMPTY + 100
