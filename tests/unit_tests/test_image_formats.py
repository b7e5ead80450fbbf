"""What bytes are found to be."""

import io
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from langchain_minitoolai import _image_formats
from langchain_minitoolai._image_formats import PNG, Picture, inspect
from langchain_minitoolai.errors import PictureError


def drawn(form: str, size: tuple[int, int] = (67, 45), **how: object) -> bytes:
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

PICTURES = {
    "png": (drawn("PNG"), "image/png"),
    "jpeg": (drawn("JPEG"), "image/jpeg"),
    "progressive jpeg": (drawn("JPEG", progressive=True), "image/jpeg"),
    "lossy webp": (drawn("WEBP"), "image/webp"),
    "lossless webp": (drawn("WEBP", lossless=True), "image/webp"),
    "extended webp": (drawn("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"), "image/webp"),
    "gif": (drawn("GIF"), "image/gif"),
    "animated gif": (
        drawn("GIF", save_all=True, append_images=[Image.new("L", (67, 45))], comment=b"hi"),
        "image/gif",
    ),
    "avif": (AVIF, "image/avif"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_type_and_size_are_read_from_the_bytes(name: str) -> None:
    data, mime_type = PICTURES[name]
    assert inspect(data) == Picture(mime_type, 67, 45)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_an_avif_from_an_encoder_is_read_too() -> None:
    assert inspect(drawn("AVIF")) == Picture("image/avif", 67, 45)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_cut_anywhere_is_refused(name: str) -> None:
    data, _ = PICTURES[name]
    step = max(1, len(data) // 200)
    for cut in range(0, len(data) - 1, step):
        with pytest.raises(PictureError):
            inspect(data[:cut])


@pytest.mark.parametrize("name", PICTURES)
def test_a_gif_or_jpeg_may_have_something_after_its_end(name: str) -> None:
    data, mime_type = PICTURES[name]
    if mime_type != "image/avif":
        assert inspect(data + b"\0\0").mime_type == mime_type


def test_a_damaged_png_is_refused() -> None:
    data = bytearray(PICTURES["png"][0])
    data[60] ^= 0xFF
    with pytest.raises(PictureError, match="damaged"):
        inspect(bytes(data))


def test_a_png_without_picture_data_is_refused() -> None:
    with pytest.raises(PictureError, match="damaged"):
        inspect(PNG + chunk(b"IEND", b""))


@pytest.mark.parametrize(
    ("width", "height"),
    [(0, 10), (10, 0), (65_000, 1), (1, 65_000), (9_000, 9_000), (2**31, 2**31)],
)
def test_a_picture_that_claims_an_absurd_size_is_refused(width: int, height: int) -> None:
    with pytest.raises(PictureError, match="claims"):
        inspect(png_claiming(width, height))


def test_a_gif_whose_frame_is_a_bomb_is_refused() -> None:
    data = bytearray(PICTURES["gif"][0])
    at = data.index(b"\x2c\0\0\0\0")
    data[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(PictureError, match="absurd"):
        inspect(bytes(data))


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><title>Oops</title>", b"\xef\xbb\xbf \n<html><title>Oops</title>"]
)
def test_a_page_is_never_a_picture(page: bytes) -> None:
    with pytest.raises(PictureError, match="a page, not a picture: Oops"):
        inspect(page)


def test_an_svg_is_never_a_picture() -> None:
    with pytest.raises(PictureError):
        inspect(b'<svg xmlns="http://www.w3.org/2000/svg"/>')


def test_nothing_is_never_a_picture() -> None:
    with pytest.raises(PictureError, match="gave nothing"):
        inspect(b"")


def test_more_than_16_mib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_image_formats, "MAX_BYTES", 100)
    with pytest.raises(PictureError, match="more than 100 bytes"):
        inspect(PICTURES["png"][0])


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
def test_what_only_looks_like_a_picture_is_refused(junk: bytes) -> None:
    with pytest.raises(PictureError):
        inspect(junk)


def test_boxes_with_long_or_open_lengths_are_read() -> None:
    meta = AVIF[len(FTYP) : -98]
    long = struct.pack(">I", 1) + b"mdat" + struct.pack(">Q", 20) + b"body"
    assert inspect(FTYP + meta + long).width == 67
    assert inspect(FTYP + meta + struct.pack(">I", 0) + b"mdat" + b"to the end").width == 67


@given(
    st.sampled_from([b"", PNG, b"\xff\xd8\xff", b"RIFF\x10\0\0\0WEBPVP8 ", b"GIF89a", FTYP]),
    st.binary(max_size=200),
)
def test_no_bytes_do_anything_but_be_a_picture_or_be_refused(start: bytes, rest: bytes) -> None:
    with suppress(PictureError):
        assert inspect(start + rest).width > 0
