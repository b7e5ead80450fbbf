"""Request validation: what the service does not document is refused by name."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from langchain_minitoolai.contract import (
    CFG_SCALE,
    CHAT_FIELDS,
    CHAT_MODELS,
    CHAT_ROLES,
    IMAGE_DETAILS,
    IMAGE_FIELDS,
    IMAGE_JOB_FIELDS,
    IMAGE_MODELS,
    IMAGE_SIZE,
    INPUT_IMAGE_TYPES,
    SCHEDULERS,
    STEPS,
    TEMPERATURE,
    VISION_MODELS,
    Range,
)

NATIVE_FIELDS: Final = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "stop")
_ADDRESS: Final = re.compile(
    r"https?://\S+|data:(?:" + "|".join(INPUT_IMAGE_TYPES) + r");base64,[A-Za-z0-9+/=\s]+"
)

_REASONING: Final = re.compile(r"gpt-[5-9]|o\d")


class APIError(Exception):
    """An error response of the API: its status and its error object."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        """Store what the response holds."""
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}


def insufficient_balance() -> APIError:
    """Make the error for a balance that does not cover the request."""
    return APIError(
        "The credit balance is too low for this request.",
        status=402,
        kind="insufficient_quota",
        code="insufficient_balance",
    )


def is_reasoning(model: str) -> bool:
    """Return whether a model is named like one of OpenAI's that think before they answer."""
    return _REASONING.match(model) is not None


def check_chat(
    body: Any, *, native: bool = False, models: Collection[str] = (), fields: Collection[str] = ()
) -> None:
    """Refuse a chat request that is not documented.

    Args:
        body: The request's JSON.
        native: Whether OpenAI's fields for tools are accepted as well.
        models: Names of models that are accepted as well.
        fields: Fields that are accepted as well, with any value.

    Raises:
        APIError: Naming the field, its value and what is allowed.
    """
    _fields(body, (*CHAT_FIELDS, *(NATIVE_FIELDS if native else ()), *fields), "")
    _one_of(body, "model", (*CHAT_MODELS, *models), required=True)
    if body.get("temperature") is not None and is_reasoning(body["model"]):
        raise APIError(
            f"Unsupported parameter: 'temperature' is not supported with {body['model']!r}.",
            code="unsupported_parameter",
            param="temperature",
        )
    _number(body, "temperature", TEMPERATURE)
    _whole(body, "max_completion_tokens", Range(1, float("inf"), 0))
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a list with at least one message")
    for index, message in enumerate(messages):
        _message(message, f"messages[{index}]", body["model"], native)
    if native:
        _tools(body.get("tools"))


def check_image(body: Any) -> None:
    """Refuse an image's submission that is not documented.

    Raises:
        APIError: Naming the field, its value and what is allowed.
    """
    _fields(body, IMAGE_FIELDS, "")
    _one_of(body, "model", IMAGE_MODELS, required=True)
    _text(body, "prompt", "", required=True)
    _text(body, "negativePrompt", "", empty=True)
    _one_of(body, "scheduler", SCHEDULERS)
    _whole(body, "steps", STEPS)
    _number(body, "cfgScale", CFG_SCALE)
    _whole(body, "width", IMAGE_SIZE)
    _whole(body, "height", IMAGE_SIZE)


def check_job(body: Any) -> None:
    """Refuse a poll of a job that is not documented.

    Raises:
        APIError: Naming the field, its value and what is allowed.
    """
    _fields(body, IMAGE_JOB_FIELDS, "")
    for name in IMAGE_JOB_FIELDS:
        _text(body, name, "", required=True)


def _message(message: Any, where: str, model: str, native: bool) -> None:  # noqa: FBT001
    extra = ("tool_calls", "tool_call_id") if native else ()
    _fields(message, ("role", "content", *extra), where)
    roles = (*CHAT_ROLES, "tool") if native else CHAT_ROLES
    _one_of(message, "role", roles, where, required=True)
    content = message.get("content")
    if content is None and message.get("tool_calls"):
        return
    if isinstance(content, list) and content and message["role"] == "user":
        for index, part in enumerate(content):
            _part(part, f"{where}.content[{index}]", model)
    elif not isinstance(content, str):
        allowed = "a string, or for the role 'user' a list of parts"
        raise _wrong(f"{where}.content", content, allowed)


def _part(part: Any, where: str, model: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        _fields(part, ("type", "text"), where)
        _text(part, "text", where, required=True, empty=True)
    elif kind == "image_url":
        _fields(part, ("type", "image_url"), where)
        _image(part.get("image_url"), f"{where}.image_url", model)
    else:
        raise _wrong(f"{where}.type", kind, "'text', 'image_url'")


def _image(image: Any, where: str, model: str) -> None:
    if model in CHAT_MODELS and model not in VISION_MODELS:
        raise APIError(
            f"The model {model!r} reads no images; allowed: {_listed(VISION_MODELS)}.",
            param=where,
        )
    _fields(image, ("url", "detail"), where)
    _text(image, "url", where, required=True)
    if not _ADDRESS.fullmatch(image["url"]):
        allowed = "an http(s) address, or data: with base64 of " + _listed(INPUT_IMAGE_TYPES)
        raise _wrong(f"{where}.url", image["url"], allowed)
    if "detail" in image:
        _one_of(image, "detail", IMAGE_DETAILS, where, required=True)


def _tools(tools: Any) -> None:
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        raise _wrong("tools", tools, "a list with at least one tool")
    for index, tool in enumerate(tools):
        _fields(tool, ("type", "function"), f"tools[{index}]")
        where = f"tools[{index}].function"
        _fields(tool.get("function"), ("name", "description", "parameters", "strict"), where)
        _text(tool["function"], "name", where, required=True)


def _fields(thing: Any, allowed: Collection[str], where: str) -> None:
    if not isinstance(thing, dict):
        raise _wrong(where or "the body", thing, "a JSON object")
    for name in thing:
        if name not in allowed:
            param = f"{where}.{name}" if where else name
            raise APIError(
                f"Unrecognized field {param!r}; allowed: {_listed(allowed)}.",
                code="unknown_parameter",
                param=param,
            )


def _one_of(
    thing: Mapping[str, Any],
    name: str,
    allowed: Collection[str],
    where: str = "",
    *,
    required: bool = False,
) -> None:
    value = thing.get(name)
    if (required or value is not None) and (not isinstance(value, str) or value not in allowed):
        raise _wrong(f"{where}.{name}" if where else name, value, _listed(allowed))


def _text(
    thing: Mapping[str, Any], name: str, where: str, *, required: bool = False, empty: bool = False
) -> None:
    value = thing.get(name)
    if value is None and not required:
        return
    if not isinstance(value, str) or not (empty or value.strip()):
        allowed = "a string" if empty else "a string that is not empty"
        raise _wrong(f"{where}.{name}" if where else name, value, allowed)


def _number(thing: Mapping[str, Any], name: str, allowed: Range) -> None:
    value = thing.get(name)
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not allowed.minimum <= value <= allowed.maximum:
        raise _wrong(name, value, f"a number from {allowed.minimum:g} to {allowed.maximum:g}")


def _whole(thing: Mapping[str, Any], name: str, allowed: Range) -> None:
    value = thing.get(name)
    if value is None:
        return
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not allowed.minimum <= value <= allowed.maximum:
        upper = "" if allowed.maximum == float("inf") else f" to {allowed.maximum:g}"
        raise _wrong(name, value, f"an integer from {allowed.minimum:g}{upper}")


def _wrong(param: str, value: Any, allowed: str) -> APIError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return APIError(
        f"Invalid value for {param!r}: {shown}; allowed: {allowed}.",
        code="model_not_found" if param == "model" else "invalid_value",
        param=param,
    )


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
