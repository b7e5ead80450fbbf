"""Content blocks: any provider's to the API's two parts, `text` and `image_url`.

Images come in OpenAI's form (`image_url`, a string or an object), LangChain's own (`image`
blocks with `url` or `base64`, also in their older form), and Anthropic's (`source`). A URL is
passed on, never fetched.

What is no text counts as an image in `messages.py` (roles that take text alone), `request.py` (the
warning of models without images), `tokens.py`, and the sandbox's `_validation.py` and `_chat.py`:
a third part, such as `input_audio`, is one more case in each.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from langchain_minitoolai import contract
from langchain_minitoolai._tool_calling.history import NON_CONTENT_BLOCKS
from langchain_minitoolai.errors import InvalidInputError

Part: TypeAlias = dict[str, Any]

MAX_IMAGE_BYTES: Final = 20 * 1024 * 1024
"""OpenAI's limit for an image in a prompt of these models."""

_TEXT_TYPES: Final = ("text", "input_text", "output_text")
_IMAGE_TYPES: Final = ("image_url", "image", "input_image")
NON_CONTENT_TYPES: Final = (
    *NON_CONTENT_BLOCKS,
    "server_tool_call",
    "server_tool_call_chunk",
    "server_tool_result",
)
_DATA_URL: Final = re.compile(r"data:([^;,]*)(;base64)?,", re.IGNORECASE)
_SIGNATURES: Final = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "image/gif": re.compile(rb"GIF8[79]a"),
}
_MAX_URL_SHOWN: Final = 60


def to_parts(content: str | list[Any], field: str) -> list[Part]:
    """Convert the content of a message to the API's parts.

    Args:
        content: Text, or blocks in any of the forms above.
        field: The name of the content in errors, such as `messages[2].content`.

    Returns:
        `{"type": "text", "text": …}` and `{"type": "image_url", "image_url": {"url": …,
        "detail": …}}`, in order; none for blocks that are not content.

    Raises:
        InvalidInputError: If a block is of another kind, or an image can't be sent.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    parts = (to_part(block, f"{field}[{index}]") for index, block in enumerate(content))
    return [part for part in parts if part is not None]


def to_part(block: str | Mapping[str, Any], field: str) -> Part | None:
    """Convert one block as `to_parts` does; `field` names the block."""
    if isinstance(block, str):
        return {"type": "text", "text": block}
    kind = block.get("type")
    if kind in _TEXT_TYPES or (kind is None and "text" in block):
        return {"type": "text", "text": str(block.get("text") or "")}
    if kind == "refusal":
        return {"type": "text", "text": str(block.get("refusal") or "")}
    if is_image(block):
        return image_part(block, field)
    if kind in NON_CONTENT_TYPES:
        return None
    raise InvalidInputError(
        f"{field} is a block of type {kind!r}; allowed: text and images "
        "(image_url, image), since the service takes nothing else"
    )


def image_part(image: Mapping[str, Any], field: str) -> Part:
    """Convert an image as `to_parts` does; `field` names the block."""
    url, detail = _image_source(image, field)
    return {"type": "image_url", "image_url": _image_url(url, detail, field)}


def to_content(parts: list[Part]) -> str | list[Part]:
    """Join parts that are text alone to a string, the shortest form."""
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def is_image(block: Mapping[str, Any]) -> bool:
    """Check whether a block is an image, in any of the forms."""
    kind = block.get("type")
    media = kind in ("media", "file") and str(block.get("mime_type", "")).startswith("image/")
    return media or kind in _IMAGE_TYPES


def _image_source(block: Mapping[str, Any], field: str) -> tuple[Any, Any]:
    """Find the URL of an image, a data URL where it comes in base64, and its detail."""
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
    mime_type = holder.get("mime_type") or holder.get("media_type")
    if isinstance(data, bytes):
        data = _to_base64(data, field)
    if not isinstance(data, str) or not data:
        raise InvalidInputError(
            f"{field} is an image without a URL or base64 data; allowed: image_url, url, "
            "base64 with mime_type, or source"
        )
    if not mime_type:
        raise InvalidInputError(
            f"{field} is an image in base64 without its mime_type; allowed: "
            + ", ".join(contract.INPUT_IMAGE_TYPES)
        )
    return f"data:{mime_type};base64,{data}", detail


def _to_base64(data: bytes, field: str) -> str:
    """Encode the bytes of an image; bytes that are base64 already become text."""
    if _sniff(data):
        return base64.b64encode(data).decode()
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        allowed = ", ".join(contract.INPUT_IMAGE_TYPES)
        raise InvalidInputError(
            f"{field} is an image in bytes of an unknown type; allowed: {allowed}, or base64"
        ) from None


def _sniff(data: bytes) -> str | None:
    return next((kind for kind, start in _SIGNATURES.items() if start.match(data)), None)


def _image_url(url: Any, detail: Any, field: str) -> dict[str, str]:
    if not isinstance(url, str):
        raise InvalidInputError(f"{field}: the image's URL is {url!r}; allowed: text")
    scheme = url.partition(":")[0].strip().lower()
    if scheme == "data":
        url = _data_url(url, field)
    elif scheme not in ("https", "http") or "://" not in url:
        raise InvalidInputError(
            f"{field}: the image's URL is {_shorten(url)!r}; allowed: https:, http:, or "
            "data:image/…;base64,… (files are not read from here)"
        )
    if detail is None:
        return {"url": url}
    if detail not in contract.IMAGE_DETAILS:
        allowed = ", ".join(contract.IMAGE_DETAILS)
        raise InvalidInputError(f"{field}: detail is {detail!r}; allowed: {allowed}")
    return {"url": url, "detail": detail}


def _data_url(url: str, field: str) -> str:
    head = _DATA_URL.match(url)
    mime_type = head[1].lower().replace("image/jpg", "image/jpeg") if head else ""
    if not head or not head[2] or mime_type not in contract.INPUT_IMAGE_TYPES:
        allowed = ", ".join(contract.INPUT_IMAGE_TYPES)
        raise InvalidInputError(
            f"{field}: the image is {_shorten(url)!r}; allowed: base64 data of type {allowed}"
        )
    data = "".join(url[head.end() :].split())
    size = len(data) * 3 // 4
    if size > MAX_IMAGE_BYTES:
        raise InvalidInputError(
            f"{field}: the image has {size:,} bytes; allowed: at most {MAX_IMAGE_BYTES:,}"
        )
    try:
        decoded = binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        decoded = b""
    if not decoded:
        raise InvalidInputError(f"{field}: the image's data is empty or no base64")
    found = _sniff(decoded)
    if found and found != mime_type:
        raise InvalidInputError(
            f"{field}: the image's type is {mime_type!r}, but its data is of type {found!r}"
        )
    return f"data:{mime_type};base64,{data}"


def _shorten(url: str) -> str:
    return url if len(url) <= _MAX_URL_SHOWN else url[:_MAX_URL_SHOWN] + "…"
