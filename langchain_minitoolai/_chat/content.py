"""Content blocks to the two parts the service takes: `text` and `image_url`.

Pictures come in the forms LangChain users hold: OpenAI's `image_url` (text or object),
LangChain's own `image` blocks (`url` or `base64`, also in their older form), and
Anthropic's `source`. An address is passed on, never fetched.
"""

import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, TypeAlias

from langchain_minitoolai import contract
from langchain_minitoolai.errors import InvalidInputError

Part: TypeAlias = dict[str, Any]
Block: TypeAlias = str | Mapping[str, Any]

MAX_IMAGE: Final = 20 * 1024 * 1024
"""The most bytes of a picture inside a prompt; OpenAI's limit for these models."""

_TEXT_TYPES: Final = ("text", "input_text", "output_text")
_IMAGE_TYPES: Final = ("image_url", "image", "input_image")
# Blocks that tell of a turn's inner life or of calls; these are not content for the service.
SILENT_TYPES: Final = (
    "thinking",
    "redacted_thinking",
    "reasoning",
    "reasoning_content",
    "tool_use",
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "input_json_delta",
    "function_call",
    "server_tool_call",
    "server_tool_call_chunk",
    "server_tool_result",
    "non_standard",
)
_DATA_URL: Final = re.compile(r"data:([^;,]*)(;base64)?,", re.IGNORECASE)
_SHOWN: Final = 60


def to_parts(content: str | list[Any], field: str) -> list[Part]:
    """Make the service's parts of a message's content.

    Args:
        content: Text, or blocks in any of the forms above.
        field: How to name the content in an error, as `messages[2].content`.

    Returns:
        `{"type": "text", "text": …}` and `{"type": "image_url", "image_url": {"url": …,
        "detail": …}}`, in order; nothing for blocks that hold no content.

    Raises:
        InvalidInputError: If a block is of another kind, or a picture can't be sent.
    """
    blocks = [content] if isinstance(content, str) else content
    return [
        part
        for index, block in enumerate(blocks)
        for part in block_parts(block, field if content is block else f"{field}[{index}]")
    ]


def block_parts(block: Block, field: str) -> list[Part]:
    """Make the service's parts of one block, as `to_parts` does; `field` names the block."""
    return list(_to_parts(block, field))


def to_content(parts: list[Part]) -> str | list[Part]:
    """Give a plain text where the parts are nothing else, since that is shortest."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def is_picture(block: Mapping[str, Any]) -> bool:
    """Say whether a block holds a picture, in any of the forms."""
    kind = block.get("type")
    media = kind in ("media", "file") and str(block.get("mime_type", "")).startswith("image/")
    return media or kind in _IMAGE_TYPES


def join_text(parts: list[Part]) -> list[Part]:
    """Join the text parts that stand side by side."""
    joined: list[Part] = []
    for is_text, group in groupby(parts, lambda part: part["type"] == "text"):
        if is_text:
            joined.append({"type": "text", "text": "".join(part["text"] for part in group)})
        else:
            joined += group
    return joined


def map_text(parts: list[Part], change: Callable[[str], str]) -> list[Part]:
    """Change the text of the text parts, and nothing else."""
    return [
        {**part, "text": change(part["text"])} if part["type"] == "text" else part for part in parts
    ]


def _to_parts(block: Block, field: str) -> Iterator[Part]:
    if isinstance(block, str):
        yield {"type": "text", "text": block}
        return
    kind = block.get("type")
    if kind in _TEXT_TYPES or (kind is None and "text" in block):
        yield {"type": "text", "text": str(block.get("text") or "")}
    elif kind == "refusal":
        yield {"type": "text", "text": str(block.get("refusal") or "")}
    elif is_picture(block):
        url, detail = _address(block, field)
        yield {"type": "image_url", "image_url": _checked(url, detail, field)}
    elif kind not in SILENT_TYPES:
        raise InvalidInputError(
            f"{field} is a block of type {kind!r}; allowed: text and pictures "
            "(image_url, image), since the service takes nothing else"
        )


def _address(block: Mapping[str, Any], field: str) -> tuple[Any, Any]:
    """Find a picture's address, making a data URL of bytes in base64, and its detail."""
    extras = block.get("extras")  # where LangChain's own blocks keep what other forms have
    detail = block.get("detail", extras.get("detail") if isinstance(extras, Mapping) else None)
    inner = block.get("image_url")
    if isinstance(inner, Mapping):
        return inner.get("url"), inner.get("detail", detail)
    if inner is not None:
        return inner, detail
    source = block.get("source")
    holder = source if isinstance(source, Mapping) else block
    if holder.get("url") is not None:
        return holder["url"], detail
    data = holder.get("base64", holder.get("data"))
    kind = holder.get("mime_type") or holder.get("media_type")
    if not isinstance(data, str) or not data:
        raise InvalidInputError(
            f"{field} is a picture without an address or base64 data; allowed: image_url, url, "
            "base64 with mime_type, or source"
        )
    if not kind:
        raise InvalidInputError(
            f"{field} is a picture in base64 without its mime_type; allowed: "
            + ", ".join(contract.INPUT_IMAGE_TYPES)
        )
    return f"data:{kind};base64,{data}", detail


def _checked(url: Any, detail: Any, field: str) -> dict[str, str]:
    if not isinstance(url, str):
        raise InvalidInputError(f"{field}: the picture's address is {url!r}; allowed: text")
    scheme = url.partition(":")[0].strip().lower()
    if scheme == "data":
        url = _checked_data(url, field)
    elif scheme not in ("https", "http") or "://" not in url:
        raise InvalidInputError(
            f"{field}: the picture's address is {_short(url)!r}; allowed: https:, http:, or "
            "data:image/…;base64,… (files are not read from here)"
        )
    if detail is None:
        return {"url": url}
    if detail not in contract.IMAGE_DETAILS:
        allowed = ", ".join(contract.IMAGE_DETAILS)
        raise InvalidInputError(f"{field}: detail is {detail!r}; allowed: {allowed}")
    return {"url": url, "detail": detail}


def _checked_data(url: str, field: str) -> str:
    head = _DATA_URL.match(url)
    kind = head[1].lower().replace("image/jpg", "image/jpeg") if head else ""
    if not head or not head[2] or kind not in contract.INPUT_IMAGE_TYPES:
        allowed = ", ".join(contract.INPUT_IMAGE_TYPES)
        raise InvalidInputError(
            f"{field}: the picture is {_short(url)!r}; allowed: base64 data of type {allowed}"
        )
    data = "".join(url[head.end() :].split())
    size = len(data) * 3 // 4
    if size > MAX_IMAGE:
        raise InvalidInputError(
            f"{field}: the picture has {size:,} bytes; allowed: at most {MAX_IMAGE:,}"
        )
    try:
        whole = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        whole = b""
    if not whole:
        raise InvalidInputError(f"{field}: the picture's data is empty or no base64")
    return f"data:{kind};base64,{data}"


def _short(url: str) -> str:
    return url if len(url) <= _SHOWN else url[:_SHOWN] + "…"
