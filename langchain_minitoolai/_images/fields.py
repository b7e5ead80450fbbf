"""What a `MiniToolAIImageTool` is told: its options, its schema of arguments, its copies."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.stores import ByteStore, InMemoryByteStore
from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from langchain_minitoolai import contract
from langchain_minitoolai._config import ClientConfig
from langchain_minitoolai._images.arguments import (
    DEFAULTS,
    ImageArguments,
    arguments_schema,
    refusal,
)
from langchain_minitoolai._images.progress import OnProgress
from langchain_minitoolai._images.result import ShowToModel
from langchain_minitoolai._images.spending import Spending

DESCRIPTION = (
    "Draw a picture from a description. Each call costs money and takes some seconds. "
    "The answer names the picture's address; show it to the user."
)


class ImageFields(ClientConfig, BaseTool):
    """The options of the tool."""

    model_config = ConfigDict(
        populate_by_name=True,
        extra="forbid",
        protected_namespaces=(),
        validate_default=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    name: str = "generate_image"
    description: str = DESCRIPTION
    args_schema: ArgsSchema | None = Field(default=None, exclude=True, repr=False)
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: bool | str | Callable[[ToolException], str] | None = True
    """Whether errors become a `ToolMessage` with `status="error"`; `False` raises them."""

    model: str = contract.DEFAULT_IMAGE_MODEL
    """The model where a call names none; so the other arguments below."""
    negative_prompt: str = DEFAULTS["negative_prompt"]
    width: int = DEFAULTS["width"]
    height: int = DEFAULTS["height"]
    steps: int = DEFAULTS["steps"]
    cfg_scale: float = DEFAULTS["cfg_scale"]
    scheduler: str = DEFAULTS["scheduler"]
    allowed_models: tuple[str, ...] = contract.IMAGE_MODELS
    """The models a call may name."""

    save_to: Path | None = None
    """The directory where pictures are saved, each with a JSON file beside it."""
    show_to_model: ShowToModel = "never"
    """Whether the answer holds the picture, for a model that sees."""
    deadline: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Seconds for ordering, waiting and fetching together."""
    job_store: ByteStore = Field(default_factory=InMemoryByteStore, exclude=True, repr=False)
    """Where paid jobs are kept; it holds their signatures, so keep it as a secret."""
    max_images: int | None = Field(default=None, ge=0)
    """How many pictures this tool may order."""
    max_cost_usd: float | None = Field(default=None, ge=0)
    """For how much this tool may order pictures."""
    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Waited for before each order."""
    on_progress: OnProgress | None = Field(default=None, exclude=True)
    """Called with an `ImageProgress` at each step; what it raises is only a warning."""
    poll_interval: float | Callable[[float], float] | None = None
    """Seconds between looks, or a function of the seconds gone, in place of the schedule."""

    _spending: Spending = PrivateAttr(default_factory=Spending)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tools are not serialised; their jobs are."""
        return False

    @model_validator(mode="after")
    def _check_defaults(self) -> Self:
        unknown = [name for name in self.allowed_models if name not in contract.IMAGE_MODELS]
        if unknown or not self.allowed_models:
            allowed = ", ".join(contract.IMAGE_MODELS)
            raise ValueError(f"allowed_models is {self.allowed_models}; allowed: {allowed}")
        given = {name: getattr(self, name) for name in DEFAULTS}
        if "model" not in self.model_fields_set and self.model not in self.allowed_models:
            given["model"] = self.allowed_models[0]
        schema = arguments_schema(self.allowed_models)
        try:
            checked = schema.model_validate({"prompt": "a prompt", **given})
        except ValidationError as error:
            raise ValueError(str(refusal(error, schema))) from None
        for name in DEFAULTS:
            # Past the validation that this is part of.
            self.__dict__[name] = getattr(checked, name)
        self.__dict__["args_schema"] = self._schema()
        return self

    def _schema(self) -> type[ImageArguments]:
        defaults = {name: getattr(self, name) for name in DEFAULTS}
        return arguments_schema(self.allowed_models, **defaults)

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out the schema, a class made at run time."""
        state = super().__getstate__()
        private: Mapping[str, Any] = state["__pydantic_private__"] or {}
        memo = dict.fromkeys(private.keys() & {"_tool_call_schema_memo"})
        return {
            **state,
            "__dict__": {**state["__dict__"], "args_schema": None},
            "__pydantic_private__": {**private, **memo},
        }

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make the schema again."""
        super().__setstate__(state)
        self.__dict__["args_schema"] = self._schema()
