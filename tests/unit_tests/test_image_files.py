"""Image files."""

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from langchain_minitoolai import _image_files
from langchain_minitoolai._image_files import (
    ImageInfo,
    absolute,
    atomic_write,
    file_name,
    read_image_info,
)
from langchain_minitoolai.errors import ImageDownloadError

PNG = b"\x89PNG\r\n\x1a\n"


def encoded(form: str, size: tuple[int, int] = (67, 45), **how: object) -> bytes:
    image = Image.effect_noise(size, 60).convert("RGB")
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_claiming(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return PNG + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


FTYP = box(b"ftyp", b"avif\0\0\0\0avifmif1")
ISPE = box(b"ispe", struct.pack(">III", 0, 67, 45))
AVIF = FTYP + box(b"meta", b"\0\0\0\0" + box(b"iprp", box(b"ipco", ISPE))) + box(b"mdat", b"x" * 90)

IMAGES = {
    "png": (encoded("PNG"), "image/png"),
    "jpeg": (encoded("JPEG"), "image/jpeg"),
    "progressive jpeg": (encoded("JPEG", progressive=True), "image/jpeg"),
    "lossy webp": (encoded("WEBP"), "image/webp"),
    "lossless webp": (encoded("WEBP", lossless=True), "image/webp"),
    "extended webp": (encoded("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), "image/webp"),
    "gif": (encoded("GIF"), "image/gif"),
    "animated gif": (
        encoded("GIF", save_all=True, append_images=[Image.new("L", (67, 45))], comment=b"hi"),
        "image/gif",
    ),
    "avif": (AVIF, "image/avif"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_type_and_size_are_read_from_the_bytes(name: str) -> None:
    data, mime_type = IMAGES[name]
    assert read_image_info(data) == ImageInfo(mime_type, 67, 45)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_an_avif_from_an_encoder_is_read_too() -> None:
    assert read_image_info(encoded("AVIF")) == ImageInfo("image/avif", 67, 45)


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_cut_anywhere_is_refused(name: str) -> None:
    data, _ = IMAGES[name]
    step = max(1, len(data) // 200)
    for cut in range(0, len(data) - 1, step):
        with pytest.raises(ImageDownloadError):
            read_image_info(data[:cut])


@pytest.mark.parametrize("name", IMAGES)
def test_a_gif_or_jpeg_may_have_something_after_its_end(name: str) -> None:
    data, mime_type = IMAGES[name]
    if mime_type != "image/avif":
        assert read_image_info(data + b"\0\0").mime_type == mime_type


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(IMAGES["png"][0])
    data[60] ^= 0xFF
    with pytest.raises(ImageDownloadError, match="damaged"):
        read_image_info(bytes(data))


def test_a_jpeg_may_have_fill_bytes_before_a_marker() -> None:
    data = IMAGES["jpeg"][0]
    assert read_image_info(data[:2] + b"\xff\xff" + data[2:]).width == 67


def test_a_png_without_image_data_is_refused() -> None:
    with pytest.raises(ImageDownloadError, match="damaged"):
        read_image_info(PNG + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("width", "height"),
    [(0, 10), (10, 0), (65_000, 1), (1, 65_000), (9_000, 9_000), (2**31, 2**31)],
)
def test_an_image_that_claims_an_absurd_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(ImageDownloadError, match="claims"):
        read_image_info(png_claiming(width, height))


def test_a_gif_whose_frame_is_a_bomb_is_refused() -> None:
    data = bytearray(IMAGES["gif"][0])
    at = data.index(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ImageDownloadError, match="absurd"):
        read_image_info(bytes(data))


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>Oops</title>", b"\xef\xbb\xbf \n<html><title>Oops</title>"]
)
def test_a_page_is_never_an_image(page: bytes) -> None:
    with pytest.raises(ImageDownloadError, match="a page, not an image: Oops"):
        read_image_info(page)


def test_an_svg_is_never_an_image() -> None:
    with pytest.raises(ImageDownloadError):
        read_image_info(b'<svg xmlns="http://www.w3.org/2000/svg"/>')


def test_nothing_is_never_an_image() -> None:
    with pytest.raises(ImageDownloadError, match="gave nothing"):
        read_image_info(b"")


def test_more_than_16_mib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_files, "MAX_BYTES", 100)
    with pytest.raises(ImageDownloadError, match="more than 100 bytes"):
        read_image_info(IMAGES["png"][0])


@pytest.mark.parametrize(
    "junk",
    [
        b"RIFF\x04\0\0\0WEBPABCD" + bytes(30),
        b"\xff\xd8\xff\xda\x00\x04\x00\x00\x01\x02\x03",
        b"GIF89a" + bytes(7) + b"\x99",
        b"\xff\xd8\xff\xe0\x00\x02\x00\x00",
        b"\xff\xd8\xff\xd0\xff\x01\xff\xe0\x00\x02\x00\x00",
        FTYP + box(b"mdat", b""),
        FTYP + box(b"meta", b""),
        FTYP + struct.pack(">I", 3) + b"mdat",
        FTYP + box(b"meta", b"") + box(b"mdat", b""),
        box(b"ftyp", b"mp42"),
        b"{}",
    ],
)
def test_what_only_looks_like_an_image_is_refused(junk: bytes) -> None:
    with pytest.raises(ImageDownloadError):
        read_image_info(junk)


def test_boxes_with_long_or_open_lengths_are_read() -> None:
    meta = AVIF[len(FTYP) : -98]
    long = struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 20) + b"body"
    assert read_image_info(FTYP + meta + long).width == 67
    assert read_image_info(FTYP + meta + struct.pack(">I", 0) + b"mdat" + b"to the end").width == 67


@given(
    st.sampled_from([b"", PNG, b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBPVP8 ", b"GIF89a", FTYP]),
    st.binary(max_size=200),
)
def test_no_bytes_do_anything_but_be_an_image_or_be_refused(start: bytes, rest: bytes) -> None:
    with suppress(ImageDownloadError):
        assert read_image_info(start + rest).width > 0


def test_a_file_is_named_after_prompt_and_job() -> None:
    assert file_name("Ein Röter Fuchs!", "123", "image/png") == "ein-roter-fuchs-123.png"


def test_a_long_name_ends_at_a_word() -> None:
    assert file_name("a fox " * 20, "1", "image/gif") == f"{'-'.join(['a-fox'] * 8)}-1.gif"
    assert file_name("x" * 100, "1", "image/gif") == f"{'x' * 48}-1.gif"


@given(st.text(), st.text(), st.sampled_from(list(_image_files._FORMATS)))
def test_a_name_is_safe_whatever_prompt_and_job_are(
    prompt: str, job_id: str, mime_type: str
) -> None:
    name = file_name(prompt, job_id, mime_type)
    assert name == Path(name).name
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert set("/\\: ").isdisjoint(name)
    assert len(name) < 120


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    atomic_write(path, b"old")

    def full(handle: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_is_made_absolute_where_that_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute(Path("a/../b")) == tmp_path / "b"
    assert absolute(Path("~/b")) == Path("/home/me/b")

    def refused() -> str:
        raise RuntimeError("Blocking call to os.getcwd")

    monkeypatch.setattr(os, "getcwd", refused)
    assert absolute(Path("b")) == Path("b")
    assert absolute(Path("/b")) == Path("/b")


def test_a_directory_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refused)
    _image_files._sync_directory(tmp_path)
