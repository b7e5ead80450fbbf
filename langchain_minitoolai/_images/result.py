"""What drawing gives: the job while it is drawn, the picture afterwards, and what a model reads."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from langchain_minitoolai import contract
from langchain_minitoolai._image_formats import Picture, inspect
from langchain_minitoolai._images.files import file_name, write_whole
from langchain_minitoolai.errors import PictureError

ShowToModel = Literal["never", "url", "data"]
Stage = Literal["submitted", "waiting", "ready", "saved"]


class ImageProgress(TypedDict):
    """How far a picture is, as `on_progress` and the streams tell it."""

    stage: Stage
    job: str
    """The job's id."""
    tool_call_id: str | None
    seconds: float
    """Since the picture was ordered."""
    expected: float | None
    """Seconds such pictures take, as far as is known."""
    url: str | None
    path: str | None


class ImageJob(BaseModel):
    """A picture that was ordered, and paid for.

    As JSON it holds the signature with which any process can fetch the picture: keep it as
    you keep a secret. The signature is in no repr.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    signature: str = Field(repr=False)
    arguments: dict[str, Any]
    """What was asked for, by the tool's own names."""
    submitted_at: float
    """When, in seconds since 1970."""
    call: str | None = None
    """Under which key of the job store the call that ordered it is known."""
    url: str | None = None
    seconds: float | None = None
    """How long the picture took, as far as could be seen."""
    polls: int = 0


class GeneratedImage(BaseModel):
    """A picture that was drawn."""

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
    """Why the picture could not be fetched or saved, if so; its address stands."""

    _data: bytes | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, job: ImageJob, **facts: Any) -> "GeneratedImage":
        """Make the picture of a job that is ready."""
        told = {"id": job.id, "url": job.url, "seconds": job.seconds, "polls": job.polls}
        return cls.model_validate({**job.arguments, **told, **facts})

    def artifact(self) -> dict[str, Any]:
        """Give the plain JSON object that survives a checkpoint; it holds no bytes."""
        return self.model_dump(mode="json", by_alias=True)

    def keep(self, data: bytes) -> None:
        """Keep the bytes in memory; they are in no artifact."""
        self._data = data

    def read(self) -> bytes:
        """Give the picture's bytes: from memory, the saved file, or the address.

        Raises:
            PictureError: If the address gives no picture.
            OSError: If the saved file can't be read.
        """
        if self._data is None:
            if self.path is None:
                raise PictureError("the image is neither in memory nor saved: tool.download(image)")
            data = Path(self.path).read_bytes()
            inspect(data)
            self._data = data
        return self._data

    def save(self, path: str | Path) -> Path:
        """Save the picture, whole or not at all.

        Args:
            path: A file, or a directory, where it then gets a name of its own.
        """
        data, path = self.read(), Path(path)
        if path.is_dir():
            path /= file_name(self.prompt, self.id, inspect(data))
        write_whole(path, data)
        return path

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Show the picture in a notebook, if that needs no download."""
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        try:
            if self._data is not None or self.path:
                data = self.read()
                kind = inspect(data).mime_type
                bundle[kind] = base64.b64encode(data).decode()
        except (OSError, PictureError):
            bundle["text/plain"] += " (its file can't be read)"
        return bundle


def facts_of(data: bytes, picture: Picture, digest: str) -> dict[str, Any]:
    """Give what is known of a picture once its bytes are here."""
    known = {"mime_type": picture.mime_type, "width": picture.width, "height": picture.height}
    return {**known, "bytes": len(data), "sha256": digest}


def content_of(image: GeneratedImage, show: ShowToModel) -> str | list[dict[str, Any]]:
    """Give what the model reads: a text, and the picture where it is to look at it."""
    text = _text(image)
    if show == "url":
        return [{"type": "text", "text": text}, _block(image, {"url": image.url})]
    if show == "data" and image.mime_type:
        data = base64.b64encode(image.read()).decode()
        return [{"type": "text", "text": text}, _block(image, {"base64": data})]
    return text


def _block(image: GeneratedImage, source: Mapping[str, Any]) -> dict[str, Any]:
    kind = {"mime_type": image.mime_type} if image.mime_type else {}
    return {"type": "image", **source, **kind}


def _text(image: GeneratedImage) -> str:
    took = f" in {image.seconds:.1f} s" if image.seconds else ""
    what = f"{image.width}x{image.height}, {image.model}{took}, ${image.cost_usd:g}"
    lines = [f"Picture {image.id} is drawn: {what}.", f"Address: {image.url}"]
    if image.path:
        lines.append(f"Saved as: {image.path}")
    if image.warning:
        lines.append(f"Note: {image.warning}. It is paid for; use the address.")
    return "\n".join(lines)
