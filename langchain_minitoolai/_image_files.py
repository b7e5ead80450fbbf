"""Image files: type and size from their bytes, safe names, atomic writes.

No decoder runs. The type comes from the first bytes and the size from the header; an image that
is cut short, or that claims an absurd size, is refused. `_FORMATS` lists the formats of images
from the service; those that a prompt may hold are `contract.INPUT_IMAGE_TYPES` and `_SIGNATURES` in
`_chat/content.py`.
"""

import os
import re
import secrets
import struct
import unicodedata
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from langchain_minitoolai._redaction import tidy
from langchain_minitoolai.errors import ImageDownloadError

MAX_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of an image."""
MAX_SIDE: Final = 16_384
"""The most pixels of an image's side."""
MAX_PIXELS: Final = 50_000_000
"""The most pixels of an image; more is a decompression bomb."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_TITLE: Final = re.compile(r"(?is)<title[^>]*>\s*([^<]+)")
_JPEG_SIZED: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN: Final = 0xDA
_GIF_TRAILER, _GIF_FRAME, _GIF_EXTENSION = b";,!"
_MAX_NAME: Final = 48


class ImageInfo(NamedTuple):
    """The type and the size, in pixels, of an image."""

    mime_type: str
    width: int
    height: int


def read_image_info(data: bytes) -> ImageInfo:
    """Read an image's type and size from its bytes.

    Raises:
        ImageDownloadError: If they are no image, are cut short, or would unpack to an absurd size.
    """
    if len(data) > MAX_BYTES:
        raise ImageDownloadError(f"the image has more than {MAX_BYTES} bytes")
    for mime_type, (_, is_type, read_size) in _FORMATS.items():
        if is_type(data):
            try:
                width, height = read_size(data)
            except (IndexError, struct.error):
                raise ImageDownloadError(f"the {mime_type} is cut short") from None
            _check_size(width, height)
            return ImageInfo(mime_type, width, height)
    raise ImageDownloadError(_describe_other(data))


def _describe_other(data: bytes) -> str:
    if not data:
        return "the image's address gave nothing"
    text = data[:4096].decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text.startswith("<"):
        title = _TITLE.search(text)
        return tidy(f"the image's address gave a page, not an image: {title[1] if title else text}")
    return "the image's address gave bytes that are no PNG, JPEG, WebP, GIF or AVIF"


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise ImageDownloadError(f"the image claims to be {width} x {height} pixels")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageDownloadError(f"the image claims an absurd size, {width} x {height} pixels")


def _unpack(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    numbers: tuple[int, ...] = struct.unpack_from(layout, data, at)
    return numbers


def _png_size(data: bytes) -> tuple[int, int]:
    at, names = len(_PNG), [b""]
    while names[-1] != b"IEND":
        (length,) = _unpack(">I", data, at)
        end = at + 8 + length
        if _unpack(">I", data, end) != (zlib.crc32(data[at + 4 : end]),):
            raise ImageDownloadError("the image/png is damaged")
        names.append(data[at + 4 : at + 8])
        at = end + 4
    if names[1] != b"IHDR" or b"IDAT" not in names:
        raise ImageDownloadError("the image/png is damaged")
    width, height = _unpack(">II", data, len(_PNG) + 8)
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at, size, marker = 2, (0, 0), 0
    while marker != _JPEG_SCAN:
        if data[at] != 0xFF:
            raise ImageDownloadError("the image/jpeg is damaged")
        marker, at = data[at + 1], at + 2
        if marker == 0xFF:
            at -= 1  # a fill byte
        elif marker not in _JPEG_WITHOUT_LENGTH:
            if marker in _JPEG_SIZED:
                height, width = _unpack(">HH", data, at + 3)
                size = (width, height)
            at += _unpack(">H", data, at)[0]
    if data.find(b"\xff\xd9", at) < 0:
        raise ImageDownloadError("the image/jpeg is cut short")
    return size


def _webp_size(data: bytes) -> tuple[int, int]:
    if _unpack("<I", data, 4)[0] + 8 > len(data):
        raise ImageDownloadError("the image/webp is cut short")
    kind = data[12:16]
    if kind == b"VP8X":
        low, high = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
        return low + 1, high + 1
    if kind == b"VP8L":
        (bits,) = _unpack("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = _unpack("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ImageDownloadError("the image/webp is damaged")


def _gif_size(data: bytes) -> tuple[int, int]:
    width, height, flags = _unpack("<HHB", data, 6)
    at = 13 + _gif_palette_bytes(flags)
    while data[at] != _GIF_TRAILER:
        if data[at] == _GIF_FRAME:
            left, top, frame_width, frame_height, flags = _unpack("<HHHHB", data, at + 1)
            _check_size(left + frame_width, top + frame_height)
            at += 11 + _gif_palette_bytes(flags)
        elif data[at] == _GIF_EXTENSION:
            at += 2
        else:
            raise ImageDownloadError("the image/gif is damaged")
        while data[at]:
            at += data[at] + 1
        at += 1
    return width, height


def _gif_palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _avif_size(data: bytes) -> tuple[int, int]:
    at, boxes = 0, {b"meta": b"", b"mdat": b""}
    while at < len(data):
        (length,) = _unpack(">I", data, at)
        if length == 1:
            (length,) = _unpack(">Q", data, at + 8)
        length = length or len(data) - at
        if length < 8 or at + length > len(data):
            raise ImageDownloadError("the image/avif is cut short")
        boxes[data[at + 4 : at + 8]] = data[at : at + length]
        at += length
    if not all(boxes.values()):
        raise ImageDownloadError("the image/avif is cut short")
    found = [match.end() + 4 for match in re.finditer(b"ispe", boxes[b"meta"])]
    width, height = max((_unpack(">II", boxes[b"meta"], start) for start in found), default=(0, 0))
    return width, height


def _is_avif(data: bytes) -> bool:
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 64)]
    return data[4:8] == b"ftyp" and (b"avif" in brands or b"avis" in brands)


_FORMATS: Final[
    dict[str, tuple[str, Callable[[bytes], bool], Callable[[bytes], tuple[int, int]]]]
] = {
    "image/png": ("png", lambda data: data.startswith(_PNG), _png_size),
    "image/jpeg": ("jpg", lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg_size),
    "image/webp": ("webp", lambda data: data[:4] + data[8:12] == b"RIFFWEBP", _webp_size),
    "image/gif": ("gif", lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif_size),
    "image/avif": ("avif", _is_avif, _avif_size),
}
"""By MIME type: the file's extension, the test of the first bytes, the reader of the size."""


def file_name(prompt: str, job_id: str, mime_type: str) -> str:
    """Name an image's file after its prompt and its job, in safe ASCII characters alone."""
    plain = unicodedata.normalize("NFKD", prompt[:400]).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    if len(words) > _MAX_NAME:
        words = words[: _MAX_NAME + 1].rpartition("-")[0] or words[:_MAX_NAME]
    number = re.sub(r"[^A-Za-z0-9]+", "", job_id)[:_MAX_NAME]
    return f"{words or 'image'}-{number or '0'}.{_FORMATS[mime_type][0]}"


def absolute(directory: Path) -> Path:
    """Make a directory's path absolute, where that does not block; expand its `~`."""
    directory = Path(os.path.expanduser(directory))  # noqa: PTH111 - it does not raise
    try:
        return Path(os.path.abspath(directory))  # noqa: PTH100 - it follows no links
    except Exception:  # noqa: BLE001 - LangGraph refuses this on its event loop
        return directory


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that no reader, and no crash, ever meets half of it.

    Raises:
        OSError: If it can't be written; the old file, if any, then stays.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make a rename durable, where the system lets a directory be synced."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
