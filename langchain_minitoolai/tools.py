"""`MiniToolAIImageTool`: text to image as a LangChain tool, for agents, chains and programs.

A tool for another endpoint has a module of its own; `CONTRIBUTING.md` has the recipe.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, cast
from urllib.parse import urlsplit

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.stores import ByteStore
from langchain_core.tools import BaseTool, ToolException
from langchain_core.tools.base import ArgsSchema
from pydantic import Field, PrivateAttr, field_validator, model_validator
from typing_extensions import override

from langchain_minitoolai import contract
from langchain_minitoolai._config import ClientConfig
from langchain_minitoolai._http.effects import Clock, Invoke, Workflow
from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai._image_files import absolute
from langchain_minitoolai._images.arguments import (
    DEFAULTS,
    ImageArguments,
    arguments_schema,
    clip,
    to_arguments,
    validate_arguments,
)
from langchain_minitoolai._images.job_store import (
    SharedBudgets,
    StoreEffects,
    call_key,
    load_stored,
    read_spending,
)
from langchain_minitoolai._images.output import (
    ImageToolError,
    OnProgress,
    RecentImages,
    before_submission,
    download,
    download_and_save,
    format_for_model,
    record_cost,
    report,
    tool_output,
)
from langchain_minitoolai._images.polling import checked_job, wait_until_ready
from langchain_minitoolai._images.submission import JobContext, submit, take_up_unfinished
from langchain_minitoolai.errors import ImageRequestError, InvalidInputError, MiniToolAIError
from langchain_minitoolai.stores import InMemoryJobStore, JobStore, Spending
from langchain_minitoolai.stores._base import job_key
from langchain_minitoolai.stores._byte_store import as_job_store
from langchain_minitoolai.types import GeneratedImage, ImageJob, ImageProgress, ShowToModel

__all__ = ["ImageToolError", "MiniToolAIImageTool"]

T = TypeVar("T")

_DESCRIPTION: Final = (
    "Draw an image from a description. Each call costs money and takes some seconds. "
    "The answer names the image's address; show it to the user."
)
_CALL_ID: Final = "tool_call_id"
_BUDGETS: Final = SharedBudgets()


class MiniToolAIImageTool(ClientConfig, BaseTool):
    """A tool that draws images, never pays twice for one, and never waits for ever.

    A call that comes again with the same `tool_call_id` and arguments, as from a retry, a
    replayed checkpoint or a restarted process, takes up the job that is paid for.

    Example:
        ```python
        from langchain_minitoolai import MiniToolAIImageTool

        tool = MiniToolAIImageTool(save_to="images")  # the key is in MINITOOLAI_API_KEY
        print(tool.invoke("a lighthouse at dusk, oil painting"))
        ```

    Raises:
        MissingAPIKeyError: If there is no key.
        pydantic.ValidationError: If an option is unknown or out of its range.
    """

    name: str = "generate_image"
    description: str = _DESCRIPTION
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
    """The directory where images are saved, each with a JSON file beside it; made absolute."""
    show_to_model: ShowToModel = "never"
    """Whether the answer holds the image, for a model that sees."""
    total_timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Seconds for ordering, waiting and downloading together; also taken as `deadline`."""
    job_store: JobStore | ByteStore = Field(
        default_factory=InMemoryJobStore, exclude=True, repr=False
    )
    """The store of paid jobs; it holds their signatures, so keep it as a secret."""
    max_images: int | None = Field(default=None, ge=0)
    """The most images to order in the budget's scope, by all who share the job store."""
    max_cost_usd: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The most to spend in the budget's scope, in USD."""
    budget_scope: str = Field(default="default", min_length=1)
    """The name under which the job store counts images and cost."""
    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """Waited for before each order."""
    on_progress: OnProgress | None = Field(default=None, exclude=True)
    """Called with an `ImageProgress` at each step; what it raises is only a warning."""
    poll_interval: float | Callable[[float], float] | None = None
    """Seconds between polls, or a function of the seconds gone, in place of the schedule."""

    _recent_images: RecentImages = PrivateAttr(default_factory=RecentImages)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tools are not serialised; their jobs are."""
        return False

    @model_validator(mode="before")
    @classmethod
    def _rename_deadline(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "deadline" in given and "total_timeout" not in given:
            given = {**given, "total_timeout": given["deadline"]}
            del given["deadline"]
        return given

    @field_validator("job_store")
    @classmethod
    def _adapt_store(cls, store: JobStore | ByteStore) -> JobStore:
        return as_job_store(store)

    @field_validator("save_to")
    @classmethod
    def _resolve_directory(cls, directory: Path | None) -> Path | None:
        if "\0" in str(directory):
            raise ValueError("save_to holds a NUL character, which no path may")
        return directory and absolute(directory)

    @field_validator("poll_interval")
    @classmethod
    def _check_poll_interval(cls, interval: Any) -> Any:
        if isinstance(interval, float) and not 0.0 < interval < math.inf:
            raise ValueError(f"poll_interval is {interval}; allowed: seconds above 0, a function")
        return interval

    @model_validator(mode="after")
    def _check_defaults(self) -> Self:
        unknown = set(self.allowed_models) - set(contract.IMAGE_MODELS)
        if unknown or not self.allowed_models:
            allowed = ", ".join(contract.IMAGE_MODELS)
            raise ValueError(f"allowed_models is {self.allowed_models}; allowed: {allowed}")
        given = self._defaults()
        if "model" not in self.model_fields_set and self.model not in self.allowed_models:
            given["model"] = self.allowed_models[0]
        try:
            schema = arguments_schema(self.allowed_models)
            checked = validate_arguments({"prompt": "a prompt", **given}, schema)
        except ImageRequestError as error:
            raise ValueError(str(error)) from None
        # Past the validation that this is part of.
        self.__dict__.update({name: checked[name] for name in DEFAULTS})
        self.__dict__["args_schema"] = self._schema()
        _BUDGETS.add(self)
        return self

    def _defaults(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DEFAULTS}

    def _schema(self) -> type[ImageArguments]:
        return arguments_schema(self.allowed_models, **self._defaults())

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an option as the constructor does: checked, and without effect if it is refused."""
        super().__setattr__(name, value)
        if name in DEFAULTS or name == "allowed_models":
            super().__setattr__("args_schema", self._schema())  # so that core derives it anew

    def __getstate__(self) -> dict[Any, Any]:
        """Leave out the schema, a class made at run time."""
        state = super().__getstate__()
        forgotten = {"args_schema", "_tool_call_schema_memo"}  # the latter is core's own memo
        return {
            part: {**fields, **dict.fromkeys(fields.keys() & forgotten)}
            if isinstance(fields, dict)
            else fields
            for part, fields in state.items()
        }

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Make the schema again."""
        super().__setstate__(state)
        self.__dict__["args_schema"] = self._schema()

    @override
    def _parse_input(self, tool_input: Any, tool_call_id: str | None) -> Any:
        with self._error_handling():
            arguments = validate_arguments(to_arguments(tool_input), self._schema())
            return {**arguments, _CALL_ID: tool_call_id}

    @override
    def _run(self, run_manager: CallbackManagerForToolRun | None = None, **arguments: Any) -> Any:
        with self._error_handling():
            return self._execute(self._draw(arguments, run_manager))

    @override
    async def _arun(
        self, run_manager: AsyncCallbackManagerForToolRun | None = None, **arguments: Any
    ) -> Any:
        with self._error_handling():
            return await self._aexecute(self._draw(arguments, run_manager))

    @contextmanager
    def _error_handling(self) -> Iterator[None]:
        """Raise what `handle_tool_error` asks for: the error for a model, or as it is."""
        try:
            yield
        except MiniToolAIError as error:
            raise (format_for_model(error) if self.handle_tool_error else error) from None

    @property
    def images_ordered(self) -> int:
        """The number of images ordered, or perhaps ordered, in the budget's scope."""
        spending = self.spending()
        return spending.images + spending.reserved_images

    def spending(self, scope: str | None = None) -> Spending:
        """Return what was spent and what is reserved, as the job store counts it.

        Args:
            scope: By default the tool's own `budget_scope`.

        Raises:
            ImageRequestError: If the store fails.
        """
        return self._execute(lambda _: self._spending(scope))

    async def aspending(self, scope: str | None = None) -> Spending:
        """Return what was spent and what is reserved: `spending`, with `await`."""
        return await self._aexecute(lambda _: self._spending(scope))

    def _spending(self, scope: str | None) -> Workflow[Spending]:
        return read_spending(scope or self.budget_scope, self._store())

    def _store(self) -> StoreEffects:
        return StoreEffects(cast("JobStore", self.job_store))  # as the validator returned it

    @property
    def recent_images(self) -> tuple[GeneratedImage, ...]:
        """The last 8 images at most, the newest last, with their bytes where it has those."""
        return self._recent_images.all()

    def submit(
        self, prompt: str | Mapping[str, Any], *, call_id: str | None = None, **arguments: Any
    ) -> ImageJob:
        """Order an image and do not wait for it.

        Args:
            prompt: What to draw, or all arguments.
            call_id: An id of your own; ordering again with it and the same arguments gives
                the same job.
            **arguments: The other arguments.

        Raises:
            MiniToolAIError: If there is no job; `maybe_charged` says whether there may be one.
        """
        return self._execute(self._submit(prompt, arguments, call_id))

    async def asubmit(
        self, prompt: str | Mapping[str, Any], *, call_id: str | None = None, **arguments: Any
    ) -> ImageJob:
        """Order an image: `submit`, with `await`."""
        return await self._aexecute(self._submit(prompt, arguments, call_id))

    def wait_for(self, job: ImageJob) -> GeneratedImage:
        """Wait for an ordered image, and download and save it as the options say.

        Raises:
            ImageError: If it can't be had within `total_timeout`.
        """
        return self._execute(lambda clock: self._finish(job, self._context(clock)))

    async def await_for(self, job: ImageJob) -> GeneratedImage:
        """Wait for an ordered image: `wait_for`, with `await`."""
        return await self._aexecute(lambda clock: self._finish(job, self._context(clock)))

    def resume(self, job_id: str | None) -> GeneratedImage:
        """Wait for an image whose job the job store knows.

        Args:
            job_id: As an error or a progress report names it.

        Raises:
            InvalidInputError: If the job store knows no such job.
            ImageError: If the image can't be had within `total_timeout`, or the store fails.
        """
        return self._execute(lambda clock: self._resume(job_id, self._context(clock)))

    async def aresume(self, job_id: str | None) -> GeneratedImage:
        """Wait for an image whose job the job store knows: `resume`, with `await`."""
        return await self._aexecute(lambda clock: self._resume(job_id, self._context(clock)))

    def download(self, image: GeneratedImage) -> GeneratedImage:
        """Download an image with the tool's own proxy, certificates, limits and address checks.

        Returns:
            The same object, which now holds its bytes, for `read` and `save`.

        Raises:
            ImageDownloadError: If it can't be had within `total_timeout`.
        """
        return self._execute(lambda clock: self._download(image, self._context(clock)))

    async def adownload(self, image: GeneratedImage) -> GeneratedImage:
        """Download an image: `download`, with `await`."""
        return await self._aexecute(lambda clock: self._download(image, self._context(clock)))

    def _execute(self, start: Callable[[Clock], Workflow[T]]) -> T:
        client = self._sync_client()
        return client.execute(start(client.clock))

    async def _aexecute(self, start: Callable[[Clock], Workflow[T]]) -> T:
        client = self._async_client()
        return await client.execute(start(client.clock))

    def _submit(
        self, prompt: Any, arguments: Mapping[str, Any], call_id: str | None
    ) -> Callable[[Clock], Workflow[ImageJob]]:
        if not isinstance(call_id, str | None):
            raise InvalidInputError(f"call_id is {clip(repr(call_id), 80)}; allowed: a text")
        given = to_arguments(prompt)
        given = {**given, **arguments} if isinstance(given, Mapping) else given
        given = validate_arguments(given, self._schema())

        def start(clock: Clock) -> Workflow[ImageJob]:
            context = self._context(clock, given, call_id)
            return self._order(given, context, lambda arguments: submit(arguments, context))

        return start

    def _draw(
        self, given: dict[str, Any], run_manager: BaseRunManager | None
    ) -> Callable[[Clock], Workflow[Any]]:
        call_id = given.pop(_CALL_ID, None)

        def start(clock: Clock) -> Workflow[Any]:
            context = self._context(clock, given, call_id, run_manager)

            def draw(arguments: dict[str, Any]) -> Workflow[Any]:
                job = yield from submit(arguments, context)
                image = yield from self._finish(job, context)
                return (yield from tool_output(image, self.show_to_model))

            return self._order(given, context, draw)

        return start

    def _order(
        self,
        given: Mapping[str, Any],
        context: JobContext,
        start: Callable[[dict[str, Any]], Workflow[T]],
    ) -> Workflow[T]:
        """Start a workflow that orders, with all arguments: those given, and the defaults."""
        arguments = {**self._defaults(), **given}
        if context.call_key is not None:
            return start(arguments)
        service = call_key(self.name, self.minitoolai_api_base, arguments)
        return take_up_unfinished(start(arguments), (self.job_store, service), context)

    def _finish(self, job: ImageJob, context: JobContext) -> Workflow[GeneratedImage]:
        ready = yield from wait_until_ready(checked_job(job), context)
        image = yield from download_and_save(ready, context)
        self._recent_images.add(image)
        return image

    def _resume(self, job_id: str | None, context: JobContext) -> Workflow[GeneratedImage]:
        stored = None
        if isinstance(job_id, str) and job_id and job_id.isprintable():
            stored = yield from load_stored(job_key(job_id), context.store)
        if stored is None or stored.job is None:
            shown = clip(repr(job_id), 80)
            raise InvalidInputError(f"job_id is {shown}; allowed: a job that the job store knows")
        return (yield from self._finish(stored.job, context))

    def _download(self, image: GeneratedImage, context: JobContext) -> Workflow[GeneratedImage]:
        if not isinstance(image, GeneratedImage):
            raise InvalidInputError(f"image is {clip(repr(image), 80)}; allowed: a GeneratedImage")
        downloaded = yield from download(image, context)
        self._recent_images.add(downloaded)
        return downloaded

    def _context(
        self,
        clock: Clock,
        given: Mapping[str, Any] | None = None,
        call_id: str | None = None,
        run_manager: BaseRunManager | None = None,
    ) -> JobContext:
        def on_progress(progress: ImageProgress) -> Invoke:
            if progress["stage"] == "submitted":
                record_cost(run_manager)
            return report({**progress, "tool_call_id": call_id or None}, self.on_progress)

        key = None
        if given is not None and call_id:
            key = call_key(call_id, self.minitoolai_api_base, given)
        host = urlsplit(self.minitoolai_api_base).hostname
        return JobContext(
            clock=clock,
            wall_clock=lambda: datetime.now(UTC).timestamp(),
            total_timeout=self.total_timeout,
            store=self._store(),
            on_progress=on_progress,
            call_key=key,
            rate_limit=before_submission(self.save_to, self.rate_limiter),
            budget=_BUDGETS.of(self),
            save_to=self.save_to,
            keep_bytes=self.show_to_model == "data",
            timeout=self.timeout,
            max_retries=self.max_retries,
            loopback=is_loopback(host or ""),
            poll_interval=self.poll_interval,
        )
