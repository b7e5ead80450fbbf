"""`ChatMiniToolAI`, a chat model for chains, LCEL pipelines and agents."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Literal, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import AliasChoices, BaseModel, Field, field_validator, model_validator
from typing_extensions import override

from langchain_minitoolai import contract
from langchain_minitoolai._chat.chunks import PROVIDER, register_content_blocks
from langchain_minitoolai._chat.parameters import (
    MODEL_OPTIONS,
    CallOptions,
    ToolCalling,
    normalize_tool_choice,
    to_openai_tools,
    unalias,
)
from langchain_minitoolai._chat.request import (
    ChatRequest,
    ToolProbe,
    chat_request,
    detect_native_tools,
    probe_request,
)
from langchain_minitoolai._chat.stream import ChatStreamParser
from langchain_minitoolai._chat.structured import Method, structured_output
from langchain_minitoolai._chat.tokens import count_request_tokens, count_text_tokens
from langchain_minitoolai._chat.usage import is_own_profile, model_profile, zero_cost_of_cache_hits
from langchain_minitoolai._config import ClientConfig
from langchain_minitoolai._http.effects import Clock, StreamRequest, StreamResponse, Workflow
from langchain_minitoolai._http.error_mapping import response_metadata
from langchain_minitoolai._http.pool import TransportConfig, has_aiohttp
from langchain_minitoolai._http.retry import RetryPolicy, send_with_retries
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import InvalidInputError

register_content_blocks()


class ChatMiniToolAI(ClientConfig, BaseChatModel):
    """A chat model served by MiniToolAI.

    The service documents text, images, `temperature` and `max_completion_tokens`; tools,
    structured output and stop sequences are added on this side, so that they work over it.

    Example:
        ```python
        from langchain_minitoolai import ChatMiniToolAI

        model = ChatMiniToolAI(model="gpt-4o-mini")  # the key is in MINITOOLAI_API_KEY
        for chunk in model.stream("What is the largest state of the USA?"):
            print(chunk.text, end="")
        ```

    Args:
        model: Its name, by default `gpt-4o-mini`.
        temperature: From 0 (focused) to 2 (creative); unset leaves the service's 1.
        max_tokens: The most tokens of an answer; unset leaves the service's 1000.
        stop: Texts that end the answer, cut on this side.
        reasoning_effort: How much a reasoning model is to think; sent as it is.
        timeout: Seconds without progress before a request is given up.
        total_timeout: Seconds for a whole call, retries and waits included; `None` for no limit.
        max_retries: Attempts after the first.
        api_key: The key; from `MINITOOLAI_API_KEY` if not given.
        base_url: The service's address; from `MINITOOLAI_API_BASE` if not given.
        tool_calling: How tools reach the model: `"prompted"`, or in OpenAI's fields (`"native"`).
        model_kwargs: Fields to send as they are, which the service does not document.

    Raises:
        MissingAPIKeyError: If there is no key.
        pydantic.ValidationError: If a parameter is unknown or out of its range.
    """

    # `AliasChoices`, where the field's own name is the one that type checkers are to show.
    model: contract.ChatModelName | str = Field(
        default=contract.DEFAULT_CHAT_MODEL, validation_alias=AliasChoices("model", "model_name")
    )
    """The model; a name the service does not document is sent with one warning."""

    temperature: float | None = None
    """From 0 (focused) to 2 (creative); unset leaves the service's 1."""

    max_tokens: int | None = Field(
        default=None, validation_alias=AliasChoices("max_tokens", "max_completion_tokens")
    )
    """The most tokens of an answer; unset leaves the service's 1000."""

    stop: list[str] | str | None = Field(
        default=None, validation_alias=AliasChoices("stop", "stop_sequences")
    )
    """Texts that end an answer, cut on this side."""

    reasoning_effort: str | None = None
    """How much a reasoning model is to think, such as `"low"`; sent if given, unchecked."""

    total_timeout: float | None = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Seconds for a whole call, retries and waits included; `None` for no limit."""

    async_transport: Literal["httpx", "aiohttp"] = "httpx"
    """The transport of async calls; `"aiohttp"` (an extra) is made for hundreds at once."""

    streaming: bool = False
    """Whether `invoke` also goes through the streaming path, so that callbacks see tokens."""

    tool_calling: ToolCalling = "prompted"
    """The form in which tools are sent: `"prompted"`, or OpenAI's fields (`"native"`)."""

    strict_tool_calls: bool = False
    """Whether calls without the conversation's key, which forgetful models write, are text."""

    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Fields to send as they are; the only way to send what the service does not document."""

    @field_validator("async_transport")
    @classmethod
    def _check_transport(cls, transport: str) -> str:
        if transport == "aiohttp" and not has_aiohttp():
            raise ValueError(
                "async_transport is 'aiohttp', which is not installed: "
                'pip install "langchain-minitoolai[aiohttp]"'
            )
        return transport

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        self._call_options({})
        if self.async_transport == "aiohttp" and self.http_async_client is not None:
            raise ValueError(
                "async_transport and http_async_client are given together; "
                "the client brings its own transport"
            )
        return self

    @model_validator(mode="after")
    def _set_minitoolai_version(self) -> Self:
        self._add_version("langchain-minitoolai", __version__)
        return self

    @model_validator(mode="after")
    def _set_model_profile(self) -> Self:
        # Core's assigns the field, which validates again: without end where there is no profile.
        own = self._resolve_model_profile()
        if self.profile is None or (own and is_own_profile(self.profile)):
            self.__dict__["profile"] = own
        return self

    @model_validator(mode="after")
    def _check_profile_keys(self) -> Self:
        # Core's check takes half of the time that making a model takes; our own data passes it.
        if self.profile is None or self.profile == model_profile(self.model):
            return self
        checked: Self = super()._check_profile_keys()  # type: ignore[operator]
        return checked

    # --- Requests and responses -------------------------------------------------------

    @override
    def generate(self, *args: Any, **kwargs: Any) -> LLMResult:
        return zero_cost_of_cache_hits(super().generate(*args, **kwargs))

    @override
    async def agenerate(self, *args: Any, **kwargs: Any) -> LLMResult:
        return zero_cost_of_cache_hits(await super().agenerate(*args, **kwargs))

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        client = self._sync_client()
        return client.execute(self._complete(request, client.clock))

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        client = self._async_client()
        return await client.execute(self._complete(request, client.clock))

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        client = self._sync_client()
        response = client.execute(self._send(request, client.clock, collect=False))
        with closing(response.stream) as batches:
            for deltas in batches:
                for chunk in request.response_builder.chunks(deltas):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        for chunk in request.response_builder.final_chunks(response.reader):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        client = self._async_client()
        response = await client.execute(self._send(request, client.clock, collect=False))
        async with aclosing(response.stream) as batches:
            async for deltas in batches:
                for chunk in request.response_builder.chunks(deltas):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        for chunk in request.response_builder.final_chunks(response.reader):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> ChatRequest:
        changes = kwargs if stop is None else {**kwargs, "stop": stop}
        return chat_request(self._call_options(changes), messages, self._api_key)

    def _call_options(self, changes: Mapping[str, Any]) -> CallOptions:
        options = CallOptions(**self._own_options)
        return options.replace(changes) if changes else options

    @property
    def _own_options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in MODEL_OPTIONS}

    def _send(
        self, request: ChatRequest, clock: Clock, *, collect: bool
    ) -> Workflow[StreamResponse[ChatStreamParser]]:
        """Send a request; `collect` reads the answer to its end, so that it can be retried."""
        sent: StreamRequest[ChatStreamParser] = StreamRequest(
            contract.CHAT_PATH,
            request.body,
            timeout=self.timeout,
            deadline=None if self.total_timeout is None else clock() + self.total_timeout,
            reader=ChatStreamParser,
            collect=collect,
        )
        response = yield from send_with_retries(sent, RetryPolicy(self.max_retries), clock)
        request.response_builder.http_metadata = response_metadata(response)
        return response

    def _complete(self, request: ChatRequest, clock: Clock) -> Workflow[ChatResult]:
        response = yield from self._send(request, clock, collect=True)
        return request.response_builder.result(response.items, response.reader)

    @override
    def _transport_config(self) -> TransportConfig:
        return super()._transport_config()._replace(aiohttp=self.async_transport == "aiohttp")

    # --- Tools and structured output --------------------------------------------------

    @override
    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        strict: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools, so that answers may call them.

        Args:
            tools: Functions, pydantic classes, TypedDicts, tools, OpenAI's or Anthropic's schemas.
            tool_choice: `"auto"`, `"any"` (also `"required"`, `True`), `"none"`, a tool's name,
                or OpenAI's object that names one.
            parallel_tool_calls: `False` asks for one call in an answer at most.
            strict: Goes into the tools' schemas.
            response_format: A schema for the final answer; see `with_structured_output`.
            **kwargs: Further options of the call.

        Raises:
            InvalidInputError: If a tool can't be described, or the choice names none of them.
        """
        converted = to_openai_tools(tools, strict=strict)
        if tool_choice is not None:
            kwargs["tool_choice"] = normalize_tool_choice(tool_choice, converted)
        options = {"parallel_tool_calls": parallel_tool_calls, "response_format": response_format}
        given = {name: value for name, value in options.items() if value is not None}
        return self.bind(tools=converted, **given, **kwargs)

    def probe_native_tools(self) -> ToolProbe:
        """Ask the service once whether `tool_calling="native"` would work.

        It costs about 60 input tokens and at most 16 output tokens: USD 0.00002 with
        `gpt-4o-mini`.

        Returns:
            The outcome, the mode to use, and the cost.

        Raises:
            MiniToolAIError: If the service can't be asked.
        """
        request = probe_request(self._call_options({}), self._api_key)
        client = self._sync_client()
        return client.execute(detect_native_tools(self._complete(request, client.clock)))

    async def aprobe_native_tools(self) -> ToolProbe:
        """Ask as `probe_native_tools` does."""
        request = probe_request(self._call_options({}), self._api_key)
        client = self._async_client()
        return await client.execute(detect_native_tools(self._complete(request, client.clock)))

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: Method = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Parse answers into a schema.

        Args:
            schema: A pydantic class (answers are its instances), a TypedDict, or a JSON schema
                (answers are dicts).
            method: `"function_calling"` asks for a call, `"json_schema"` for JSON that fits the
                schema, `"json_mode"` for any JSON object.
            include_raw: Whether to return `{"raw", "parsed", "parsing_error"}` instead, the last
                of them the error where the answer can't be parsed.
            strict: Goes into the schema.
            **kwargs: Further options of the call.

        Raises:
            InvalidInputError: If the method is unknown.
        """
        return structured_output(
            self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs
        )

    # --- Tokens -----------------------------------------------------------------------

    @override
    def get_token_ids(self, text: str) -> list[int]:
        """Tokenize a text with `custom_get_token_ids`.

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
        """Estimate the tokens of a text, or count them with `custom_get_token_ids`."""
        if not isinstance(text, str):
            raise InvalidInputError(f"text is a {type(text).__name__}; allowed: a str")
        return count_text_tokens(text, self.custom_get_token_ids)

    @override
    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[Mapping[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Estimate the input tokens of a conversation, offline.

        Args:
            messages: The conversation; images count by OpenAI's published rules.
            tools: The tools that are bound.
        """
        for number, message in enumerate[Any](messages):
            if not isinstance(message, BaseMessage):
                kind = type(message).__name__
                raise InvalidInputError(f"messages[{number}] is a {kind}; allowed: a BaseMessage")
        options = self._call_options({"tools": tools or ()})
        body = chat_request(options, messages, self._api_key).body
        return count_request_tokens(body, self.custom_get_token_ids)

    # --- Identity, tracing, serialization ---------------------------------------------

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
        return {**self._own_options, "base_url": self.minitoolai_api_base}

    @override
    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        # Raw values: a call that is refused for one of them has a run in the traces, too.
        given = self._own_options | unalias(kwargs)
        params = LangSmithParams(ls_provider=PROVIDER, ls_model_type="chat")
        if isinstance(model := given["model"], str):
            params["ls_model_name"] = model
        if isinstance(temperature := given["temperature"], int | float):
            params["ls_temperature"] = temperature
        if isinstance(max_tokens := given["max_tokens"], int):
            params["ls_max_tokens"] = max_tokens
        if sequences := stop or given["stop"]:
            params["ls_stop"] = [sequences] if isinstance(sequences, str) else sequences
        return params

    @override
    def _resolve_model_profile(self) -> ModelProfile | None:
        profile = model_profile(self.model)
        return profile and profile.copy()
