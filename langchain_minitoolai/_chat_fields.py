"""What a chat model is before it speaks: its fields, and what LangChain asks about it."""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, field_validator, model_validator
from typing_extensions import override

from langchain_minitoolai import contract
from langchain_minitoolai._chat.chunk_forms import PROVIDER
from langchain_minitoolai._chat.parameters import (
    Parameters,
    ToolCalling,
    check_max_tokens,
    check_model,
    check_temperature,
    stop_sequences,
)
from langchain_minitoolai._chat.profiles import profile_of
from langchain_minitoolai._chat.request import chat_request
from langchain_minitoolai._chat.tokens import count_request, count_text
from langchain_minitoolai._config import Connection
from langchain_minitoolai._http.network import Route
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import InvalidInputError


class ChatFields(Connection, BaseChatModel):
    """The fields of `ChatMiniToolAI`, and what needs no call."""

    model_config = ConfigDict(
        populate_by_name=True,
        extra="forbid",
        protected_namespaces=(),
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    model: contract.ChatModelName | str = Field(
        default=contract.DEFAULT_CHAT_MODEL, alias="model_name"
    )
    """The model; a name the service does not document is sent with one warning."""

    temperature: float | None = None
    """From 0 (focused) to 2 (creative); unset leaves the service's 1."""

    max_tokens: int | None = Field(default=None, alias="max_completion_tokens")
    """The most tokens of an answer; unset leaves the service's 1000."""

    stop: list[str] | str | None = Field(default=None, alias="stop_sequences")
    """Where an answer is cut, on this side."""

    total_timeout: float | None = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Seconds for a whole call, retries and waits included; `None` for no limit."""

    async_transport: Literal["httpx", "aiohttp"] = "httpx"
    """What carries async calls; `"aiohttp"` (an extra) is made for hundreds at once."""

    streaming: bool = False
    """Whether `invoke` also goes through the streaming path, so that callbacks see tokens."""

    tool_calling: ToolCalling = "prompted"
    """How tools reach the model: in the prompt, or in OpenAI's fields (`"native"`)."""

    strict_tool_calls: bool = False
    """Whether calls without the conversation's key, which forgetful models write, are text."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Fields to send as they are; the only way to send what the service does not document."""

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        check_model(self.model)
        check_temperature(self.temperature)
        check_max_tokens(self.max_tokens)
        stop_sequences(self.stop)
        return self

    @field_validator("async_transport")
    @classmethod
    def _check_transport(cls, transport: str) -> str:
        if transport == "aiohttp" and find_spec("httpx_aiohttp") is None:
            raise ValueError(
                "async_transport is 'aiohttp', which is not installed: "
                'pip install "langchain-minitoolai[aiohttp]"'
            )
        return transport

    @override
    def _route(self) -> Route:
        return super()._route()._replace(aiohttp=self.async_transport == "aiohttp")

    @model_validator(mode="after")
    def _set_minitoolai_version(self) -> Self:
        self._add_version("langchain-minitoolai", __version__)
        return self

    @model_validator(mode="after")
    def _check_profile_keys(self) -> Self:
        # Core's check takes half of the time that making a model takes; our own data passes it.
        if self.profile is None or self.profile == profile_of(self.model):
            return self
        checked: Self = super()._check_profile_keys()  # type: ignore[operator]
        return checked

    @property
    def _llm_type(self) -> str:
        return "minitoolai-chat"

    @classmethod
    @override
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    @override
    def _identifying_params(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "stop": self.stop,
            "tool_calling": self.tool_calling,
            "strict_tool_calls": self.strict_tool_calls,
            "base_url": self.minitoolai_api_base,
            "model_kwargs": self.model_kwargs,
        }

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        call = self._parameters({**kwargs, **({"stop": stop} if stop else {})})
        params = LangSmithParams(
            ls_provider=PROVIDER, ls_model_type="chat", ls_model_name=call.model
        )
        if call.temperature is not None:
            params["ls_temperature"] = call.temperature
        if call.max_tokens is not None:
            params["ls_max_tokens"] = call.max_tokens
        if call.stop:
            params["ls_stop"] = list(stop_sequences(call.stop))
        return params

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        profile = profile_of(self.model)
        return profile and profile.copy()

    @override
    def get_token_ids(self, text: str) -> list[int]:
        """Give a text's tokens, by `custom_get_token_ids`.

        Raises:
            InvalidInputError: If there is no `custom_get_token_ids`: the package has no tokenizer.
        """
        if self.custom_get_token_ids is None:
            raise InvalidInputError(
                "get_token_ids needs a tokenizer: pass custom_get_token_ids=…; "
                "get_num_tokens estimates without one"
            )
        return self.custom_get_token_ids(text)

    @override
    def get_num_tokens(self, text: str) -> int:
        """Estimate a text's tokens, or count them where `custom_get_token_ids` is given."""
        return count_text(text, self.custom_get_token_ids)

    @override
    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Estimate what a conversation counts, offline.

        Args:
            messages: The conversation; pictures count by OpenAI's published rules.
            tools: The tools that go along.
        """
        body = chat_request(self._parameters({"tools": tools or ()}), messages, self._secret).body
        return count_request(body, self.custom_get_token_ids)

    @property
    def _secret(self) -> str:
        return self.minitoolai_api_key.get_secret_value()

    def _parameters(self, changes: Mapping[str, Any]) -> Parameters:
        own = Parameters(
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=self.stop,
            tool_calling=self.tool_calling,
            strict_tool_calls=self.strict_tool_calls,
            model_kwargs=self.model_kwargs,
        )
        return own.replace(changes) if changes else own
