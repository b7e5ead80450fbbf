"""Output of an image job: its progress, the image downloaded and saved, the text for a model."""

import base64
import hashlib
import inspect
import json
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, TypeAlias, TypeVar

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import ToolException

from langchain_minitoolai import contract
from langchain_minitoolai._http.client import run_awaitable
from langchain_minitoolai._http.effects import Invoke, Workflow
from langchain_minitoolai._image_files import (
    MAX_BYTES,
    atomic_write,
    file_name,
    read_image_info,
)
from langchain_minitoolai._images.arguments import MAX_TEXT, clip
from langchain_minitoolai._images.download import fetch_image
from langchain_minitoolai._images.polling import Schedule, wait_until_ready
from langchain_minitoolai._images.submission import JobContext
from langchain_minitoolai._redaction import safe_warn, tidy
from langchain_minitoolai.errors import ImageDownloadError, ImageRequestError, MiniToolAIError
from langchain_minitoolai.types import GeneratedImage, ImageJob, ImageProgress, ShowToModel

T = TypeVar("T")

EVENT: Final = "minitoolai_image"
"""The custom event's name in `astream_events`."""

OnProgress: TypeAlias = Callable[[ImageProgress], Awaitable[None] | None]
EXPIRED_STATUS: Final = (403, 404, 410)
"""The statuses of an address after which the job is asked for another, once."""


def download_and_save(job: ImageJob, context: JobContext) -> Workflow[GeneratedImage]:
    """Download and save a ready job's image, as far as the context asks for that.

    Returns:
        The image; where it could not be downloaded or saved, with a `warning`.
    """
    image = GeneratedImage.from_job(job)
    if context.save_to is None and not context.keep_bytes:
        return image
    try:
        image = yield from _download_current(image, job, context)
        if context.save_to is not None:
            directory = context.save_to
            image = yield _in_thread(lambda: save_image(image, directory))
            yield context.report("saved", job, path=image.path)
    except ImageDownloadError as error:
        image.warning = str(error)
    except OSError as error:
        image.warning = tidy(f"the image can't be saved: {_describe_error(error)}")
    except Exception as error:  # noqa: BLE001 - what was paid for is never thrown away
        image.warning = tidy(f"the image can't be had: {_describe_error(error)}")
    return image


def _download_current(
    image: GeneratedImage, job: ImageJob, context: JobContext
) -> Workflow[GeneratedImage]:
    """Download an image; where its address has expired, from the one that its job now names."""
    try:
        return (yield from download(image, context))
    except ImageDownloadError as caught:
        if caught.status_code not in EXPIRED_STATUS:
            raise
        error = caught
    expired = job.model_copy(update={"url": None})
    try:
        renewed = yield from wait_until_ready(expired, context, Schedule())
    except MiniToolAIError:
        raise error from None
    if renewed.url == image.url:
        raise error
    return (yield from download(GeneratedImage.from_job(renewed), context))


def download(image: GeneratedImage, context: JobContext) -> Workflow[GeneratedImage]:
    """Download an image's bytes, check them, and keep them in memory.

    Returns:
        The same object.

    Raises:
        ImageDownloadError: If they can't be had by the deadline, or are no image.
    """
    data = yield from fetch_image(
        image.url, loopback=context.loopback, clock=context.clock, deadline=context.deadline
    )
    metadata = yield _in_thread(lambda: image_metadata(data))
    for name, value in metadata.items():
        setattr(image, name, value)
    image.keep(data)
    return image


def image_metadata(data: bytes) -> dict[str, Any]:
    """Read the metadata of an image from its bytes.

    Raises:
        ImageDownloadError: If they are no image.
    """
    info = read_image_info(data)
    return {**info._asdict(), "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def save_image(image: GeneratedImage, directory: Path) -> GeneratedImage:
    """Save an image, and beside it its artifact as JSON, each atomically.

    Args:
        image: It has its bytes in memory.
        directory: Where to; it is made if it is not there.

    Returns:
        The image with its path.

    Raises:
        OSError: If it can't be written.
    """
    path = directory.absolute() / file_name(image.prompt, image.id, str(image.mime_type))
    saved = image.model_copy(update={"path": str(path)})
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, saved.read())
    sidecar = json.dumps(saved.artifact(), indent=2, ensure_ascii=False)
    atomic_write(path.with_suffix(".json"), sidecar.encode("utf-8", "replace"))
    return saved


def before_submission(save_to: Path | None, limiter: BaseRateLimiter | None) -> Invoke:
    """Build the effect that comes before an image is paid for: directory, and rate limit.

    Its errors:
        ImageRequestError: If nothing can be saved in the directory, or the limiter fails.
    """

    def run() -> None:
        if save_to is not None:
            check_directory(save_to)
        with _limiter_errors():
            _ = limiter and limiter.acquire()

    async def arun() -> None:
        if save_to is not None:
            await run_in_executor(None, check_directory, save_to)
        with _limiter_errors():
            _ = limiter and await limiter.aacquire()

    return Invoke(run, arun)


@contextmanager
def _limiter_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - a user's limiter
        raise _unsent_error(f"The rate_limiter failed ({_describe_error(error)}).") from None


def check_directory(directory: Path) -> None:
    """Check that images can be saved in a directory, which is made if it is not there.

    Raises:
        ImageRequestError: If they can't.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except (OSError, ValueError) as error:
        where = clip(repr(str(directory)), 100)
        raise _unsent_error(
            f"save_to is {where}, where no file can be written ({_describe_error(error)})."
        ) from None


def _unsent_error(reason: str) -> ImageRequestError:
    return ImageRequestError(f"{reason} Nothing was sent or charged.", retry_safe=True)


def _describe_error(error: Exception) -> str:
    text = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return tidy(text)


def _in_thread(work: Callable[[], T]) -> Invoke:
    """Build the effect of work that takes long; in async calls it runs off the event loop."""

    async def arun() -> T:
        return await run_in_executor(None, work)

    return Invoke(work, arun)


class RecentImages:
    """The last few images of a tool, with the bytes that they have in memory; thread-safe.

    They stay here: a copy or a pickle starts with none.
    """

    MOST = 8
    MOST_BYTES = 2 * MAX_BYTES

    def __init__(self) -> None:
        """Start with none."""
        self._images: list[GeneratedImage] = []
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["RecentImages"], tuple[()]]:
        """Leave the images out of copies and pickles."""
        return (RecentImages, ())

    def add(self, image: GeneratedImage) -> None:
        """Add an image; of those that are one too many, the oldest go."""
        with self._lock:
            kept = [*(each for each in self._images if each.id != image.id), image][-self.MOST :]
            while len(kept) > 1 and sum(each.size or 0 for each in kept) > self.MOST_BYTES:
                del kept[0]
            self._images = kept

    def all(self) -> tuple[GeneratedImage, ...]:
        """Return the images, the newest last."""
        return tuple(self._images)


def report(progress: ImageProgress, on_progress: OnProgress | None) -> Invoke:
    """Build the effect that reports progress; no failure of a channel reaches the job."""

    def run() -> None:
        answer = _call(on_progress, progress)
        if inspect.isawaitable(answer):
            try:
                run_awaitable(answer)
            except Exception as error:  # noqa: BLE001 - a user's callback
                _warn_of(error)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            dispatch_custom_event(EVENT, dict(progress))

    async def arun() -> None:
        answer = _call(on_progress, progress)
        if inspect.isawaitable(answer):
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - a user's callback
                _warn_of(error)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            await adispatch_custom_event(EVENT, dict(progress))

    return Invoke(run, arun)


def record_cost(run_manager: BaseRunManager | None) -> None:
    """Record an image's price on the traced run, where LangSmith reads it."""
    run_id = getattr(run_manager, "run_id", None)
    for handler in getattr(run_manager, "handlers", ()):
        runs = getattr(handler, "run_map", None)
        run = runs.get(str(run_id)) if isinstance(runs, Mapping) else None
        if run is not None:
            metadata = run.extra.setdefault("metadata", {})
            metadata["total_cost"] = contract.IMAGE_PRICE
            metadata["usage_metadata"] = {"total_cost": contract.IMAGE_PRICE}


def _call(on_progress: OnProgress | None, progress: ImageProgress) -> Any:
    if on_progress is None:
        return None
    try:
        return on_progress(progress)
    except Exception as error:  # noqa: BLE001 - a user's callback
        _warn_of(error)
        return None


def _warn_of(error: Exception) -> None:
    safe_warn(f"on_progress failed ({_describe_error(error)})")


def _stream(progress: ImageProgress) -> None:
    """Write to LangGraph's custom stream, if this is a graph's step."""
    if "langgraph" not in sys.modules:
        return
    with suppress(Exception):  # outside a graph there is no writer
        from langgraph.config import get_stream_writer  # noqa: PLC0415 - it need not be installed

        get_stream_writer()({"type": EVENT, **progress})


def tool_output(
    image: GeneratedImage, show: ShowToModel
) -> Workflow[tuple[str | list[dict[str, Any]], dict[str, Any]]]:
    """Build what the tool returns: the content for a model, and the artifact for the program."""
    if show == "data":  # encoding takes long
        return (yield _in_thread(lambda: tool_content(image, show))), image.artifact()
    return tool_content(image, show), image.artifact()


def tool_content(image: GeneratedImage, show: ShowToModel) -> str | list[dict[str, Any]]:
    """Build what the model reads: a text, and the image where it is to see it."""
    text = _describe(image)
    if show == "url":
        return [{"type": "text", "text": text}, _image_block(image, {"url": image.url})]
    if show == "data" and image.mime_type:
        data = base64.b64encode(image.read()).decode()
        return [{"type": "text", "text": text}, _image_block(image, {"base64": data})]
    return text


def _image_block(image: GeneratedImage, source: Mapping[str, Any]) -> dict[str, Any]:
    mime_type = {"mime_type": image.mime_type} if image.mime_type else {}
    return {"type": "image", **source, **mime_type}


def _describe(image: GeneratedImage) -> str:
    took = f" in {image.seconds:.1f} s" if image.seconds else ""
    what = f"{image.width}x{image.height}, {image.model}{took}, ${image.cost_usd:g}"
    lines = [f"Image {image.id} is ready: {what}.", f"Address: {image.url}"]
    if image.path:
        lines.append(f"Saved as: {image.path}")
    if image.warning:
        lines.append(f"Note: {image.warning}. It is paid for; use the address.")
    return "\n".join(lines)


class ImageToolError(ToolException):
    """Raised where a tool's errors are handled; its text is for a model.

    Attributes:
        error: The error itself.
    """

    def __init__(self, text: str, error: MiniToolAIError) -> None:
        """Keep both."""
        super().__init__(text)
        self.error = error

    def __reduce__(self) -> tuple[type["ImageToolError"], tuple[str, MiniToolAIError]]:
        """Survive pickling."""
        return (type(self), (str(self), self.error))


def format_for_model(error: MiniToolAIError) -> ImageToolError:
    """Put an error into at most 400 characters: what to do, and whether it cost anything."""
    text, ends = str(error), [error.hint]
    if "charged" not in text:
        ends.append("It may have been charged." if error.maybe_charged else "Nothing was charged.")
    end = " ".join(each for each in ends if each)
    text = text if text.endswith((".", "!", "?", "…")) else f"{text}."
    return ImageToolError(f"{clip(text, MAX_TEXT - len(end) - 1)} {end}".strip(), error)
