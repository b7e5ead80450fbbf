"""Request validation: what the service does not document is refused by name."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from langchain_minitoolai import contract
from langchain_minitoolai.sandbox._chat import is_reasoning, prompt_tokens

_ADDRESS: Final = re.compile(
    r"https?://\S+|data:(?:" + "|".join(contract.INPUT_IMAGE_TYPES) + r");base64,[A-Za-z0-9+/=\s]+"
)


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


def _listed(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)


class _Rule(NamedTuple):
    allowed: str
    fits: Callable[[Any], Any]


def _one_of(names: Collection[str]) -> _Rule:
    return _Rule(_listed(names), lambda value: isinstance(value, str) and value in names)


def _list(what: str) -> _Rule:
    return _Rule(f"a list with at least one {what}", lambda val: isinstance(val, list) and val)


def _number(allowed: contract.Range, *, whole: bool = False) -> _Rule:
    def fits(value: Any) -> bool:
        is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return is_number and allowed.minimum <= value <= allowed.maximum

    upper = "" if allowed.maximum == float("inf") else f" to {allowed.maximum:g}"
    what = "an integer" if whole else "a number"
    return _Rule(f"{what} from {allowed.minimum:g}{upper}", fits)


_ANY: Final = _Rule("", lambda _: True)
_TEXT: Final = _Rule("a string", lambda value: isinstance(value, str))
_WORDS: Final = _Rule(
    "a string that is not empty", lambda value: isinstance(value, str) and value.strip()
)
_CHAT: Final = {
    "messages": _list("message"),
    "temperature": _number(contract.TEMPERATURE),
    "max_completion_tokens": _number(contract.Range(1, float("inf"), 0), whole=True),
}
_NATIVE_NAMES: Final = ("tool_choice", "parallel_tool_calls", "response_format", "stop")
_NATIVE: Final = {"tools": _list("tool"), **dict.fromkeys(_NATIVE_NAMES, _ANY)}
_IMAGE: Final = {
    "model": _one_of(contract.IMAGE_MODELS),
    "prompt": _WORDS,
    "negativePrompt": _TEXT,
    "scheduler": _one_of(contract.SCHEDULERS),
    "steps": _number(contract.STEPS, whole=True),
    "cfgScale": _number(contract.CFG_SCALE),
    "width": _number(contract.IMAGE_SIZE, whole=True),
    "height": _number(contract.IMAGE_SIZE, whole=True),
}


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
    rules = {"model": _one_of((*contract.CHAT_MODELS, *models)), **_CHAT}
    rules |= (_NATIVE if native else {}) | dict.fromkeys(fields, _ANY)
    _object(body, "", rules, ("model", "messages"))
    if body.get("temperature") is not None and is_reasoning(body["model"]):
        raise APIError(
            f"Unsupported parameter: 'temperature' is not supported with {body['model']!r}.",
            code="unsupported_parameter",
            param="temperature",
        )
    for index, message in enumerate(body["messages"]):
        _check_message(message, f"messages[{index}]", body["model"], native=native)
    for index, tool in enumerate(body.get("tools") or ()):
        where = f"tools[{index}]"
        _object(tool, where, dict.fromkeys(("type", "function"), _ANY))
        rules = dict.fromkeys(("name", "description", "parameters", "strict"), _ANY)
        _object(tool.get("function"), f"{where}.function", rules | {"name": _WORDS}, ("name",))
    limits = contract.TOKEN_LIMITS.get(body["model"])
    if limits and (tokens := prompt_tokens(body)) > limits.input:
        raise APIError(
            f"The model reads at most {limits.input} tokens; the messages have {tokens}.",
            code="context_length_exceeded",
            param="messages",
        )


def check_image(body: Any) -> None:
    """Refuse an image's submission that is not documented, as `check_chat` does."""
    _object(body, "", _IMAGE, ("model", "prompt"))


def check_job(body: Any) -> None:
    """Refuse a poll of a job that is not documented, as `check_chat` does."""
    fields = contract.IMAGE_JOB_FIELDS
    _object(body, "", dict.fromkeys(fields, _WORDS), fields)


def _check_message(message: Any, where: str, model: str, *, native: bool) -> None:
    roles = (*contract.CHAT_ROLES, "tool") if native else contract.CHAT_ROLES
    names = ("content", "tool_calls", "tool_call_id") if native else ("content",)
    _object(message, where, {"role": _one_of(roles), **dict.fromkeys(names, _ANY)}, ("role",))
    content = message.get("content")
    if isinstance(content, list) and content and message["role"] == "user":
        for index, part in enumerate(content):
            _check_part(part, f"{where}.content[{index}]", model)
    elif not isinstance(content, str) and (content is not None or not message.get("tool_calls")):
        allowed = "a string, or for the role 'user' a list of parts"
        raise _wrong(f"{where}.content", content, allowed)


def _check_part(part: Any, where: str, model: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        _object(part, where, {"type": _ANY, "text": _TEXT}, ("text",))
    elif kind == "image_url":
        _object(part, where, {"type": _ANY, "image_url": _ANY})
        _check_image_url(part.get("image_url"), f"{where}.image_url", model)
    else:
        raise _wrong(f"{where}.type", kind, "'text', 'image_url'")


def _check_image_url(image: Any, where: str, model: str) -> None:
    if model in contract.CHAT_MODELS and model not in contract.VISION_MODELS:
        allowed = _listed(contract.VISION_MODELS)
        raise APIError(f"The model {model!r} reads no images; allowed: {allowed}.", param=where)
    _object(image, where, {"url": _WORDS, "detail": _one_of(contract.IMAGE_DETAILS)}, ("url",))
    if not _ADDRESS.fullmatch(image["url"]):
        allowed = "an http(s) address, or data: with base64 of "
        raise _wrong(f"{where}.url", image["url"], allowed + _listed(contract.INPUT_IMAGE_TYPES))


def _object(
    value: Any, where: str, rules: Mapping[str, _Rule], required: Collection[str] = ()
) -> None:
    """Check an object's fields; in the body itself, null is as good as none."""
    if not isinstance(value, dict):
        raise _wrong(where or "the body", value, "a JSON object")
    place = f"{where}." if where else ""
    for name in value:
        if name not in rules:
            raise APIError(
                f"Unrecognized field {place + name!r}; allowed: {_listed(rules)}.",
                code="unknown_parameter",
                param=place + name,
            )
    given = value if where else {name for name, each in value.items() if each is not None}
    for name, rule in rules.items():
        if (name in required or name in given) and not rule.fits(value.get(name)):
            raise _wrong(place + name, value.get(name), rule.allowed)


def _wrong(param: str, value: Any, allowed: str) -> APIError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:79] + "…"
    return APIError(
        f"Invalid value for {param!r}: {shown}; allowed: {allowed}.",
        code="model_not_found" if param == "model" else "invalid_value",
        param=param,
    )
