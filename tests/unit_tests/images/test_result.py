"""What drawing gives."""

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from langchain_minitoolai import errors
from langchain_minitoolai._image_formats import inspect
from langchain_minitoolai._images import download
from langchain_minitoolai._images.result import GeneratedImage, ImageJob, content_of, facts_of

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


def picture(**facts: Any) -> GeneratedImage:
    return GeneratedImage.of(JOB, **facts)


def test_a_job_goes_through_json_and_pickle_and_shows_no_signature() -> None:
    assert ImageJob.model_validate_json(JOB.model_dump_json()) == JOB
    assert pickle.loads(pickle.dumps(JOB)) == JOB  # noqa: S301 - our own
    assert "s3cr3t" not in f"{JOB}{JOB!r}"


def test_an_artifact_is_plain_json_and_gives_the_picture_back() -> None:
    data = png()
    image = picture(**facts_of(data, inspect(data), "d1"))
    image.keep(data)
    artifact = json.loads(json.dumps(image.artifact()))
    assert artifact["bytes"] == len(data)
    assert (artifact["width"], artifact["height"], artifact["mime_type"]) == (32, 24, "image/png")
    assert artifact["sha256"] == "d1"
    assert artifact["cost_usd"] == 0.0015
    assert "s3cr3t" not in str(artifact)
    assert GeneratedImage.model_validate(artifact).artifact() == artifact


def test_bytes_come_from_memory_the_file_or_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = png()
    kept = picture()
    kept.keep(data)
    assert kept.read() == data
    path = kept.save(tmp_path / "a.png")
    assert picture(path=str(path)).read() == data
    monkeypatch.setattr(download, "fetch", lambda address: data if address == URL else b"")
    assert picture().read() == data


def test_what_is_no_picture_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "fetch", lambda _: b"<html>")
    with pytest.raises(errors.PictureError):
        picture().read()


def test_a_picture_saved_in_a_directory_gets_a_name(tmp_path: Path) -> None:
    image = picture()
    image.keep(png())
    assert image.save(tmp_path) == tmp_path / "a-cat-77.png"
    assert inspect((tmp_path / "a-cat-77.png").read_bytes()).width == 32


def test_a_notebook_shows_what_needs_no_download(tmp_path: Path) -> None:
    assert set(picture()._repr_mimebundle_()) == {"text/plain"}
    image = picture()
    image.keep(png())
    bundle = image._repr_mimebundle_(include=None, exclude=None)
    assert base64.b64decode(bundle["image/png"]) == png()
    gone = picture(path=str(tmp_path / "gone.png"))._repr_mimebundle_()
    assert gone["text/plain"].endswith("(its file can't be read)")


def test_the_model_reads_what_it_needs() -> None:
    text = content_of(picture(), "never")
    assert text == "Picture 77 is drawn: 512x640, amigo in 4.2 s, $0.0015.\nAddress: " + URL
    text = content_of(picture(path="/x/a.png", warning="it is late", seconds=None), "never")
    assert "Saved as: /x/a.png" in text
    assert "Note: it is late. It is paid for; use the address." in text


def test_the_model_is_shown_the_picture_as_a_block() -> None:
    shown = content_of(picture(), "url")
    assert shown[1] == {"type": "image", "url": URL}
    data = png()
    image = picture(**facts_of(data, inspect(data), "d1"))
    image.keep(data)
    shown = content_of(image, "data")
    encoded = base64.b64encode(data).decode()
    assert shown[1] == {"type": "image", "base64": encoded, "mime_type": "image/png"}


def test_a_picture_that_could_not_be_fetched_is_told_of_in_words() -> None:
    assert isinstance(content_of(picture(warning="it is late"), "data"), str)
