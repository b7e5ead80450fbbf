"""One chat call, decided: the body to send, and what builds the answer from what comes."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage

from langchain_minitoolai import contract
from langchain_minitoolai._chat.chunks import AnswerBuilder
from langchain_minitoolai._chat.code_fence import JsonUnwrapper
from langchain_minitoolai._chat.messages import mention_tools, to_wire
from langchain_minitoolai._chat.native_messages import to_native
from langchain_minitoolai._chat.parameters import (
    Parameters,
    chosen,
    openai_tools,
    response_format,
    stop_sequences,
    warn_once,
)
from langchain_minitoolai._tool_calling.history import foreign_texts
from langchain_minitoolai._tool_calling.native import NativeToolCallParser, native_fields
from langchain_minitoolai._tool_calling.parser import ToolCallParser
from langchain_minitoolai._tool_calling.prompt import (
    OpenAITool,
    choose_tools,
    conversation_key,
    schema_instructions,
    tool_instructions,
)
from langchain_minitoolai._tool_calling.quotations import Quotations


class ChatRequest(NamedTuple):
    """What to send, and what to make of the answer."""

    body: dict[str, Any]
    builder: AnswerBuilder


def chat_request(
    parameters: Parameters, messages: Sequence[BaseMessage], secret: str
) -> ChatRequest:
    """Decide one call; `secret` is the API key, which the conversation's key is made with.

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
        bound = [tool["function"]["name"] for tool in tools]
        with_tools = bool(tools) or mention_tools(messages)
        key = conversation_key(secret, messages, bound) if with_tools or wanted else ""
        rules = _rules(parameters, tools, choice, wanted, key)
        body["messages"] = to_wire(messages, key, rules)
        if with_tools:
            reader = ToolCallParser(
                (tool["function"]["name"] for tool in choose_tools(tools, choice)),
                key,
                Quotations(_foreign_texts(messages, body["messages"], rules, tools, wanted)),
                strict=parameters.strict_tool_calls,
            )
    _check_pictures(parameters.model, body["messages"])
    if parameters.temperature is not None:
        body["temperature"] = parameters.temperature
    if parameters.max_tokens is not None:
        body["max_completion_tokens"] = parameters.max_tokens
    body |= parameters.model_kwargs
    unwrap = JsonUnwrapper() if wanted else None
    builder = AnswerBuilder(
        parameters.model,
        stop,
        reader,
        NativeToolCallParser(refuse=parameters.tool_calling != "native"),
        unwrap,
    )
    return ChatRequest(body, builder)


def _rules(
    parameters: Parameters,
    tools: Sequence[OpenAITool],
    choice: str,
    wanted: Mapping[str, Any] | None,
    key: str,
) -> str:
    rules = tool_instructions(tools, key, choice, parameters.parallel_tool_calls)
    if wanted is None:
        return rules
    schema = wanted.get("json_schema", {}).get("schema")
    return f"{rules}\n\n{schema_instructions(schema, key, with_tools=bool(rules))}".lstrip()


def _foreign_texts(
    messages: Sequence[BaseMessage],
    wire: Sequence[Mapping[str, Any]],
    rules: str,
    tools: Sequence[OpenAITool],
    wanted: Mapping[str, Any] | None,
) -> Iterator[str]:
    """List what the model was given to read that it did not write, but for our own rules."""
    for message in wire:
        content = message["content"]
        for part in [{"text": content}] if isinstance(content, str) else content:
            if message["role"] != "assistant":
                yield part.get("text", "").removesuffix(rules)
    for tool in tools:
        described = {key: each for key, each in tool["function"].items() if key != "name"}
        yield json.dumps(described, ensure_ascii=False, default=str)
    if wanted:
        yield json.dumps(wanted, ensure_ascii=False, default=str)
    yield from foreign_texts(messages)


def _check_pictures(model: str, wire: Iterable[Mapping[str, Any]]) -> None:
    if model in contract.VISION_MODELS or model not in contract.CHAT_MODELS:
        return
    if any(not isinstance(message["content"], str | None) for message in wire):
        known = ", ".join(contract.VISION_MODELS)
        warn_once(
            f"the service documents pictures for {known}, not for {model!r}; "
            "they are sent all the same"
        )
