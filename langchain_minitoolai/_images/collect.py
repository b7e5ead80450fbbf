"""Fetching a picture that is ready: what was paid for comes back, whatever the fetching does."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from langchain_core.runnables.config import run_in_executor

from langchain_minitoolai._http.effects import Invoke, Workflow
from langchain_minitoolai._image_formats import inspect
from langchain_minitoolai._images.download import download
from langchain_minitoolai._images.files import place, prepared, save_picture
from langchain_minitoolai._images.result import GeneratedImage, ImageJob, facts_of
from langchain_minitoolai._images.submission import Desk
from langchain_minitoolai.errors import PictureError, tidy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to become of a picture.

    Attributes:
        save_to: The directory to save it in.
        keep: Whether its bytes are wanted in memory.
    """

    save_to: Path | None = None
    keep: bool = False


def collect(job: ImageJob, desk: Desk, wish: Wish, until: float) -> Workflow[GeneratedImage]:
    """Fetch and save a job's picture as far as that is wanted.

    Returns:
        The picture; where it could not be fetched or saved, with a `warning`.
    """
    image = GeneratedImage.of(job)
    if wish.save_to is None and not wish.keep:
        return image
    try:
        data = yield from download(
            image.url, loopback=desk.loopback, clock=desk.clock, deadline=until
        )
        picture = inspect(data)
        image = GeneratedImage.of(job, **facts_of(data, picture, _digest(data)))
        if wish.save_to is not None:
            path = place(wish.save_to, picture, image.artifact())
            data = prepared(data, picture, image.artifact())
            known = facts_of(data, picture, _digest(data))
            saved = GeneratedImage.of(job, **known, path=str(path))
            yield blocking(lambda: save_picture(path, data, saved.artifact()))
            image = saved
            yield desk.tell("saved", job, seconds=job.seconds or 0.0, path=str(path))
        image.keep(data)
    except PictureError as error:
        image.warning = str(error)
    except OSError as error:
        image.warning = tidy(f"the picture can't be saved: {error.strerror or error}")
    return image


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def blocking(work: Callable[[], T]) -> Invoke:
    """Make an action of work that blocks; async, it has a thread of its own."""

    async def arun() -> Any:
        return await run_in_executor(None, work)

    return Invoke(work, arun)
