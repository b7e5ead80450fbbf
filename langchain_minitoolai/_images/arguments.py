"""Arguments of the image tool: their schema, repair of harmless slips, and the request body.

A new argument is listed in `contract`, has its default and its line in the schema here, is a field
of `MiniToolAIImageTool` and of `GeneratedImage`, and is known to the sandbox (`_validation.py`,
`_jobs.py`).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)

from langchain_minitoolai import contract
from langchain_minitoolai.errors import ImageRequestError

DEFAULTS: Final[dict[str, Any]] = {
    "model": contract.DEFAULT_IMAGE_MODEL,
    "negative_prompt": "",
    "width": int(contract.IMAGE_SIZE.default),
    "height": int(contract.IMAGE_SIZE.default),
    "steps": int(contract.STEPS.default),
    "cfg_scale": contract.CFG_SCALE.default,
    "scheduler": contract.DEFAULT_SCHEDULER,
}
"""Every argument but the prompt, with the service's own default; sent with every order.

Each is a field of the tool and of `GeneratedImage` too.
"""

MAX_TEXT: Final = 400
"""The most characters of an error that a model reads."""

_INPUT: Final = "the input"
_CHOICE: Final[Any] = Literal  # of names known at run time only
_API_NAMES: Final = {"negative_prompt": "negativePrompt", "cfg_scale": "cfgScale"}
_ALIASES: Final = {
    "negativePrompt": "negative_prompt",
    "cfgScale": "cfg_scale",
    "cfg": "cfg_scale",
    "guidance_scale": "cfg_scale",
    "num_inference_steps": "steps",
    "sampler": "scheduler",
    "text": "prompt",
}
_SIZE: Final = re.compile(r"(\d{1,5})\s*+(?:[x×*,:]\s*+(\d{1,5})\s*+)?(?:px)?", re.IGNORECASE)
_RANGES: Final = {
    "width": contract.IMAGE_SIZE,
    "height": contract.IMAGE_SIZE,
    "steps": contract.STEPS,
    "cfg_scale": contract.CFG_SCALE,
}


class ImageArguments(BaseModel):
    """Base of the argument schemas; `arguments_schema` adds the fields."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _repair(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        fields = {}
        for name, value in given.items():
            field = _ALIASES.get(name, name)
            if value is None and field in cls.model_fields and field != "prompt":
                continue  # as good as not given
            fields[field] = value
        size = _parse_size(fields["size"]) if "size" in fields else None
        if size is not None:
            del fields["size"]
            fields.setdefault("width", size[0])
            fields.setdefault("height", size[1])
        return fields


def arguments_schema(
    models: tuple[str, ...] = contract.IMAGE_MODELS, **defaults: Any
) -> type[ImageArguments]:
    """Build the schema of the arguments.

    Args:
        models: The models that may be asked for.
        **defaults: An argument's value where it is not given.
    """
    return _schema(models, tuple(sorted({**DEFAULTS, **defaults}.items())))


@lru_cache(maxsize=64)
def _schema(models: tuple[str, ...], defaults: tuple[tuple[str, Any], ...]) -> type[ImageArguments]:
    optional = {
        "negative_prompt": (_Text, "What to keep out of the image."),
        "model": (_choice(models), "The style of the image."),
        "width": (_number("width", int), "Pixels."),
        "height": (_number("height", int), "Pixels."),
        "steps": (_number("steps", int), "More is finer and slower."),
        "cfg_scale": (
            _number("cfg_scale", float),
            "Below 4 more creative, above closer to the prompt.",
        ),
        "scheduler": (_choice(contract.SCHEDULERS), "The sampler."),
    }
    prompt = (_Text, Field(min_length=1, description="What to draw, in plain words."))
    fields: dict[str, Any] = {"prompt": prompt}
    for name, (kind, description) in optional.items():
        fields[name] = (kind, Field(dict(defaults)[name], description=description))
    schema: type[ImageArguments] = create_model(
        "generate_image", __base__=ImageArguments, __doc__="Draw an image.", **fields
    )
    return schema


def to_arguments(given: Any) -> Any:
    """Convert a text, a prompt or a message to arguments; return anything else as it is."""
    if isinstance(given, PromptValue):
        given = given.to_messages()[-1]
    if isinstance(given, BaseMessage):
        given = str(given.text)
    return {"prompt": given} if isinstance(given, str) else given


def validate_arguments(given: Any, schema: type[ImageArguments]) -> dict[str, Any]:
    """Validate the arguments and repair harmless slips.

    Returns:
        Those that were given, without the defaults of the others.

    Raises:
        ImageRequestError: If they are invalid.
    """
    try:
        return schema.model_validate(given).model_dump(exclude_unset=True)
    except ValidationError as caught:
        error = validation_error(caught, schema)
    raise error


def request_body(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert validated arguments to the request's body, in the service's own names."""
    return {
        _API_NAMES.get(name, name): value
        for name, value in arguments.items()
        if value or name != "negative_prompt"
    }


def validation_error(error: ValidationError, schema: type[BaseModel]) -> ImageRequestError:
    """Describe invalid arguments: the field, the value, and what is allowed."""
    problems = [_format_error(each, schema) for each in error.errors(include_url=False)]
    text = clip(f"Nothing was sent or charged. {'; '.join(problems)}", MAX_TEXT)
    return ImageRequestError(text, hint="Change the argument and call again.")


def clip(text: str, most: int) -> str:
    """Cut a text that has too many characters, and show that."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _format_error(error: Any, schema: type[BaseModel]) -> str:
    name = str(error["loc"][0]) if error["loc"] else _INPUT
    if error["type"] == "missing":
        return f"{name} is missing"
    return f"{name} is {clip(repr(error['input']), 40)}; allowed: {_allowed(name, schema)}"


def _allowed(name: str, schema: type[BaseModel]) -> str:
    if name in _RANGES:
        low, high, _ = _RANGES[name]
        kind = "a number" if name == "cfg_scale" else "a whole number"
        return f"{kind} from {low:g} to {high:g}"
    properties = schema.model_json_schema()["properties"]
    if name == _INPUT:
        return "a text that says what to draw, or arguments"
    if name not in properties:
        return f"no such argument, only {', '.join(properties)}"
    found = properties[name]
    values = found.get("enum") or ([found["const"]] if "const" in found else [])
    return ", ".join(values) or "a text that is not empty"


def _strip(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _strip_unit(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a boolean is no number")  # noqa: TRY004 - pydantic wants this class
    if not isinstance(value, str):
        return value
    text = value.strip()
    return text[:-2].rstrip() if text[-2:].lower() == "px" else text


_Text: Final = Annotated[str, BeforeValidator(_strip)]


def _number(name: str, kind: type[int | float]) -> Any:
    span = _RANGES[name]
    limits = Field(ge=span.minimum, le=span.maximum)
    return Annotated[kind, BeforeValidator(_strip_unit), limits]


def _choice(names: tuple[str, ...]) -> Any:
    """Build the type of a name, which ignores case, blanks and `_`, and reads `pp` as `++`."""
    known = {_normalize(name): name for name in names}

    def find(value: Any) -> Any:
        return known.get(_normalize(value), value) if isinstance(value, str) else value

    return Annotated[_CHOICE[names], BeforeValidator(find)]


def _normalize(name: str) -> str:
    plain = name.casefold().replace("ancestral", "a").replace("pp", "++")
    return re.sub(r"[^a-z0-9+]", "", plain)


def _parse_size(size: Any) -> tuple[Any, Any] | None:
    if isinstance(size, str) and (found := _SIZE.fullmatch(size.strip())):
        return int(found[1]), int(found[2] or found[1])
    if isinstance(size, Mapping) and set(size) == {"width", "height"}:
        return size["width"], size["height"]
    if isinstance(size, list | tuple) and len(size) == 2:
        return size[0], size[1]
    return (size, size) if isinstance(size, int) and not isinstance(size, bool) else None
