"""Answers that fit a schema: three ways to ask, one way to fail."""

from collections.abc import AsyncIterator, Iterator
from operator import itemgetter
from typing import Any, Generic, Literal, get_args

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
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import TBaseModel, is_basemodel_subclass

from langchain_minitoolai._chat.parameters import UNDESCRIBED
from langchain_minitoolai.errors import InvalidInputError

Method = Literal["function_calling", "json_schema", "json_mode"]


def structured(
    model: BaseChatModel,
    schema: dict[str, Any] | type,
    *,
    method: Method,
    include_raw: bool,
    strict: bool | None,
    **kwargs: Any,
) -> Runnable[LanguageModelInput, Any]:
    """Put a parser behind a model that is asked for an answer of this schema.

    Raises:
        InvalidInputError: If the method or the schema is of no known kind.
    """
    if method not in get_args(Method):
        allowed = ", ".join(get_args(Method))
        raise InvalidInputError(f"method is {method!r}; allowed: {allowed}")
    traced = {
        "ls_structured_output_format": {
            "kwargs": {"method": method, "strict": strict},
            "schema": _tool(schema, strict=strict),
        }
    }
    if method == "function_calling":
        name = _tool(schema, strict=strict)["function"]["name"]
        asking = model.bind_tools(
            [schema],
            tool_choice=name,
            parallel_tool_calls=False,
            strict=strict,
            **traced,
            **kwargs,
        )
        parser = _call_parser(schema, name)
    else:
        wanted = _format(schema, method, strict=strict)
        asking = model.bind(response_format=wanted, **traced, **kwargs)
        parser = _json_parser(schema)
    if not include_raw:
        return asking | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    # As one step: a fallback takes over only where nothing was streamed before.
    trying = RunnableLambda(parsed.invoke, parsed.ainvoke, name="parse")
    return RunnableMap(raw=asking) | trying.with_fallbacks([failed], exception_key="parsing_error")


def _tool(schema: Any, *, strict: bool | None) -> dict[str, Any]:
    try:
        return convert_to_openai_tool(schema, strict=strict)
    except UNDESCRIBED as error:
        raise InvalidInputError(
            f"schema is {schema!r}; allowed: a pydantic class, a TypedDict or a JSON schema "
            f"with a title ({error})"
        ) from None


def _format(schema: Any, method: Method, *, strict: bool | None) -> dict[str, Any]:
    if method == "json_mode":
        return {"type": "json_object"}
    inner = {"name": _tool(schema, strict=strict)["function"]["name"]}
    inner |= {"schema": convert_to_json_schema(schema, strict=strict)}
    return {
        "type": "json_schema",
        "json_schema": inner if strict is None else {**inner, "strict": strict},
    }


def _json_parser(schema: Any) -> OutputParserLike[Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _PydanticJson(pydantic_object=schema)
    return _Json()


def _call_parser(schema: Any, name: str) -> OutputParserLike[Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _PydanticCall(tools=[schema], first_tool_only=True)
    return _JsonCall(key_name=name, first_tool_only=True)


class _ToTheEnd(BaseCumulativeTransformOutputParser[Any]):
    """Parses a streamed answer once more when it is whole; core's parsers would stay silent."""

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:  # noqa: A002 - core's
        seen: list[Any] = []
        last = None
        for last in super()._transform(_noted(input, seen)):
            yield last
        whole = self.parse_result([_added(seen)])
        if whole != last:
            yield whole

    async def _atransform(
        self,
        input: AsyncIterator[str | BaseMessage],  # noqa: A002 - core's
    ) -> AsyncIterator[Any]:
        seen: list[Any] = []
        last = None
        async for last in super()._atransform(_anoted(input, seen)):
            yield last
        whole = await self.aparse_result([_added(seen)])
        if whole != last:
            yield whole


def _noted(stream: Iterator[Any], seen: list[Any]) -> Iterator[Any]:
    for each in stream:
        seen.append(each)
        yield each


async def _anoted(stream: AsyncIterator[Any], seen: list[Any]) -> AsyncIterator[Any]:
    async for each in stream:
        seen.append(each)
        yield each


def _added(seen: list[Any]) -> Generation:
    first, *rest = seen
    return ChatGeneration(message=first + rest if rest else first)


class _Json(_ToTheEnd, JsonOutputParser):
    """Core's parser, which says nothing when what was streamed is no JSON."""


class _PydanticJson(_ToTheEnd, PydanticOutputParser[TBaseModel], Generic[TBaseModel]):
    """Core's parser, which says nothing when what was streamed does not fit."""


class _PydanticCall(_ToTheEnd, PydanticToolsParser):
    """Core's parser, which says nothing when the model did not call, nor what it called with."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        try:
            parsed = super().parse_result(result, partial=partial)
        except OutputParserException:
            raise
        except ValueError as error:  # pydantic's own, old and new, are such
            message: Any = getattr(result[0], "message", None)
            said = str([call["args"] for call in getattr(message, "tool_calls", ())])
            raise OutputParserException(
                f"The model called with arguments that do not fit: {said}. {error}",
                llm_output=said,
            ) from error
        return parsed if parsed is not None or partial else _missing(result)


class _JsonCall(_ToTheEnd, JsonOutputKeyToolsParser):
    """Core's parser, which says nothing when the model did not call."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        parsed = super().parse_result(result, partial=partial)
        return parsed if parsed is not None or partial else _missing(result)


def _missing(result: list[Generation]) -> Any:
    message = getattr(result[0], "message", None)
    broken = [
        f"{call['args']!r} ({call['error'] or 'broken'})"
        for call in getattr(message, "invalid_tool_calls", ())
    ]
    text = result[0].text
    said = f"; what it tried: {'; '.join(broken)}" if broken else ""
    raise OutputParserException(
        f"The model answered without the call that was asked for{said}. It said: {text!r}",
        llm_output=text,
    )
