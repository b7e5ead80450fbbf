"""Token estimates before a call: texts, images, requests."""

import base64
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from langchain_minitoolai import contract
from langchain_minitoolai._chat.usage import DATE
from langchain_minitoolai._image_files import read_image_info
from langchain_minitoolai.errors import ImageDownloadError

Tokenizer: TypeAlias = Callable[[str], list[int]]

_TOKENS_PER_MESSAGE: Final = 3
_LATIN_TOKENS: Final = 0.25
"""Tokens a character, as in core's approximate counter."""
# Other scripts are denser, by what the models' tokenizer (o200k_base) counts in them.
_DENSER: Final = tuple(
    (re.compile(f"[{letters}]+"), tokens)
    for letters, tokens in (
        # Chinese and Japanese; Korean.
        (
            "\u2e80-\u31ff\u3400-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff",
            0.8,
        ),
        ("\u1100-\u11ff\uac00-\ud7ff", 0.65),
        # Telugu and Kannada, Thai and Lao, Burmese, Khmer; Ethiopic.
        ("\u0c00-\u0cff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff", 0.5),
        ("\u1200-\u139f", 1.8),
        # Symbols and emoji, with the selectors and flags that belong to them.
        ("\u2190-\u24ff\u25a0-\u2bff\ufe0f\U0001f000-\U0001faff", 1.5),
        # Greek, Cyrillic, Hebrew, Arabic, the scripts of India and the Caucasus, and so on.
        ("\u0370-\u0bff\u0d00-\u0dff\u0f00-\u0fff\u10a0-\u10ff\u13a0-\u177f\u1800-\u1dff", 0.35),
    )
)


def count_text_tokens(text: str, tokenizer: Tokenizer | None = None) -> int:
    """Estimate the tokens of a text, or count them with a tokenizer."""
    if tokenizer:
        return len(tokenizer(text))
    latin, denser = len(text), 0.0
    for letters, tokens in () if text.isascii() else _DENSER:
        found = sum(map(len, letters.findall(text)))
        latin -= found
        denser += found * tokens
    return math.ceil(latin * _LATIN_TOKENS + denser)


def count_request_tokens(body: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> int:
    """Estimate the input tokens of a request: its messages, and the tools in their own field.

    Args:
        body: The request body.
        tokenizer: Counts the text exactly.
    """
    total = count_text_tokens(str(body["tools"]), tokenizer) if "tools" in body else 0
    for message in body["messages"]:
        total += _TOKENS_PER_MESSAGE + count_text_tokens(message["role"], tokenizer)
        content = message["content"] or ""
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                total += count_text_tokens(part, tokenizer)
            elif part["type"] == "text":
                total += count_text_tokens(part["text"], tokenizer)
            else:
                image = part["image_url"]
                size = _image_size(image["url"])
                total += count_image_tokens(body["model"], image.get("detail"), size)
        if calls := message.get("tool_calls"):
            total += count_text_tokens(str(calls), tokenizer)
    return total


def _image_size(url: str) -> tuple[int, int] | None:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return None
    try:
        image = read_image_info(base64.b64decode(data))
    except (ImageDownloadError, ValueError):
        return None
    return image.width, image.height


_TILE: Final = 512
_PATCH: Final = 32
_MAX_PATCHES: Final = 1536
_LONGEST, _SHORTEST = 2048, 768


def count_image_tokens(model: str, detail: str | None, size: tuple[int, int] | None) -> int:
    """Estimate the tokens of an image in a prompt by OpenAI's published rules.

    Args:
        model: The chat model; an unknown one counts as `gpt-4o`.
        detail: `"low"`, `"high"`, `"auto"` or `None`; all but the first count as high.
        size: Width and height in pixels; 1024 × 1024 is assumed where it is unknown.
    """
    width, height = size or (1024, 1024)
    known = contract.IMAGE_TOKENS
    base, tile, patch = known.get(DATE.sub("", model), known["gpt-4o"])
    if patch:
        patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
        return math.ceil(min(patches, _MAX_PATCHES) * patch)
    if detail == "low":
        return base
    scale = min(1.0, _LONGEST / max(width, height))
    scale *= min(1.0, _SHORTEST / (min(width, height) * scale))
    tiles = math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)
    return base + tile * tiles
