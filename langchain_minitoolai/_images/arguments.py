"""The arguments that a model sees: checked and repaired before anything is sent."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

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
"""Every argument but the prompt, with the service's own default."""

MAX_REFUSAL: Final = 400
INPUT: Final = "the input"

_CHOICE: Final[Any] = Literal  # of names known at run time only

_WIRE: Final = {"negative_prompt": "negativePrompt", "cfg_scale": "cfgScale"}
_OTHER_NAMES: Final = {
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
    """What every schema of arguments can do; `arguments_schema` adds the fields."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _repair(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        fields = {}
        for name, value in given.items():
            name = _OTHER_NAMES.get(name, name)  # noqa: PLW2901 - the same argument's real name
            if name in cls.model_fields and value is None and name != "prompt":
                continue  # as good as not given
            fields[name] = value
        size = _sides(fields["size"]) if "size" in fields else None
        if size is not None:
            del fields["size"]
            fields.setdefault("width", size[0])
            fields.setdefault("height", size[1])
        return fields

    def body(self) -> dict[str, Any]:
        """Give the request's body, in the service's own names."""
        fields = self.model_dump()
        if not fields["negative_prompt"]:
            del fields["negative_prompt"]
        return {_WIRE.get(name, name): value for name, value in fields.items()}


def arguments_schema(
    models: tuple[str, ...] = contract.IMAGE_MODELS, **defaults: Any
) -> type[ImageArguments]:
    """Make the schema of the arguments.

    Args:
        models: The models that may be asked for.
        **defaults: What an argument is when it is not given.
    """
    return _schema(models, tuple(sorted({**DEFAULTS, **defaults}.items())))


@lru_cache(maxsize=64)
def _schema(models: tuple[str, ...], defaults: tuple[tuple[str, Any], ...]) -> type[ImageArguments]:
    default = dict(defaults)
    model_type = Annotated[_CHOICE[models], BeforeValidator(_named(models))]
    scheduler_type = Annotated[
        _CHOICE[contract.SCHEDULERS], BeforeValidator(_named(contract.SCHEDULERS))
    ]
    side = contract.IMAGE_SIZE
    fields: dict[str, Any] = {
        "prompt": (
            Annotated[str, BeforeValidator(_text)],
            Field(min_length=1, description="What to draw, in plain words."),
        ),
        "negative_prompt": (
            Annotated[str, BeforeValidator(_text)],
            Field(default["negative_prompt"], description="What to keep out of the picture."),
        ),
        "model": (model_type, Field(default["model"], description="The style of picture.")),
        "width": (_WHOLE, _number(default["width"], side, "Pixels.")),
        "height": (_WHOLE, _number(default["height"], side, "Pixels.")),
        "steps": (_WHOLE, _number(default["steps"], contract.STEPS, "More is finer and slower.")),
        "cfg_scale": (
            _REAL,
            _number(
                default["cfg_scale"],
                contract.CFG_SCALE,
                "Below 4 more creative, above closer to the prompt.",
            ),
        ),
        "scheduler": (scheduler_type, Field(default["scheduler"], description="The sampler.")),
    }
    schema: type[ImageArguments] = create_model(
        "generate_image", __base__=ImageArguments, __doc__="Draw a picture.", **fields
    )
    return schema


def refusal(error: ValidationError, schema: type[BaseModel]) -> ImageRequestError:
    """Say what is wrong with arguments: the field, the value, and what is allowed."""
    said = [_complaint(each, schema) for each in error.errors(include_url=False)]
    text = f"Nothing was sent or charged. {'; '.join(said)}"
    hint = "Change the argument and call again."
    text = text if len(text) < MAX_REFUSAL else f"{text[: MAX_REFUSAL - 1]}…"
    return ImageRequestError(text, hint=hint)


def _complaint(error: Any, schema: type[BaseModel]) -> str:
    name = str(error["loc"][0]) if error["loc"] else INPUT
    if error["type"] == "missing":
        return f"{name} is missing"
    value = repr(error["input"])
    value = value if len(value) <= 40 else f"{value[:39]}…"
    return f"{name} is {value}; allowed: {_allowed(name, schema)}"


def _allowed(name: str, schema: type[BaseModel]) -> str:
    if name in _RANGES:
        low, high, _ = _RANGES[name]
        kind = "a number" if name == "cfg_scale" else "a whole number"
        return f"{kind} from {low:g} to {high:g}"
    properties = schema.model_json_schema()["properties"]
    if name == INPUT:
        return "a text that says what to draw, or arguments"
    if name not in properties:
        return f"no such argument, only {', '.join(properties)}"
    found = properties[name]
    values = found.get("enum") or ([found["const"]] if "const" in found else [])
    return ", ".join(values) or "a text that is not empty"


def _number(default: Any, span: contract.Range, description: str) -> Any:
    return Field(default, ge=span.minimum, le=span.maximum, description=description)


def _text(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _plain_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a truth value is no number")  # noqa: TRY004 - pydantic wants this kind
    if not isinstance(value, str):
        return value
    text = value.strip()
    return text[:-2].rstrip() if text[-2:].lower() == "px" else text


_WHOLE: Final = Annotated[int, BeforeValidator(_plain_number)]
_REAL: Final = Annotated[float, BeforeValidator(_plain_number), Field(allow_inf_nan=False)]


def _named(names: tuple[str, ...]) -> Any:
    """Make what finds a name however it is spelt: case, blanks, `_`, `pp` for `++`."""
    known = {_key(name): name for name in names}
    return lambda value: known.get(_key(value), value) if isinstance(value, str) else value


def _key(name: str) -> str:
    plain = name.casefold().replace("ancestral", "a").replace("pp", "++")
    return re.sub(r"[^a-z0-9+]", "", plain)


def _sides(size: Any) -> tuple[Any, Any] | None:
    if isinstance(size, str) and (found := _SIZE.fullmatch(size.strip())):
        return int(found[1]), int(found[2] or found[1])
    if isinstance(size, Mapping) and set(size) == {"width", "height"}:
        return size["width"], size["height"]
    if isinstance(size, list | tuple) and len(size) == 2:
        return size[0], size[1]
    return (size, size) if isinstance(size, int) and not isinstance(size, bool) else None
