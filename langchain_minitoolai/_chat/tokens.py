"""Token counts before a call, offline: estimates, or exact where a tokenizer is given."""

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from langchain_minitoolai._chat.usage import image_tokens
from langchain_minitoolai._image_files import read_image_info
from langchain_minitoolai.errors import ImageDownloadError

Tokenizer: TypeAlias = Callable[[str], list[int]]

_CHARACTERS: Final = 4.0
"""Characters a token, as core's approximate counter has it."""
_MESSAGE: Final = 3
"""Tokens around each message."""


def count_text(text: str, tokenizer: Tokenizer | None = None) -> int:
    """Estimate a text's tokens, or count them with a tokenizer."""
    return len(tokenizer(text)) if tokenizer else math.ceil(len(text) / _CHARACTERS)


def count_request(body: Mapping[str, Any], tokenizer: Tokenizer | None = None) -> int:
    """Estimate what a request counts: its messages, and the tools in fields of their own.

    Args:
        body: The request as it is sent.
        tokenizer: Counts the text exactly.
    """
    total = count_text(str(body["tools"]), tokenizer) if "tools" in body else 0
    for message in body["messages"]:
        total += _MESSAGE + count_text(message["role"], tokenizer)
        content = message["content"] or ""
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                total += count_text(part, tokenizer)
            elif part["type"] == "text":
                total += count_text(part["text"], tokenizer)
            else:
                total += _count_image(part["image_url"], body["model"])
        if calls := message.get("tool_calls"):
            total += count_text(str(calls), tokenizer)
    return total


def _count_image(image: Mapping[str, Any], model: str) -> int:
    return image_tokens(model, image.get("detail"), _size(image["url"]))


def _size(url: str) -> tuple[int, int] | None:
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return None
    try:
        info = read_image_info(base64.b64decode(data))
    except (ImageDownloadError, ValueError):
        return None
    return info.width, info.height
