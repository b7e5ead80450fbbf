"""What an answer used and cost, and what a prompt will: counts, prices, estimates."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from langchain_minitoolai import contract

_DATED: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_MILLION: Final = 1_000_000


def to_usage(usage: Mapping[str, Any]) -> UsageMetadata:
    """Make LangChain's usage of the service's.

    Args:
        usage: The `usage` object of the answer; counts that are missing or odd become 0.
    """
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    result = UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=_count(usage, "total_tokens") or read + written,
    )
    details = usage.get("prompt_tokens_details")
    if isinstance(details, Mapping):
        result["input_token_details"] = InputTokenDetails(
            audio=_count(details, "audio_tokens"), cache_read=_count(details, "cached_tokens")
        )
    details = usage.get("completion_tokens_details")
    if isinstance(details, Mapping):
        result["output_token_details"] = OutputTokenDetails(
            audio=_count(details, "audio_tokens"), reasoning=_count(details, "reasoning_tokens")
        )
    return result


def cost_of(usage: UsageMetadata, *models: str | None) -> float | None:
    """Compute what an answer cost, in USD, by the price table.

    Args:
        usage: The tokens read and written. The page names no discount for cached ones.
        models: Names of the model, the surest first; a dated snapshot costs what its model does.

    Returns:
        USD, or `None` if none of the names has a price.
    """
    for model in models:
        price = contract.CHAT_PRICES.get(_DATED.sub("", model or ""))
        if price is not None:
            total = usage["input_tokens"] * price.input + usage["output_tokens"] * price.output
            return round(total / _MILLION, 12)
    return None


def _count(counts: Mapping[str, Any], key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


# --- Estimates before a call ------------------------------------------------------

_TILE: Final = 512
_PATCH: Final = 32
_MAX_PATCHES: Final = 1536
_LONGEST, _SHORTEST = 2048, 768
# OpenAI's published rule: a base, and so much for each tile of 512 × 512 pixels …
_TILED: Final = {"gpt-4o": (85, 170), "gpt-4.1": (85, 170), "gpt-4o-mini": (2833, 5667)}
# … or so many times the number of patches of 32 × 32 pixels.
_PATCHED: Final = {"gpt-4.1-mini": 1.62, "gpt-4.1-nano": 2.46}


def image_tokens(model: str, detail: str | None, size: tuple[int, int] | None) -> int:
    """Estimate what a picture in a prompt counts, by OpenAI's published rules.

    Args:
        model: The chat model; an unknown one counts as `gpt-4o`.
        detail: `"low"`, `"high"`, `"auto"` or nothing; all but the first count as high.
        size: Width and height in pixels; 1024 × 1024 is assumed where it is not known.

    Returns:
        Tokens.
    """
    width, height = size or (1024, 1024)
    model = _DATED.sub("", model)
    if model in _PATCHED:
        patches = math.ceil(width / _PATCH) * math.ceil(height / _PATCH)
        return math.ceil(min(patches, _MAX_PATCHES) * _PATCHED[model])
    base, tile = _TILED.get(model, _TILED["gpt-4o"])
    if detail == "low":
        return base
    scale = min(1.0, _LONGEST / max(width, height))
    scale *= min(1.0, _SHORTEST / (min(width, height) * scale))
    tiles = math.ceil(width * scale / _TILE) * math.ceil(height * scale / _TILE)
    return base + tile * tiles
