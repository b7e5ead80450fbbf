"""Data types of the image tool: a job, its progress, and the generated image."""

import base64
import html
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypedDict

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_minitoolai import contract
from langchain_minitoolai._image_files import atomic_write, file_name, read_image_info
from langchain_minitoolai.errors import ImageDownloadError, InvalidInputError

__all__ = ["GeneratedImage", "ImageJob", "ImageProgress", "ShowToModel", "Stage"]

ShowToModel: TypeAlias = Literal["never", "url", "data"]
Stage: TypeAlias = Literal["submitted", "waiting", "ready", "saved"]


class ImageProgress(TypedDict):
    """Progress of an image, as `on_progress` and the streams report it."""

    stage: Stage
    job_id: str
    tool_call_id: str | None
    seconds: float
    """Since the image was ordered."""
    expected: float | None
    """Seconds such images take, as far as is known."""
    url: str | None
    path: str | None


class ImageJob(BaseModel):
    """A job that was submitted, and paid for.

    As JSON it holds the signature with which any process can fetch the image: keep it as you
    keep a secret. The signature is in no repr.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    signature: str = Field(repr=False)
    arguments: dict[str, Any]
    """The arguments, by the tool's own names."""
    submitted_at: float = Field(allow_inf_nan=False)
    """Time of the submission, in seconds since 1970."""
    call_key: str | None = None
    """The job store's key of the call that ordered it."""
    url: str | None = None
    seconds: float | None = None
    """Seconds that the image took, as far as could be seen."""
    polls: int = 0


class GeneratedImage(BaseModel):
    """An image that was generated."""

    model_config = ConfigDict(populate_by_name=True, extra="ignore")

    id: str
    url: str
    path: str | None = None
    mime_type: str | None = None
    width: int
    height: int
    size: int | None = Field(default=None, alias="bytes")
    sha256: str | None = None
    prompt: str
    negative_prompt: str = ""
    model: str
    steps: int
    cfg_scale: float
    scheduler: str
    seconds: float | None = None
    polls: int = 0
    cost_usd: float = contract.IMAGE_PRICE
    warning: str | None = None
    """The reason why the image could not be downloaded or saved, if so; its URL stands."""

    _data: bytes | None = PrivateAttr(default=None)

    @classmethod
    def from_job(cls, job: ImageJob, **metadata: Any) -> Self:
        """Make the image of a job that is ready."""
        known = {"id": job.id, "url": job.url, "seconds": job.seconds, "polls": job.polls}
        return cls.model_validate({**job.arguments, **known, **metadata})

    def artifact(self) -> dict[str, Any]:
        """Return the plain JSON object that survives a checkpoint; it holds no bytes."""
        return self.model_dump(mode="json", by_alias=True)

    def keep(self, data: bytes) -> None:
        """Keep the bytes in memory; no artifact, copy in JSON or repr holds them."""
        self._data = data

    def read(self) -> bytes:
        """Return the image's bytes, from memory or from the saved file.

        Raises:
            ImageDownloadError: If it is neither in memory nor saved, or the file is no image.
            OSError: If the saved file can't be read.
        """
        if self._data is None:
            if self.path is None:
                raise ImageDownloadError(
                    f"image {self.id} is neither in memory nor saved; "
                    "fetch it with tool.download(image)",
                    job_id=self.id,
                )
            try:
                data = Path(self.path).read_bytes()
            except ValueError as error:  # such as a NUL in the path
                raise ImageDownloadError(f"the saved image can't be read: {error}") from None
            read_image_info(data)
            self._data = data
        return self._data

    def save(self, path: str | Path) -> Path:
        """Save the image atomically.

        Args:
            path: A file, or a directory, where the file is named after prompt and job.

        Raises:
            ImageDownloadError: If it is neither in memory nor saved.
            InvalidInputError: If no path is like that.
            OSError: If it can't be written.
        """
        data, path = self.read(), Path(path)
        try:
            if path.is_dir():
                path /= file_name(self.prompt, self.id, read_image_info(data).mime_type)
            atomic_write(path, data)
        except ValueError as error:  # such as a NUL in the path
            raise InvalidInputError(f"path is {str(path)[:80]!r}: {error}") from None
        return path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Show the image in a notebook: from its bytes, or else from its address."""
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        try:
            data = self.read()
            bundle[read_image_info(data).mime_type] = base64.b64encode(data).decode()
        except (OSError, ImageDownloadError):
            if self.path is not None:
                bundle["text/plain"] += " (its file can't be read)"
            if self.url.startswith(("https://", "http://")):
                # The notebook's own browser fetches it.
                bundle["text/html"] = (
                    f'<img src="{html.escape(self.url)}" alt="{html.escape(self.prompt)}" '
                    f'width="{self.width}" height="{self.height}">'
                )
        return bundle
