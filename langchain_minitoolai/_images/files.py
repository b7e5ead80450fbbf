"""Pictures on disk: safe names, whole files or none, and the parameters kept beside them."""

import json
import os
import re
import secrets
import struct
import unicodedata
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from langchain_minitoolai._image_formats import EXTENSIONS, Picture, png_chunks

PNG_TYPE: Final = "image/png"

_IHDR_END: Final = 33
_KEYWORD: Final = b"parameters"
_LONGEST_NAME: Final = 48


def file_name(prompt: str, job: str, picture: Picture) -> str:
    """Name a picture's file after what it shows and its job, in safe characters alone."""
    plain = unicodedata.normalize("NFKD", prompt[:400]).encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:_LONGEST_NAME].rstrip("-")
    number = re.sub(r"[^A-Za-z0-9]+", "", job)[:_LONGEST_NAME]
    return f"{words or 'picture'}-{number or '0'}.{EXTENSIONS[picture.mime_type]}"


def parameters_text(facts: Mapping[str, Any]) -> str:
    """Write a picture's parameters in the form that Automatic1111's readers know."""
    negative = facts.get("negative_prompt")
    lines = [str(facts["prompt"]), *([f"Negative prompt: {negative}"] if negative else [])]
    named = {
        "Steps": facts["steps"],
        "Sampler": facts["scheduler"],
        "CFG scale": f"{facts['cfg_scale']:g}",
        "Size": f"{facts['width']}x{facts['height']}",
        "Model": facts["model"],
    }
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in named.items())])


def with_parameters(png: bytes, text: str) -> bytes:
    """Put a `parameters` text chunk into a PNG that has none of its own."""
    text = text.replace("\0", " ")
    for name, start, _ in png_chunks(png):
        if name in (b"tEXt", b"iTXt", b"zTXt") and png.startswith(_KEYWORD + b"\0", start):
            return png
    try:
        chunk = _chunk(b"tEXt", _KEYWORD + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        words = text.encode("utf-8", "replace")
        chunk = _chunk(b"iTXt", _KEYWORD + b"\0\0\0\0\0" + words)
    return png[:_IHDR_END] + chunk + png[_IHDR_END:]


def prepared(data: bytes, picture: Picture, facts: Mapping[str, Any]) -> bytes:
    """Give a picture's bytes as they are saved: a PNG with its parameters."""
    return with_parameters(data, parameters_text(facts)) if picture.mime_type == PNG_TYPE else data


def place(directory: Path, picture: Picture, facts: Mapping[str, Any]) -> Path:
    """Say where a picture is saved."""
    return directory.resolve() / file_name(str(facts["prompt"]), str(facts["id"]), picture)


def save_picture(path: Path, data: bytes, facts: Mapping[str, Any]) -> None:
    """Save a picture, and beside it a JSON file with its facts.

    Args:
        path: Its directory is made if it is not there.
        data: The picture's bytes, checked and `prepared`.
        facts: What the JSON file holds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    sidecar = json.dumps(dict(facts), indent=2, ensure_ascii=False)
    write_whole(path.with_suffix(".json"), sidecar.encode("utf-8", "replace"))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that no reader, and no crash, ever meets half of it."""
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
    """Make a rename last, where the system lets a directory be synced."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
