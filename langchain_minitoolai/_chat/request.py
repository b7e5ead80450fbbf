"""Chat request: the body to send, and the builder of the response; native tool detection."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult

from langchain_minitoolai import contract
from langchain_minitoolai._chat.chunks import CodeFenceStripper, ResponseBuilder
from langchain_minitoolai._chat.messages import (
    mention_tools,
    to_api_messages,
    to_native_messages,
)
from langchain_minitoolai._chat.parameters import (
    CallOptions,
    ToolCalling,
    normalize_response_format,
    normalize_stop,
    normalize_tool_choice,
    to_openai_tools,
    warn_once,
)
from langchain_minitoolai._http.effects import Workflow
from langchain_minitoolai._tool_calling.history import foreign_texts
from langchain_minitoolai._tool_calling.native import native_fields
from langchain_minitoolai._tool_calling.parser import ToolCallParser
from langchain_minitoolai._tool_calling.prompt import (
    OpenAITool,
    choose_tools,
    conversation_key,
    schema_instructions,
    tool_instructions,
)
from langchain_minitoolai._tool_calling.quotations import Quotations
from langchain_minitoolai.errors import BadRequestError


class ChatRequest(NamedTuple):
    """A request body, and what builds messages from the response."""

    body: dict[str, Any]
    response_builder: ResponseBuilder


def chat_request(
    options: CallOptions, messages: Sequence[BaseMessage], api_key: str
) -> ChatRequest:
    """Build the request of one call.

    Args:
        options: Of the model and of the call.
        messages: The conversation.
        api_key: What the conversation's key is derived from.

    Raises:
        InvalidInputError: If an option or a message can't be sent.
    """
    tools = to_openai_tools(options.tools, strict=options.strict)
    choice = normalize_tool_choice(options.tool_choice, tools)
    response_format = normalize_response_format(options.response_format)
    stop = normalize_stop(options.stop)
    native = options.tool_calling == "native"
    body: dict[str, Any] = {"model": options.model}
    parser = None
    if native:
        body["messages"] = to_native_messages(messages)
        body |= native_fields(tools, choice, options.parallel_tool_calls, response_format)
        if stop:
            body["stop"] = list(stop)
    elif tools or response_format or mention_tools(messages):
        body["messages"], parser = _prompt(
            messages, tools, choice, response_format, options, api_key
        )
    else:
        body["messages"] = to_api_messages(messages)
    _warn_if_not_vision(options.model, body["messages"])
    if options.temperature is not None:
        body["temperature"] = options.temperature
    if options.max_tokens is not None:
        body["max_completion_tokens"] = options.max_tokens
    if options.reasoning_effort is not None:
        body["reasoning_effort"] = options.reasoning_effort
    body |= options.model_kwargs
    fence = CodeFenceStripper() if response_format else None
    builder = ResponseBuilder(options.model, stop, parser, fence, native=native)
    return ChatRequest(body, builder)


def _prompt(
    messages: Sequence[BaseMessage],
    tools: Sequence[OpenAITool],
    choice: str,
    response_format: Mapping[str, Any] | None,
    options: CallOptions,
    api_key: str,
) -> tuple[list[dict[str, Any]], ToolCallParser | None]:
    """Write tools and schema into the messages; make the parser of the calls in the answer."""
    key = conversation_key(api_key, messages, [tool["function"]["name"] for tool in tools])
    instructions = tool_instructions(tools, key, choice, options.parallel_tool_calls)
    if response_format:
        schema = response_format.get("json_schema", {}).get("schema")
        form = schema_instructions(schema, key, with_tools=bool(instructions))
        instructions = f"{instructions}\n\n{form}".lstrip()
    api_messages = to_api_messages(messages, key, instructions)
    if not tools and not mention_tools(messages):
        return api_messages, None
    foreign = _foreign_texts(messages, api_messages, instructions, tools, response_format)
    names = [tool["function"]["name"] for tool in choose_tools(tools, choice)]
    strict = options.strict_tool_calls
    return api_messages, ToolCallParser(names, key, Quotations(foreign), strict=strict)


def _foreign_texts(
    messages: Sequence[BaseMessage],
    api_messages: Sequence[Mapping[str, Any]],
    instructions: str,
    tools: Sequence[OpenAITool],
    response_format: Mapping[str, Any] | None,
) -> Iterator[str]:
    """List what the model reads and did not write itself, but for our own instructions."""
    for message in api_messages:
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            if message["role"] != "assistant":
                yield part.get("text", "").removesuffix(instructions)
    for tool in tools:
        described = {name: value for name, value in tool["function"].items() if name != "name"}
        yield json.dumps(described, ensure_ascii=False, default=str)
    if response_format:
        yield json.dumps(response_format, ensure_ascii=False, default=str)
    yield from foreign_texts(messages)


def _warn_if_not_vision(model: str, messages: Iterable[Mapping[str, Any]]) -> None:
    if model in contract.VISION_MODELS or model not in contract.CHAT_MODELS:
        return
    if any(not isinstance(message["content"], str | None) for message in messages):
        known = ", ".join(contract.VISION_MODELS)
        warn_once(
            f"the service documents images for {known}, not for {model!r}; "
            "they are sent all the same"
        )


# --- Does the service forward OpenAI's tool fields? ---------------------------------

_PING: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "ping",
        "description": "Answers pong.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_PROBE_MAX_TOKENS: Final = 16


@dataclass(frozen=True)
class ToolProbe:
    """The outcome of a request with OpenAI's tool fields.

    Attributes:
        outcome: `"calls"` if a call came back, `"ignored"` if text did, `"refused"` if the
            service did not accept the request.
        tool_calling: The mode to use.
        cost: The cost of the request in USD; `None` where the service reported no usage.
        detail: The service's text.
    """

    outcome: Literal["calls", "ignored", "refused"]
    tool_calling: ToolCalling
    cost: float | None
    detail: str


def probe_request(options: CallOptions, api_key: str) -> ChatRequest:
    """Build a request of about 60 input tokens and at most 16 output tokens."""
    changes = {
        "tool_calling": "native",
        "tools": [_PING],
        "tool_choice": "ping",
        "max_tokens": _PROBE_MAX_TOKENS,
        "stop": None,
    }
    return chat_request(options.replace(changes), [HumanMessage("Call the tool ping.")], api_key)


def detect_native_tools(sending: Workflow[ChatResult]) -> Workflow[ToolProbe]:
    """Send a probe and classify the response.

    Args:
        sending: The workflow that sends the request of `probe_request`.

    Raises:
        MiniToolAIError: If the response says nothing about the fields.
    """
    try:
        result = yield from sending
    except BadRequestError as error:
        return ToolProbe("refused", "prompted", 0.0, str(error))
    message = result.generations[0].message
    cost = message.response_metadata.get("cost")
    if isinstance(message, AIMessage) and message.tool_calls:
        return ToolProbe("calls", "native", cost, "a call came back")
    return ToolProbe("ignored", "prompted", cost, message.text)
