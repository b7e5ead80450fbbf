"""Structured output: with_structured_output by tool call, JSON schema or JSON mode."""

import json
import reprlib
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial as partially
from itertools import tee
from operator import itemgetter
from typing import Any, Final, Literal, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import (
    BaseCumulativeTransformOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.base import OutputParserLike
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.aiter import atee
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_minitoolai._chat.parameters import SCHEMA_ERRORS, convert_tool
from langchain_minitoolai._redaction import tidy
from langchain_minitoolai.errors import IncompleteOutputError, InvalidInputError

Method = Literal["function_calling", "json_schema", "json_mode"]


def structured_output(
    model: BaseChatModel,
    schema: dict[str, Any] | type,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[LanguageModelInput, Any]:
    """Compose a model that is asked for output of a schema with the parser of that output.

    Raises:
        InvalidInputError: If the method or the schema is unknown.
    """
    if method not in get_args(Method):
        allowed = ", ".join(get_args(Method))
        raise InvalidInputError(f"method is {method!r}; allowed: {allowed}")
    tool = _to_tool(schema, method, strict=strict)
    traced = {
        "ls_structured_output_format": {
            "kwargs": {"method": method, "strict": strict},
            "schema": tool,
        }
    }
    if method == "function_calling":
        name = tool["function"]["name"]
        bound = model.bind_tools(
            [schema],
            tool_choice=name,
            parallel_tool_calls=False,
            strict=strict,
            **traced,
            **kwargs,
        )
        parser = _call_parser(schema, name)
    else:
        response_format = _response_format(tool, method, strict=strict)
        bound = model.bind(response_format=response_format, **traced, **kwargs)
        parser = _json_parser(schema)
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    # As one step: a fallback takes over only where nothing was streamed before.
    parse = RunnableLambda(parsed.invoke, parsed.ainvoke, name="parse")
    return RunnableMap(raw=bound) | parse.with_fallbacks([failed], exception_key="parsing_error")


def _to_tool(schema: Any, method: str, *, strict: bool | None) -> dict[str, Any]:
    try:
        tool = convert_tool(schema, strict=strict)
        _ = tool["function"]["name"]
    except SCHEMA_ERRORS as error:
        raise InvalidInputError(
            f"schema is {reprlib.repr(schema)}; allowed: a pydantic class, a TypedDict or a JSON "
            f"schema with a title ({error})"
        ) from None
    kind = tool["function"].get("parameters", {}).get("type", "object")
    if method == "function_calling" and kind != "object":
        raise InvalidInputError(
            f"schema is of type {kind!r}; allowed: objects, or method='json_schema' for any value"
        )
    return tool


def _response_format(
    tool: Mapping[str, Any], method: Method, *, strict: bool | None
) -> dict[str, Any]:
    if method == "json_mode":
        return {"type": "json_object"}
    schema = {"name": tool["function"]["name"], "schema": convert_to_json_schema(dict(tool))}
    return {
        "type": "json_schema",
        "json_schema": schema if strict is None else {**schema, "strict": strict},
    }


def _json_parser(schema: Any) -> OutputParserLike[Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _JSONParser(core=PydanticOutputParser(pydantic_object=schema))
    return _JSONParser(core=JsonOutputParser())


def _call_parser(schema: Any, name: str) -> OutputParserLike[Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _CallParser(core=PydanticToolsParser(tools=[schema], first_tool_only=True))
    return _CallParser(core=JsonOutputKeyToolsParser(key_name=name, first_tool_only=True))


class _StrictParser(BaseCumulativeTransformOutputParser[Any]):
    """Parses as core does while a stream grows, and strictly at its end.

    Core's parsers complete JSON that was cut, and skip what does not fit.
    """

    core: BaseCumulativeTransformOutputParser[Any]

    @property
    def OutputType(self) -> Any:  # noqa: N802 - core's
        return self.core.OutputType

    def parse(self, text: str) -> Any:
        return self.parse_result([Generation(text=text)])

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:  # noqa: A002 - core's
        stream, seen = tee(input)
        last = None
        for last in super()._transform(stream):
            yield last
        whole = self.parse_result([_merge(list(seen))])
        if whole != last:
            yield whole

    async def _atransform(
        self,
        input: AsyncIterator[str | BaseMessage],  # noqa: A002 - core's
    ) -> AsyncIterator[Any]:
        async with atee(input) as (stream, seen):
            last = None
            async for last in super()._atransform(stream):
                yield last
            whole = await self.aparse_result([_merge([each async for each in seen])])
        if whole != last:
            yield whole


def _merge(seen: list[Any]) -> Generation:
    first, *rest = seen
    return ChatGeneration(message=first + rest if rest else first)


class _JSONParser(_StrictParser):
    """Parses JSON in the text."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if not partial and not _is_refusal(result[0]):
            _require_whole_json(result[0])
        return self.core.parse_result(result, partial=partial)


def _is_refusal(generation: Generation) -> bool:
    message: Any = getattr(generation, "message", None)
    return bool(message and message.additional_kwargs.get("refusal"))  # core has an error for it


def _require_whole_json(generation: Generation) -> None:
    try:
        parse_json_markdown(generation.text, parser=partially(json.loads, strict=False))
    except (ValueError, RecursionError) as error:
        raise _output_error(generation, f"Invalid JSON: {generation.text}") from error


class _CallParser(_StrictParser):
    """Parses the arguments of the call; the error for those that do not fit names them."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        try:
            parsed = self.core.parse_result(result, partial=partial)
        except OutputParserException:
            raise
        except ValueError as error:  # pydantic's own, old and new, are such
            message: Any = getattr(result[0], "message", None)
            arguments = str([call["args"] for call in getattr(message, "tool_calls", ())])
            raise OutputParserException(
                f"The model called with arguments that do not fit: {arguments}. {error}",
                llm_output=arguments,
            ) from error
        return parsed if parsed is not None or partial else _raise_missing_call(result)


def _raise_missing_call(result: list[Generation]) -> Any:
    message = getattr(result[0], "message", None)
    invalid = [
        f"{call['args']!r} ({call['error'] or 'broken'})"
        for call in getattr(message, "invalid_tool_calls", ())
    ]
    text = result[0].text
    attempts = f"; what it tried: {'; '.join(invalid)}" if invalid else ""
    raise _output_error(
        result[0],
        f"The model answered without the call that was asked for{attempts}. Its text: {text!r}",
    )


_CUT_REASONS: Final = {
    "length": "it reached its limit of tokens, which max_tokens raises",
    "content_filter": "the content filter ended it",
}


def _output_error(generation: Generation, message: str) -> OutputParserException:
    """Make the error for output that can't be parsed, by the reason for its end."""
    answer: Any = getattr(generation, "message", None)
    reason = getattr(answer, "response_metadata", {}).get("finish_reason")
    if reason not in _CUT_REASONS:
        return OutputParserException(message, llm_output=generation.text)
    usage = getattr(answer, "usage_metadata", None)
    tokens = f" after {usage['output_tokens']} tokens" if usage else ""
    return IncompleteOutputError(
        f"the answer was cut{tokens} (finish_reason {reason!r}): {_CUT_REASONS[reason]}. "
        f"{tidy(message)}",
        finish_reason=reason,
        llm_output=generation.text,
    )
