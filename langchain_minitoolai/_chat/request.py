"""One chat call, decided: the body to send, and what builds the answer from what comes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from langchain_minitoolai import contract
from langchain_minitoolai._chat.chunks import AnswerBuilder
from langchain_minitoolai._chat.code_fence import JsonUnwrapper
from langchain_minitoolai._chat.messages import to_wire
from langchain_minitoolai._chat.native_messages import to_native
from langchain_minitoolai._chat.parameters import (
    Parameters,
    chosen,
    openai_tools,
    response_format,
    stop_sequences,
    warn_once,
)
from langchain_minitoolai._tool_calling.native import NativeReader, native_fields
from langchain_minitoolai._tool_calling.parser import ToolReader
from langchain_minitoolai._tool_calling.prompt import (
    OpenAITool,
    choose_tools,
    schema_instructions,
    tool_instructions,
)


class ChatRequest(NamedTuple):
    """What to send, and what to make of the answer."""

    body: dict[str, Any]
    builder: AnswerBuilder


def chat_request(parameters: Parameters, messages: Sequence[BaseMessage]) -> ChatRequest:
    """Decide one call.

    Raises:
        InvalidInputError: If a parameter or a message can't be sent.
    """
    tools = openai_tools(parameters.tools, strict=parameters.strict)
    choice = chosen(parameters.tool_choice, tools)
    wanted = response_format(parameters.response_format)
    stop = stop_sequences(parameters.stop)
    body: dict[str, Any] = {"model": parameters.model}
    reader = None
    if parameters.tool_calling == "native":
        body["messages"] = to_native(messages)
        body |= native_fields(tools, choice, parameters.parallel_tool_calls, wanted)
        if stop:
            body["stop"] = list(stop)
    else:
        callable_tools = choose_tools(tools, choice)
        rules = _rules(parameters, tools, choice, wanted)
        body["messages"] = to_wire(messages, rules)
        if callable_tools:
            reader = ToolReader(tool["function"]["name"] for tool in callable_tools)
    _check_pictures(parameters.model, body["messages"])
    if parameters.temperature is not None:
        body["temperature"] = parameters.temperature
    if parameters.max_tokens is not None:
        body["max_completion_tokens"] = parameters.max_tokens
    body |= parameters.model_kwargs
    unwrap = JsonUnwrapper() if wanted else None
    builder = AnswerBuilder(parameters.model, stop, reader, NativeReader(), unwrap)
    return ChatRequest(body, builder)


def _rules(
    parameters: Parameters,
    tools: Sequence[OpenAITool],
    choice: str,
    wanted: Mapping[str, Any] | None,
) -> str:
    rules = tool_instructions(tools, choice, parameters.parallel_tool_calls)
    if wanted is None:
        return rules
    schema = wanted.get("json_schema", {}).get("schema")
    return f"{rules}\n\n{schema_instructions(schema, with_tools=bool(rules))}".lstrip()


def _check_pictures(model: str, wire: Iterable[Mapping[str, Any]]) -> None:
    if model in contract.VISION_MODELS or model not in contract.CHAT_MODELS:
        return
    if any(not isinstance(message["content"], str | None) for message in wire):
        known = ", ".join(contract.VISION_MODELS)
        warn_once(
            f"the service documents pictures for {known}, not for {model!r}; "
            "they are sent all the same"
        )
