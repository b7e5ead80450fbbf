"""What type checkers see of the constructors: every field, by its name and by its alias.

Pydantic tells them one of the two names only. Nothing here is used at run time.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from langchain_core.caches import BaseCache
from langchain_core.callbacks import Callbacks
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.stores import ByteStore
from pydantic import SecretStr

from langchain_minitoolai import contract


class ConnectionOptions(TypedDict, total=False):
    """The fields of `Connection`."""

    api_key: str | SecretStr
    minitoolai_api_key: str | SecretStr
    base_url: str
    minitoolai_api_base: str
    timeout: float
    max_retries: int
    default_headers: dict[str, str] | dict[str, SecretStr] | None
    proxy: str | SecretStr | None
    verify: bool | str
    callbacks: Callbacks
    tags: list[str] | None
    metadata: dict[str, Any] | None
    verbose: bool
    rate_limiter: BaseRateLimiter | None


class ChatOptions(ConnectionOptions, total=False):
    """The fields of `ChatMiniToolAI`."""

    model: contract.ChatModelName | str
    model_name: contract.ChatModelName | str
    temperature: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: list[str] | str | None
    stop_sequences: list[str] | str | None
    total_timeout: float | None
    async_transport: Literal["httpx", "aiohttp"]
    streaming: bool
    tool_calling: Literal["prompted", "native"]
    strict_tool_calls: bool
    model_kwargs: dict[str, Any]
    name: str | None
    cache: BaseCache | bool | None
    custom_get_token_ids: Callable[[str], list[int]] | None
    disable_streaming: bool | Literal["tool_calling"]
    output_version: str | None
    profile: ModelProfile | None


class ImageToolOptions(ConnectionOptions, total=False):
    """The fields of `MiniToolAIImageTool`."""

    name: str
    description: str
    return_direct: bool
    handle_tool_error: bool | str | Callable[..., str] | None
    handle_validation_error: bool | str | Callable[..., str] | None
    extras: dict[str, Any] | None
    model: contract.ImageModelName | str
    negative_prompt: str
    width: int
    height: int
    steps: int
    cfg_scale: float
    scheduler: contract.SchedulerName | str
    allowed_models: Sequence[str]
    save_to: str | PathLike[str] | None
    show_to_model: Literal["never", "url", "data"]
    deadline: float
    job_store: ByteStore
    max_images: int | None
    max_cost_usd: float | None
    on_progress: Callable[..., Any] | None
    poll_interval: float | Callable[[float], float] | None
