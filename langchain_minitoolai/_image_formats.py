"""Bytes that came down: which kind of picture they are, how large, and whether they are whole.

No decoder runs. The type is read from the first bytes, the size from the header, and a picture
that was cut off on its way, or that would unpack to an absurd size, is refused.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from langchain_minitoolai._http.error_mapping import summarize_body
from langchain_minitoolai.errors import PictureError

MAX_BYTES: Final = 16 * 1024 * 1024
"""The most bytes of a picture."""
MAX_SIDE: Final = 16_384
"""The most pixels of a picture's side."""
MAX_PIXELS: Final = 50_000_000
"""The most pixels of a picture; more is a decompression bomb."""

PNG: Final = b"\x89PNG\r\n\x1a\n"
EXTENSIONS: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG markers with a size
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # JPEG markers without a length
_MARKER: Final = 0xFF
_SCAN: Final = 0xDA
_GIF_END, _GIF_FRAME, _GIF_EXTENSION = b";,!"
_BOX_HEAD: Final = 8


class Picture(NamedTuple):
    """What bytes were found to be."""

    mime_type: str
    width: int
    height: int


def inspect(data: bytes) -> Picture:
    """Find out what picture bytes are.

    Raises:
        PictureError: If they are none, are cut short, or would unpack to an absurd size.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(f"the picture has more than {MAX_BYTES} bytes")
    for mime_type, (sniff, measure) in _KINDS.items():
        if sniff(data):
            try:
                width, height = measure(data)
            except (IndexError, struct.error):
                raise PictureError(f"the {mime_type} is cut short") from None
            _check_size(width, height)
            return Picture(mime_type, width, height)
    raise PictureError(_what_else(data))


def _what_else(data: bytes) -> str:
    if not data:
        return "the picture's address gave nothing"
    if data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return f"the picture's address gave a page, not a picture: {summarize_body(data)}"
    return "the picture's address gave bytes that are no PNG, JPEG, WebP, GIF or AVIF"


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise PictureError(f"the picture claims to be {width} x {height} pixels")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise PictureError(f"the picture claims an absurd size, {width} x {height} pixels")


def _unpack(form: str, data: bytes, at: int) -> tuple[int, ...]:
    numbers: tuple[int, ...] = struct.unpack_from(form, data, at)
    return numbers


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Walk through a PNG's chunks, each checked: the name, where its body starts and ends.

    Raises:
        PictureError: If one is damaged, or the file ends before its last chunk.
    """
    at, name = len(PNG), b""
    while name != b"IEND":
        (length,) = _unpack(">I", data, at)
        name, start, end = data[at + 4 : at + 8], at + 8, at + 8 + length
        (crc,) = _unpack(">I", data, end)
        if crc != zlib.crc32(data[at + 4 : end]):
            raise PictureError("the image/png is damaged")
        yield name, start, end
        at = end + 4


def _png(data: bytes) -> tuple[int, int]:
    chunks = list(png_chunks(data))
    names = [name for name, _, _ in chunks]
    if names[0] != b"IHDR" or b"IDAT" not in names:
        raise PictureError("the image/png is damaged")
    width, height = _unpack(">II", data, chunks[0][1])
    return width, height


def _jpeg(data: bytes) -> tuple[int, int]:
    at, size = 2, (0, 0)
    while True:
        while data[at] == _MARKER:
            at += 1
        marker, at = data[at], at + 1
        if marker in _BARE:
            continue
        (length,) = _unpack(">H", data, at)
        if marker == _SCAN:
            break
        if marker in _FRAMES:
            height, width = _unpack(">HH", data, at + 3)
            size = (width, height)
        at += length
        if data[at] != _MARKER:
            raise PictureError("the image/jpeg is damaged")
    # In what follows a scan's header this pair can be nothing but the end of the picture.
    if data.find(b"\xff\xd9", at + length) < 0:
        raise PictureError("the image/jpeg is cut short")
    return size


def _webp(data: bytes) -> tuple[int, int]:
    (length,) = _unpack("<I", data, 4)
    if length + 8 > len(data):
        raise PictureError("the image/webp is cut short")
    kind = data[12:16]
    if kind == b"VP8X":
        flags = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
        return flags[0] + 1, flags[1] + 1
    if kind == b"VP8L":
        (bits,) = _unpack("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = _unpack("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise PictureError("the image/webp is damaged")


def _gif(data: bytes) -> tuple[int, int]:
    width, height, flags = _unpack("<HHB", data, 6)
    at = 13 + _palette(flags)
    while data[at] != _GIF_END:
        if data[at] == _GIF_FRAME:
            left, top, wide, high, flags = _unpack("<HHHHB", data, at + 1)
            _check_size(left + wide, top + high)
            at += 11 + _palette(flags)
        elif data[at] == _GIF_EXTENSION:
            at += 2
        else:
            raise PictureError("the image/gif is damaged")
        while data[at]:
            at += data[at] + 1
        at += 1
    return width, height


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _avif(data: bytes) -> tuple[int, int]:
    at = 0
    boxes: dict[bytes, bytes] = {}
    while at < len(data):
        (length,) = _unpack(">I", data, at)
        name = data[at + 4 : at + 8]
        if length == 1:
            (length,) = _unpack(">Q", data, at + 8)
        length = length or len(data) - at
        if length < _BOX_HEAD or at + length > len(data):
            raise PictureError("the image/avif is cut short")
        boxes.setdefault(name, data[at : at + length])
        at += length
    if b"meta" not in boxes or b"mdat" not in boxes:
        raise PictureError("the image/avif is cut short")
    meta, sizes = boxes[b"meta"], [(0, 0)]
    found = meta.find(b"ispe")
    while found >= 0:
        width, height = _unpack(">II", meta, found + 8)
        sizes.append((width, height))
        found = meta.find(b"ispe", found + 4)
    return max(sizes)


def _is_avif(data: bytes) -> bool:
    if data[4:8] != b"ftyp":
        return False
    length = int.from_bytes(data[:4], "big")
    return any(brand in data[8 : min(length, 64)] for brand in (b"avif", b"avis"))


_KINDS: Final[dict[str, tuple[Callable[[bytes], bool], Callable[[bytes], tuple[int, int]]]]] = {
    "image/png": (lambda data: data.startswith(PNG), _png),
    "image/jpeg": (lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    "image/webp": (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
    "image/gif": (lambda data: data[:6] in (b"GIF87a", b"GIF89a"), _gif),
    "image/avif": (_is_avif, _avif),
}
