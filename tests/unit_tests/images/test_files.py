"""Pictures on disk."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from langchain_minitoolai._image_formats import EXTENSIONS, Picture, inspect
from langchain_minitoolai._images import files
from langchain_minitoolai._images.files import (
    file_name,
    parameters_text,
    place,
    prepared,
    save_picture,
    with_parameters,
    write_whole,
)

PNG = Picture("image/png", 32, 24)
FACTS: dict[str, Any] = {
    "id": "12345678",
    "prompt": "A red fox",
    "negative_prompt": "dogs",
    "model": "realvision",
    "width": 512,
    "height": 640,
    "steps": 4,
    "cfg_scale": 2.0,
    "scheduler": "DPM++ SDE",
}


def drawn(form: str = "PNG", **how: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((32, 24), 60).save(out, form, **how)
    return out.getvalue()


def parameters_in(data: bytes) -> object:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.info.get("parameters")


def test_a_file_is_named_after_prompt_and_job() -> None:
    assert file_name("Ein Röter Fuchs!", "123", PNG) == "ein-roter-fuchs-123.png"


@given(st.text(), st.text(), st.sampled_from(list(EXTENSIONS)))
def test_a_name_is_safe_whatever_prompt_and_job_are(prompt: str, job: str, mime_type: str) -> None:
    name = file_name(prompt, job, Picture(mime_type, 1, 1))
    assert name == Path(name).name
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert set("/\\: ").isdisjoint(name)
    assert len(name) < 120


def test_the_parameters_are_in_the_form_that_other_tools_read() -> None:
    assert parameters_text(FACTS) == (
        "A red fox\nNegative prompt: dogs\n"
        "Steps: 4, Sampler: DPM++ SDE, CFG scale: 2, Size: 512x640, Model: realvision"
    )
    assert "Negative" not in parameters_text({**FACTS, "negative_prompt": ""})


@given(st.text().filter(lambda text: "\0" not in text and text.isprintable()))
def test_the_parameters_come_back_out_of_the_png(text: str) -> None:
    data = with_parameters(drawn(), "x" + text)
    assert parameters_in(data) == "x" + text
    assert inspect(data) == PNG


def test_a_nul_and_a_lone_surrogate_do_no_harm() -> None:
    assert parameters_in(with_parameters(drawn(), "a\0b")) == "a b"
    assert parameters_in(with_parameters(drawn(), "a\ud800b")) == "a?b"


def test_parameters_that_the_service_wrote_are_kept() -> None:
    theirs = PngInfo()
    theirs.add_text("parameters", "Seed: 7")
    data = drawn(pnginfo=theirs)
    assert with_parameters(data, "ours") == data


def saved(directory: Path, form: str = "PNG") -> Path:
    data = drawn(form)
    picture = inspect(data)
    path = place(directory, picture, FACTS)
    save_picture(path, prepared(data, picture, FACTS), FACTS)
    return path


def test_a_png_is_saved_with_its_parameters_and_a_sidecar(tmp_path: Path) -> None:
    path = saved(tmp_path / "new" / "folder")
    assert path.is_absolute()
    assert parameters_in(path.read_bytes()) == parameters_text(FACTS)
    assert json.loads(path.with_suffix(".json").read_text("utf-8")) == FACTS
    assert len(list(path.parent.iterdir())) == 2


def test_another_format_is_saved_as_it_came(tmp_path: Path) -> None:
    data = drawn("JPEG")
    assert prepared(data, inspect(data), FACTS) == data
    assert saved(tmp_path, "JPEG").suffix == ".jpg"


def test_saving_twice_leaves_one_file(tmp_path: Path) -> None:
    assert saved(tmp_path) == saved(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    files._sync_directory(tmp_path)
