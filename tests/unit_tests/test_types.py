"""Data types of the image tool."""

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from langchain_minitoolai import errors
from langchain_minitoolai._image_files import read_image_info
from langchain_minitoolai.types import GeneratedImage, ImageJob

ARGUMENTS = {
    "prompt": "a cat",
    "negative_prompt": "",
    "model": "amigo",
    "width": 512,
    "height": 640,
    "steps": 4,
    "cfg_scale": 2.0,
    "scheduler": "LMS",
}
URL = "https://cdn.example.com/a.png"
JOB = ImageJob(
    id="77",
    signature="s3cr3t",
    arguments=ARGUMENTS,
    submitted_at=1.0,
    url=URL,
    seconds=4.25,
    polls=3,
)


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24)).save(out, "PNG")
    return out.getvalue()


def image_of(data: bytes | None = None, **metadata: Any) -> GeneratedImage:
    image = GeneratedImage.from_job(JOB, **metadata)
    if data is not None:
        image.keep(data)
    return image


def test_a_job_goes_through_json_and_pickle_and_shows_no_signature() -> None:
    assert ImageJob.model_validate_json(JOB.model_dump_json()) == JOB
    assert pickle.loads(pickle.dumps(JOB)) == JOB  # noqa: S301 - our own
    assert "s3cr3t" not in f"{JOB}{JOB!r}"


def test_an_artifact_is_plain_json_and_gives_the_image_back() -> None:
    image = image_of(png(), mime_type="image/png", width=32, height=24, bytes=9, sha256="d1")
    artifact = json.loads(json.dumps(image.artifact()))
    assert artifact["bytes"] == 9
    assert (artifact["width"], artifact["height"], artifact["mime_type"]) == (32, 24, "image/png")
    assert artifact["sha256"] == "d1"
    assert artifact["cost_usd"] == 0.0015
    assert "s3cr3t" not in str(artifact)
    assert GeneratedImage.model_validate(artifact).artifact() == artifact


def test_bytes_come_from_memory_or_the_file(tmp_path: Path) -> None:
    image = image_of(png())
    assert image.read() == png()
    path = image.save(tmp_path / "a.png")
    assert image_of(path=str(path)).read() == png()


def test_an_image_that_is_neither_in_memory_nor_saved_names_what_fetches_it() -> None:
    with pytest.raises(errors.ImageDownloadError, match=r"tool\.download\(image\)") as caught:
        image_of().read()
    assert caught.value.job_id == "77"
    with pytest.raises(errors.ImageDownloadError, match="neither in memory nor saved"):
        image_of().save("a.png")


def test_a_file_that_is_no_image_is_not_returned(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"<html>")
    with pytest.raises(errors.ImageDownloadError, match="not an image"):
        image_of(path=str(path)).read()


def test_an_image_saved_in_a_directory_gets_a_name(tmp_path: Path) -> None:
    assert image_of(png()).save(tmp_path) == tmp_path / "a-cat-77.png"
    assert read_image_info((tmp_path / "a-cat-77.png").read_bytes()).width == 32


def test_a_notebook_shows_an_image_from_its_bytes_or_else_from_its_address(tmp_path: Path) -> None:
    bundle = image_of(prompt='a "cat" <b>')._repr_mimebundle_()
    assert bundle["text/html"] == (
        f'<img src="{URL}" alt="a &quot;cat&quot; &lt;b&gt;" width="512" height="640">'
    )
    bundle = image_of(png())._repr_mimebundle_(include=None, exclude=None)
    assert base64.b64decode(bundle["image/png"]) == png()
    gone = image_of(path=str(tmp_path / "gone.png"))._repr_mimebundle_()
    assert gone["text/plain"].endswith("(its file can't be read)")
    assert URL in gone["text/html"]
    assert set(image_of(url="javascript:alert(1)")._repr_mimebundle_()) == {"text/plain"}


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
def test_a_path_that_none_can_be_is_an_error_of_ours(path: str) -> None:
    with pytest.raises(errors.InvalidInputError, match="path is"):
        image_of(png()).save(path)
    with pytest.raises(errors.ImageDownloadError, match="can't be read"):
        image_of(path=path).read()
    assert "can't be read" in image_of(path=path)._repr_mimebundle_()["text/plain"]


def test_a_job_was_submitted_at_some_time() -> None:
    with pytest.raises(ValidationError, match="finite"):
        ImageJob.model_validate({**JOB.model_dump(), "submitted_at": float("nan")})
