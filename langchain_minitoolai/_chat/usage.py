"""Token usage: counts to `usage_metadata`, cost, model profiles."""

import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, cast, get_type_hints

from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import LLMResult

from langchain_minitoolai import contract

DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
"""The end of a dated snapshot's name."""
_MILLION: Final = 1_000_000


def to_usage_metadata(usage: Mapping[str, Any]) -> UsageMetadata:
    """Convert the service's token counts to LangChain's.

    Args:
        usage: The `usage` object of the response; counts that are missing or odd become 0.
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


def _count(counts: Mapping[str, Any], key: str) -> int:
    value = counts.get(key)
    return value if isinstance(value, int) and value > 0 else 0


def estimate_cost(usage: UsageMetadata, *models: str | None) -> float | None:
    """Compute the cost of a response in USD from the price table.

    Args:
        usage: The tokens read and written. The page names no discount for cached ones.
        models: Names of the model, the surest first; a dated snapshot costs what its model does.

    Returns:
        USD, or `None` if none of the names has a price.
    """
    for model in models:
        price = contract.CHAT_PRICES.get(DATE.sub("", model or ""))
        if price is not None:
            total = usage["input_tokens"] * price.input + usage["output_tokens"] * price.output
            return round(total / _MILLION, 12)
    return None


def message_cost(message: AIMessage) -> float | None:
    """Read what an answer of any provider cost, in USD; `None` where it does not say."""
    # Core sets a total cost of 0 on answers from its cache.
    usage: Mapping[str, Any] = message.usage_metadata or {}
    return _amount(message.response_metadata.get("cost", usage.get("total_cost")))


def artifact_cost(message: ToolMessage) -> float | None:
    """Read what a tool's result cost, in USD; `None` where its artifact does not say."""
    artifact = message.artifact
    return _amount(artifact.get("cost_usd")) if isinstance(artifact, Mapping) else None


def _amount(value: Any) -> float | None:
    is_amount = isinstance(value, int | float) and math.isfinite(value) and value >= 0
    return float(value) if is_amount else None


def zero_cost_of_cache_hits(result: LLMResult) -> LLMResult:
    """Set the cost of answers from LangChain's cache, which core marks, to 0."""
    for generation in (each for generations in result.generations for each in generations):
        message = getattr(generation, "message", None)
        if isinstance(message, AIMessage) and "cost" in message.response_metadata:
            usage: Mapping[str, Any] = message.usage_metadata or {}
            if usage.get("total_cost") == 0:
                message.response_metadata = {**message.response_metadata, "cost": 0.0}
    return result


# --- Model profiles ----------------------------------------------------------------


@lru_cache(maxsize=64)
def model_profile(model: str) -> ModelProfile | None:
    """Describe a documented model in LangChain's terms.

    Args:
        model: Its name.

    Returns:
        The profile, the same object each time, so copy it before handing it on; `None` for a
        model that the service does not document.
    """
    limits = contract.TOKEN_LIMITS.get(model)
    if limits is None:
        return None
    has_vision = model in contract.VISION_MODELS
    profile = ModelProfile(
        name=model,
        max_input_tokens=limits.input,
        max_output_tokens=limits.output,
        text_inputs=True,
        image_inputs=has_vision,
        image_url_inputs=has_vision,
        image_tool_message=has_vision,
        pdf_inputs=False,
        pdf_tool_message=False,
        audio_inputs=False,
        video_inputs=False,
        text_outputs=True,
        image_outputs=False,
        audio_outputs=False,
        video_outputs=False,
        reasoning_output=False,
        tool_calling=True,
        tool_choice=True,
        tool_call_streaming=True,
        structured_output=True,
        temperature=True,
        mid_conversation_system_messages=True,
        mid_conversation_tools=False,
    )
    known = get_type_hints(ModelProfile)  # older versions of core know fewer keys
    return cast("ModelProfile", {key: profile[key] for key in profile if key in known})  # type: ignore[literal-required]


def is_own_profile(profile: ModelProfile) -> bool:
    """Check whether a profile is from here, and not a user's: another model takes another."""
    return profile == model_profile(profile.get("name", ""))
