"""`ChatMiniToolAI`, a chat model for chains, LCEL pipelines and agents."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import BaseModel
from typing_extensions import Unpack, override

from langchain_minitoolai import contract
from langchain_minitoolai._chat import content_blocks
from langchain_minitoolai._chat import structured as _structured
from langchain_minitoolai._chat.native_tools_probe import ToolProbe, probe, probe_request
from langchain_minitoolai._chat.parameters import chosen, openai_tools
from langchain_minitoolai._chat.request import ChatRequest, chat_request
from langchain_minitoolai._chat_fields import ChatFields
from langchain_minitoolai._http.effects import Clock, Request, Response, Workflow
from langchain_minitoolai._http.retry import RetryPolicy, send
from langchain_minitoolai._signatures import ChatOptions

content_blocks.register()


class ChatMiniToolAI(ChatFields):
    """A chat model served by MiniToolAI.

    The service documents text, pictures, `temperature` and `max_completion_tokens`; tools,
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

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ChatOptions]) -> None:
            """Take every field by its name or its alias."""

    def _request(
        self, messages: list[BaseMessage], stop: list[str] | None, changes: dict[str, Any]
    ) -> ChatRequest:
        changed = {**changes, "stop": stop} if stop is not None else changes
        return chat_request(self._parameters(changed), messages, self._secret)

    def _ask(
        self, request: ChatRequest, response_mode: Literal["answer", "stream"], clock: Clock
    ) -> Workflow[Response]:
        deadline = None if self.total_timeout is None else clock() + self.total_timeout
        call = Request(
            contract.CHAT_PATH,
            request.body,
            timeout=self.timeout,
            deadline=deadline,
            response_mode=response_mode,
        )
        return send(call, RetryPolicy(self.max_retries), clock)

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        client = self._client()
        reply = client.run(self._ask(request, "answer", client.clock))
        return request.builder.result(*reply.answer)

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
        reply = await client.run(self._ask(request, "answer", client.clock))
        return request.builder.result(*reply.answer)

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        client = self._client()
        answer = client.run(self._ask(request, "stream", client.clock)).answer
        with closing(iter(answer)) as batches:
            for pieces in batches:
                for chunk in request.builder.chunks(pieces):
                    if run_manager:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        for chunk in request.builder.last_chunks(answer.reader):
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
        answer = (await client.run(self._ask(request, "stream", client.clock))).answer
        async with aclosing(aiter(answer)) as batches:
            async for pieces in batches:
                for chunk in request.builder.chunks(pieces):
                    if run_manager:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
        for chunk in request.builder.last_chunks(answer.reader):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    # --- Tools and structured output ------------------------------------------------

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
            tools: Functions, pydantic classes, TypedDicts, tools, or schemas of OpenAI's or
                Anthropic's form.
            tool_choice: `"auto"`, `"any"` (also `"required"`, `True`), `"none"`, a tool's name,
                or OpenAI's object that names one.
            parallel_tool_calls: `False` asks for one call in an answer at most.
            strict: Goes into the tools' schemas.
            response_format: A schema for the final answer; see `with_structured_output`.
            **kwargs: Further parameters of the call.

        Raises:
            InvalidInputError: If a tool can't be described, or the choice names none of them.
        """
        converted = openai_tools(tools, strict=strict)
        bound = {
            "tool_choice": None if tool_choice is None else chosen(tool_choice, converted),
            "parallel_tool_calls": parallel_tool_calls,
            "response_format": response_format,
        }
        given = {name: value for name, value in bound.items() if value is not None}
        return self.bind(tools=converted, **given, **kwargs)

    def probe_native_tools(self) -> ToolProbe:
        """Ask the service once whether `tool_calling="native"` would work.

        It costs about 60 tokens read and at most 16 written: USD 0.00002 with `gpt-4o-mini`.

        Returns:
            What came of it, which mode to use, and what it cost.

        Raises:
            MiniToolAIError: If the service can't be asked.
        """
        request = probe_request(self._parameters({}), self._secret)
        client = self._client()
        return client.run(probe(self._ask(request, "answer", client.clock), request))

    async def aprobe_native_tools(self) -> ToolProbe:
        """Ask as `probe_native_tools` does."""
        request = probe_request(self._parameters({}), self._secret)
        client = self._async_client()
        return await client.run(probe(self._ask(request, "answer", client.clock), request))

    @override
    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: _structured.Method = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Give answers that fit a schema.

        Args:
            schema: A pydantic class (answers are its instances), a TypedDict, or a JSON schema
                (answers are dicts).
            method: `"function_calling"` asks for a call, `"json_schema"` for JSON that fits the
                schema, `"json_mode"` for any JSON object.
            include_raw: Whether to give `{"raw", "parsed", "parsing_error"}` instead, with what
                can't be parsed told in the last of them.
            strict: Goes into the schema.
            **kwargs: Further parameters of the call.

        Raises:
            InvalidInputError: If the method is unknown.
        """
        return _structured.structured(
            self, schema, method=method, include_raw=include_raw, strict=strict, **kwargs
        )
