"""Call options: validation and normalization of chat parameters.

A new request field is listed in `contract`, is a field of `CallOptions` here and of
`ChatMiniToolAI`, goes into the body in `request.py`, and into the sandbox's `_validation.py`.
"""

import json
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import PydanticUserError, SecretStr

from langchain_minitoolai import contract
from langchain_minitoolai._redaction import is_secret_name, warn
from langchain_minitoolai._tool_calling.prompt import MODES, OpenAITool, choose_tools
from langchain_minitoolai.errors import InvalidInputError

ToolCalling = Literal["prompted", "native"]

MODEL_OPTIONS: Final = (
    "model",
    "temperature",
    "max_tokens",
    "stop",
    "reasoning_effort",
    "tool_calling",
    "strict_tool_calls",
    "model_kwargs",
)
"""The options that are fields of the model as well."""
_ALIASES: Final = {
    "model_name": "model",
    "max_completion_tokens": "max_tokens",
    "stop_sequences": "stop",
}
_IGNORED: Final = ("stream", "stream_usage")
"""Core's own: every response streams, with its usage."""

SCHEMA_ERRORS: Final = (
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    NameError,
    RecursionError,
    PydanticUserError,
)
"""Exceptions of core and pydantic for what they derive no schema from."""
_CONSTRUCTOR_ONLY: Final = ("timeout", "total_timeout", "max_retries")

_SECRET_STARTS: Final = ("sk-", "Bearer ")

_warned: set[str] = set()


def warn_once(message: str) -> None:
    """Warn, unless the process has already given this warning."""
    if message not in _warned:
        _warned.add(message)
        warn(message)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The options of one call: the constructor's, overridden by the call's own.

    Raises:
        InvalidInputError: If one is out of its range.
    """

    model: str
    temperature: float | None = None
    max_tokens: int | None = None
    stop: Any = None
    reasoning_effort: Any = None
    tool_calling: ToolCalling = "prompted"
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    tools: Sequence[Any] = ()
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    strict: bool | None = None
    response_format: Any = None
    strict_tool_calls: bool = False

    def __post_init__(self) -> None:
        """Check what the types of the fields do not."""
        validate_model(self.model)
        validate_temperature(self.temperature)
        validate_max_tokens(self.max_tokens)
        if self.tool_calling not in get_args(ToolCalling):
            allowed = ", ".join(get_args(ToolCalling))
            raise InvalidInputError(f"tool_calling is {self.tool_calling!r}; allowed: {allowed}")
        validate_model_kwargs(self.model_kwargs)
        normalize_stop(self.stop)

    def replace(self, changes: Mapping[str, Any]) -> "CallOptions":
        """Override these options with a call's own.

        Raises:
            InvalidInputError: If one is unknown or out of its range.
        """
        known = {name: getattr(self, name) for name in self.__slots__}
        for name, value in unalias(changes).items():
            if name in known:
                known[name] = value
            elif name in _CONSTRUCTOR_ONLY:
                raise InvalidInputError(f"{name} belongs to the model: ChatMiniToolAI({name}=…)")
            elif name not in _IGNORED:
                undocumented = "What the service does not document goes into model_kwargs"
                raise InvalidInputError(
                    f"{name} is no parameter of a call; allowed: {', '.join(known)}. "
                    + ("" if is_secret_name(name) else undocumented)
                )
        return CallOptions(**known)


def unalias(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters of a call their own names in place of the aliases."""
    return {_ALIASES.get(name, name): value for name, value in changes.items()}


def validate_model(model: Any) -> str:
    """Check a model name; an unknown one gets one warning, since a new one may exist."""
    if not isinstance(model, str) or not model.strip():
        allowed = ", ".join(contract.CHAT_MODELS)
        raise InvalidInputError(f"model is {model!r}; allowed: {allowed}")
    if model not in contract.CHAT_MODELS:
        known = ", ".join(contract.CHAT_MODELS)
        warn_once(
            f"model {model!r} is not among those the service documents ({known}); "
            "it is sent as it is, and its answers name no cost"
        )
    return model


def validate_temperature(temperature: Any) -> float | None:
    """Check a temperature against the documented range."""
    low, high, _ = contract.TEMPERATURE
    if temperature is None:
        return None
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool)
    if not number or not low <= temperature <= high:
        raise InvalidInputError(f"temperature is {temperature!r}; allowed: {low} to {high}")
    return temperature  # type: ignore[no-any-return]


def validate_max_tokens(max_tokens: Any) -> int | None:
    """Check the upper bound of an answer."""
    if max_tokens is None:
        return None
    if not isinstance(max_tokens, int) or isinstance(max_tokens, bool) or max_tokens < 1:
        raise InvalidInputError(f"max_tokens is {max_tokens!r}; allowed: 1 or more")
    return max_tokens


def validate_model_kwargs(model_kwargs: Any) -> None:
    """Check fields that are sent as they are: the body shows up in traces, so no secret may be."""
    if not isinstance(model_kwargs, Mapping):
        raise InvalidInputError(f"model_kwargs is {model_kwargs!r}; allowed: a dict")
    for name, value in model_kwargs.items():
        is_secret = isinstance(value, SecretStr) or (
            isinstance(value, str) and (is_secret_name(name) or value.startswith(_SECRET_STARTS))
        )
        if is_secret or (isinstance(value, Mapping) and any(map(is_secret_name, map(str, value)))):
            raise InvalidInputError(
                f"model_kwargs holds {name!r}, which looks like a secret and would be sent in the "
                "body; allowed: the key as api_key, others in default_headers"
            )


def normalize_stop(stop: Any) -> tuple[str, ...]:
    """Convert stop sequences, one or several, to a tuple."""
    if not isinstance(stop or (), Iterable):
        raise InvalidInputError(f"stop is {stop!r}; allowed: text, or a list of texts")
    sequences = (stop,) if isinstance(stop, str) else tuple(stop or ())
    for each in sequences:
        if not isinstance(each, str) or not each:
            raise InvalidInputError(f"stop holds {each!r}; allowed: text that is not empty")
    return sequences


def to_openai_tools(tools: Iterable[Any], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Convert tools of any form to OpenAI's.

    Raises:
        InvalidInputError: If one can't be converted.
    """
    if isinstance(tools, str | Mapping) or not isinstance(tools or (), Iterable):
        raise InvalidInputError(f"tools is {tools!r}; allowed: a list of tools")
    return [
        _to_openai_tool(tool, f"tools[{index}]", strict=strict)
        for index, tool in enumerate(tools or ())
    ]


def _to_openai_tool(tool: Any, field: str, *, strict: bool | None) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    builtin = kind not in (None, "function", "object") and "input_schema" not in tool
    try:
        converted = {} if builtin else convert_tool(tool, strict=strict)
    except SCHEMA_ERRORS as error:
        raise InvalidInputError(f"{field} can't be described: {error}") from None
    function = converted.get("function")
    if not isinstance(function, Mapping) or not function.get("name"):
        raise InvalidInputError(
            f"{field} is of type {converted.get('type', kind)!r} and describes no function; "
            "allowed: functions with a name, since the service has no tools of its own"
        )
    return converted


def convert_tool(tool: Any, *, strict: bool | None = None) -> dict[str, Any]:
    """Convert a tool or a schema to a function as core does, but without losing any of it.

    Raises:
        SCHEMA_ERRORS: If no function can be made of it.
    """
    converted = convert_to_openai_tool(_keep_schema(tool), strict=strict)
    function = converted.get("function")
    if isinstance(function, Mapping) and not isinstance(function.get("name", ""), str):
        raise TypeError("its name is no text")
    json.dumps(converted, default=str)  # a circle is found here
    return converted


def _keep_schema(schema: Any) -> Any:
    """Write a JSON schema without `properties` as a function, where core keeps all of it.

    From one with `anyOf` or `$ref` at its root core makes a function without parameters.
    """
    is_schema = isinstance(schema, Mapping) and "title" in schema
    if not is_schema or any(key in schema for key in ("name", "function", "properties")):
        return schema
    parameters = {key: schema[key] for key in schema if key not in ("title", "description")}
    function = {"name": schema["title"], "description": schema.get("description") or ""}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def normalize_tool_choice(tool_choice: Any, tools: Sequence[OpenAITool]) -> str:
    """Convert a tool choice to `"auto"`, `"required"`, `"none"` or a bound name.

    Raises:
        InvalidInputError: If it names no bound tool, or its form is unknown.
    """
    choice = tool_choice
    if isinstance(choice, Mapping):
        inner = choice.get("function", choice)
        named = inner.get("name") if isinstance(inner, Mapping) else None
        choice = named or choice.get("type")
    if choice is None or choice is False or choice == "":
        return "auto"
    if choice is True or choice == "any":
        choice = "required"
    if not isinstance(choice, str):
        raise InvalidInputError(
            f"tool_choice is {tool_choice!r}; allowed: {', '.join(MODES)}, any, True, a tool's "
            "name, or OpenAI's object that names one"
        )
    if tools or choice not in MODES:
        choose_tools(tools, choice)
    return choice


def normalize_response_format(response_format: Any) -> dict[str, Any] | None:
    """Convert a response format to OpenAI's form; `None` is free text.

    Raises:
        InvalidInputError: If its form is unknown.
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object" or (kind == "json_schema" and _has_schema(response_format)):
        return dict(response_format)
    try:
        schema = convert_to_json_schema(convert_tool(response_format))
    except SCHEMA_ERRORS as error:
        raise InvalidInputError(
            f"response_format is {reprlib.repr(response_format)}; allowed: a schema, or OpenAI's "
            f"json_schema, json_object or text ({error})"
        ) from None
    name = schema.get("title", "response")
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _has_schema(response_format: Mapping[str, Any]) -> bool:
    inner = response_format.get("json_schema")
    return isinstance(inner, Mapping) and isinstance(inner.get("schema", {}), Mapping)
